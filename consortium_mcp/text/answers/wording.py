"""Compares short texts word by word: spelling, abbreviations, negations, opposites."""

import re
import unicodedata
from collections.abc import Sequence
from functools import cache, lru_cache

from consortium_mcp.text.answers.names import meaning_of
from consortium_mcp.text.answers.numbers import leading_number, ordinal
from consortium_mcp.text.answers.signs import spelled_out
from consortium_mcp.text.answers.verdicts import DIFFERENT, NOT_COMPARABLE, SAME, Comparison

_WORD = re.compile(r"[^\W_]+(?:['’.&][^\W_]+)*\+{0,2}#?|[<>=±$€£¥₹%^+←-⌋♀-♯]|(?<![\w)])-(?=[^\W_]|[∞√])|-(?= ?\d)")
_ARTICLES = frozenset("a an the".split())
_NEGATIONS = frozenset(
    "not no never none nor neither without cannot nicht kein keine ne pas non нет не nie 不 没 niet".split()
)
_ROMAN = " I II III IV V VI VII VIII IX X XI XII XIII XIV XV XVI XVII XVIII XIX XX".split(" ")
"""Roman numerals after names, by value."""

_BOUNDS = frozenset("less more fewer under over below above least most < > ≤ ≥ ≠".split())
_PREFIXES = ("un", "in", "im", "il", "ir", "non", "dis", "de", "a", "anti", "mis", "ab", "counter", "en", "ex", "re")
_OPPOSITES = (
    "increase decrease|loss gain|loss profit|raise lower|rise fall|more less|more fewer|up down|left right|buy sell|"
    "before after|always never|true false|yes no|high low|higher lower|hot cold|north south|east west|"
    "positive negative|maximum minimum|first last|open close|open closed|accept reject|allow forbid|"
    "allow deny|allowed forbidden|above below|gain lose|win lose|success failure|succeed fail|start stop|"
    "begin end|enable disable|include exclude|import export|internal external|inside outside|old new|"
    "big small|large small|larger smaller|good bad|better worse|best worst|hard easy|fast slow|"
    "faster slower|early late|earlier later|odd even|all none|convex concave|male female|day night|"
    "over under|with without|increases decreases|increasing decreasing|expand contract|"
    "expansion contraction|local global|sync async|push pull|safe dangerous|correct wrong|right wrong|"
    "cause effect|finite infinite|possible impossible|greater less|can cannot|strong weak|stronger weaker|"
    "endothermic exothermic|clockwise counterclockwise|ascending descending|public private|must should|"
    "converge diverge|passe fail|pass fail|"
    "smallest largest|shortest longest|lowest highest|ago later|ago in|ago from|"
    "stay leave|keep remove|add remove|add subtract|multiply divide|love hate|rich poor|young old"
)
_NO = re.compile(r"no(?:[,.:;]| -) +(?=\S+ \S+)", re.IGNORECASE)
"""A `no` that answers the question before an explanation; it does not negate the explanation."""

_DECIDING = frozenset("yes no true false correct wrong right can cannot good first last must should all none".split())
"""Words with an opposite that can follow either answer, as in `4; 5 is wrong`."""

_COMPARING = frozenset(
    "over beat than before after above below defeat under from to cause follow contain implie imply > <".split()
)
_PREFIX_PAIRS = [
    pair.split()
    for pair in (
        "in de|in ex|en dis|im ex|hyper hypo|pre post|over under|intro extro|intra inter|homo hetero|macro micro|"
        "max min|endo exo"
    ).split("|")
]
_LIKE = "elder older|big large|quick fast|begin start|finish end|car automobile|film movie|everybody everyone|ok okay"
_GENERIC = frozenset("ocean sea river desert inc ltd corp corporation company gmbh llc".split())
_TITLES = frozenset("doctor professor mr mrs ms sir lady lord jr sr".split())
_BEHIND_NAME = re.compile(r", | by | \(")
_COMPASS = frozenset(
    "north south east west new old upper lower great northern southern eastern western central non anti sub "
    "super inner outer left right high low first second third young younger senior junior jr sr "
    "hydro di tri mono poly republic democratic equatorial".split()
)
"""Words that change the meaning of a name: South Korea is not Korea."""

_SUFFIXES = (
    ("isation", "ization"),
    ("ise", "ize"),
    ("ising", "izing"),
    ("ised", "ized"),
    ("our", "or"),
    ("tre", "ter"),
)
_NO_PLURALS = frozenset("https ftps ldaps smtps imaps mqtts".split())
"""Schemes of addresses: the final S means that the connection is encrypted."""

_CONTRACTIONS = {"can't": "cannot", "cant": "cannot", "won't": "will not", "isnt": "is not"}
_SHORTEST_MISSPELT = 8
_LONGEST_ACRONYM = 5
"""The longest word in capitals whose final S is no plural, as in HTTPS."""

_ABBREVIATED = {
    **{"sulphur": "sulfur", "grey": "gray", "aluminium": "aluminum", "programme": "program", "defence": "defense"},
    **{"licence": "license", "catalogue": "catalog", "dialogue": "dialog", "analyse": "analyze", "fibre": "fiber"},
    **{"mt": "mount", "st": "saint", "dr": "doctor", "prof": "professor", "vs": "versus"},
}
_SMALL = frozenset("of the and by de van von da di del la le el al bin der des du".split())
"""Words in names without a capital letter."""

_FORMULA = re.compile(r"(?:[A-Z][a-z]?\d*){2,12}|[A-Za-z]{1,4}\d{1,4}")
_KEPT_CHARACTERS = 200
_NAME_WORDS = 4
_SHORT_WORDS = 3


def words_of(text: str) -> tuple[str, ...]:
    """The words of a text in lower case and one spelling, without articles; numbers as digits, signs as words."""
    return _words_kept(text) if len(text) <= _KEPT_CHARACTERS else tuple(_canonical(text))


@lru_cache(maxsize=2_000)
def _words_kept(text: str) -> tuple[str, ...]:
    """The cached words of a short text, which is compared with many others."""
    return tuple(_canonical(text))


def _canonical(text: str) -> list[str]:
    text = spelled_out(text)
    tokens = _WORD.findall(unicodedata.normalize("NFKC", text).replace("’", "'").replace("−", "-"))
    found: list[str] = []
    for place, token in enumerate(tokens):
        is_last = place == len(tokens) - 1
        if token.casefold() == "the" or (
            token.casefold() in _ARTICLES and not is_last and (place == 0 or token.islower())
        ):
            continue
        if place and is_last and token in _ROMAN and tokens[place - 1][0].isupper():
            token = str(_ROMAN.index(token))
        is_acronym = token.isupper() and 1 < len(token) <= _LONGEST_ACRONYM and not (text.isupper() and len(tokens) > 1)
        found += [token.casefold()] if is_acronym and token.endswith("S") else _spelled(token.casefold())
    return found


@lru_cache(maxsize=20_000)
def _spelled(word: str) -> Sequence[str]:
    if word in _CONTRACTIONS:
        return _CONTRACTIONS[word].split()
    if word.endswith("n't"):
        return (word[:-3], "not")
    word = word.removesuffix("'s")
    if "." in word and not any(one.isdecimal() for one in word):
        word = word.replace(".", "")
    word = _without_accents(word)
    if len(word) > 2 and word.isascii() and word.isalpha() and (number := leading_number(word)) and not number[1]:
        return (str(number[0].value),)
    for british, american in _SUFFIXES:
        if len(word) > len(british) + 2 and word.endswith(british):
            word = word.removesuffix(british) + american
    if word in _ABBREVIATED:
        return (_ABBREVIATED[word],)
    if word != "second" and (place := ordinal(word)) is not None:
        return (f"{place}th",)
    if word in _NO_PLURALS:
        return (word,)
    if len(word) > 3 and word.endswith("s") and not word[0].isdecimal() and not word.endswith(("ss", "us", "is", "os")):
        word = word[:-1]
    return (word,)


def _without_accents(word: str) -> str:
    if word.isascii():
        return word
    apart = unicodedata.normalize("NFD", word)
    if not all(one < "\u0370" for one in apart):
        return word  # combining marks of other scripts count as letters
    return "".join(one for one in apart if not unicodedata.combining(one)).replace("ø", "o").replace("ł", "l")


def _is_latin(text: str) -> bool:
    return all(letter < "\u0370" or not letter.isalpha() for letter in unicodedata.normalize("NFD", text))


def limits_of(text: str) -> list[str]:
    """The numbers, negations and bounds in a text, sorted."""
    return sorted(word for word in words_of(text) if word[0].isdecimal() or word in _NEGATIONS or word in _BOUNDS)


@lru_cache(maxsize=2_000)
def names_agree(one: str, other: str) -> bool:
    """Whether two short texts are one name: in two languages, abbreviated, in full, or slightly misspelt."""
    words, others = words_of(one), words_of(other)
    if not words or not others:
        return False
    if words == others or ("".join(words) == "".join(others) and "".join(words).isalpha()):
        return True
    if max(len(words), len(others)) > 8:
        return False
    meaning = meaning_of(one)
    if meaning is not None and (its_meaning := meaning_of(other)) is not None:
        return meaning == its_meaning
    return (
        _is_acronym(one, other)
        or _is_acronym(other, one)
        or _alike(words, others, are_names=is_name(one) and is_name(other))
        or _one_in_full(one, other)
    )


def _is_acronym(short: str, long: str) -> bool:
    letters = short.strip().replace(".", "")
    initials = [word[0] for word in re.findall(r"[^\W\d_]+", long) if word.lower() not in ("of", "the", "and", "for")]
    return len(letters) >= 3 and letters.isupper() and letters == "".join(initials).upper()


def _alike(words: Sequence[str], others: Sequence[str], *, are_names: bool) -> bool:
    """Whether the words are equal in pairs, apart from a letter that is missing, doubled or misplaced."""
    initials = len(words) > 1 and are_names
    return len(words) == len(others) and all(
        one == other or _misspelt(one, other) or (initials and _is_initial(one, other)) or _is_pair(one, other, _LIKE)
        for one, other in zip(words, others, strict=True)
    )


def _is_initial(one: str, other: str) -> bool:
    return min(len(one), len(other)) == 1 and one[0] == other[0] and (one + other).isalpha() and len(one + other) > 3


def _misspelt(one: str, other: str) -> bool:
    short, long = sorted((one, other), key=len)
    if len(long) < _SHORTEST_MISSPELT or short[:2] != long[:2] or any(letter.isdecimal() for letter in one + other):
        return False
    start = next(
        (at for at, (first, second) in enumerate(zip(short, long, strict=False)) if first != second), len(short)
    )
    if len(long) == len(short):
        return short[start + 2 :] == long[start + 2 :] and short[start : start + 2] == long[start : start + 2][::-1]
    is_dropped = len(long) == len(short) + 1 and short[start:] == long[start + 1 :]
    return (
        is_dropped and (long[-1] not in "nsdl" or start < len(short)) and not (long[-1] == "a" and start == len(short))
    )


def _one_in_full(one: str, other: str) -> bool:
    """Whether one is a proper name, and the other the same name with a first name or a place added."""
    short, long = sorted((one, other), key=lambda text: len(words_of(text)))
    words, others = (tuple(word for word in words_of(each) if word not in _TITLES) for each in (short, long))
    if (
        any(letter.isdecimal() for letter in "".join((*words, *others)))
        or not words
        or not is_name(short)
        or not is_name(long)
        or len(others) > 6
    ):
        return False
    if words == others[:-1] and others[-1] in _GENERIC:
        return True
    more = others[: len(others) - len(words)]
    if others[-len(words) :] == words and len(words) <= 2:
        return not set(more) & (_COMPASS | _NEGATIONS) and len(more) <= 3
    if len(words) == len(others):  # without titles, or with the last name first
        return words == others or ("," in one + other and sorted(words) == sorted(others))
    front = _BEHIND_NAME.split(long, maxsplit=1)[0]
    return words_of(front) == words or (front != long and _one_in_full(front, short))


def is_name(text: str) -> bool:
    """Whether the words, except small ones, begin with a capital letter or a digit, as in a proper name."""
    found = [word for word in re.findall(r"[^\W_]+", text) if word.lower() not in _SMALL]
    return 0 < len(found) <= _NAME_WORDS + 1 and all(word[0].isupper() or word[0].isdecimal() for word in found)


@lru_cache(maxsize=2_000)
def compare_wording(one: str, other: str, *, are_marked: bool) -> Comparison:
    """Whether two answers in words are the same.

    They are different if the same words enclose different names, numbers, negations or opposites. They are also
    different if both are marked answers of at most three words without a common word.
    """
    words, others = words_of(one), words_of(other)
    if words == others:
        return SAME if words else NOT_COMPARABLE
    if contradicts(one, other):
        return DIFFERENT
    if names_agree(one, other):
        return SAME
    middle, its_middle, common = _unequal(one, other)
    if common >= 2 and _may_replace(middle, its_middle):
        return DIFFERENT
    are_names = is_name(one) and is_name(other)
    if one.isascii() != other.isascii() and not (_is_latin(one) and _is_latin(other)):
        return NOT_COMPARABLE  # one name in two scripts
    if bool(_FORMULA.fullmatch(one)) != bool(_FORMULA.fullmatch(other)):
        return NOT_COMPARABLE  # a formula or a code beside a name
    is_short = max(len(words), len(others)) <= _SHORT_WORDS
    if (are_marked or are_names) and is_short and not set(words) & set(others):
        return DIFFERENT
    if are_marked and are_names and _differ_in_last(words, others):
        return DIFFERENT
    return NOT_COMPARABLE


def _differ_in_last(words: Sequence[str], others: Sequence[str]) -> bool:
    """Whether two names differ: neither contains all words of the other, and their last words differ."""
    if set(words) <= set(others) or set(others) <= set(words):
        return False
    return len(words) == len(others) or (min(len(words), len(others)) > 1 and words[-1] != others[-1])


@lru_cache(maxsize=2_000)
def contradicts(one: str, other: str) -> bool:
    """Whether two texts differ only in a negation or an opposite."""
    words, others = (words_of(_NO.sub("", text, count=1) or text) for text in (one, other))
    if not words or not others or words == others:
        return False
    if _are_swapped(words, others):
        return True
    start = _shared(words, others)
    end = _shared(words[start:][::-1], others[start:][::-1])
    middle, its_middle = words[start : len(words) - end], others[start : len(others) - end]
    if start + end == 0:
        return len(words) == len(others) == 1 and (_is_pair(*words, *others, _OPPOSITES) or _turns(words[0], others[0]))
    if not middle or not its_middle:
        more = set(middle + its_middle)
        return len(more & _NEGATIONS) == 1 and more <= _NEGATIONS | {"do", "will", "can", "be"}
    if len(middle) == len(its_middle) <= 2:
        pairs = [(first, second) for first, second in zip(middle, its_middle, strict=True) if first != second]
        return any(_opposed(*pair) for pair in pairs)
    if len(middle) + len(its_middle) == 3 and _says_it_otherwise(*sorted((middle, its_middle), key=len)):
        return False
    return len(middle) + len(its_middle) <= 3 and (set(middle) & _NEGATIONS) != (set(its_middle) & _NEGATIONS)


def _says_it_otherwise(word: Sequence[str], negated: Sequence[str]) -> bool:
    """Whether one text has `not true` where the other has `false`."""
    return len(word) == 1 and negated[0] in _NEGATIONS and _opposed(word[0], negated[1])


def _are_swapped(words: Sequence[str], others: Sequence[str]) -> bool:
    """Whether two texts differ only in the order of two things, as in `A over B`."""
    if sorted(words) != sorted(others) or not set(words) & _COMPARING:
        return False
    return sum(one != other for one, other in zip(words, others, strict=True)) == 2


def hold_opposites(one: str, other: str) -> bool:
    """Whether each text has a word that is the opposite of a word in the other, as `smallest` and `largest`."""
    words, others = (set(words_of(text)) - _DECIDING for text in (one, other))
    alone, others_alone = words - others, others - words
    opposites = _opposites()
    return any(not others_alone.isdisjoint(opposites.get(word, ())) for word in alone)


@cache
def _opposites() -> dict[str, set[str]]:
    """The opposites of each word that has some."""
    found: dict[str, set[str]] = {}
    for pair in _OPPOSITES.split("|"):
        one, other = pair.split()
        found.setdefault(one, set()).add(other)
        found.setdefault(other, set()).add(one)
    return found


def _opposed(one: str, other: str) -> bool:
    if _is_pair(one, other, _OPPOSITES) or (one in _NEGATIONS) != (other in _NEGATIONS):
        return True
    return _turns(one, other)


def _turns(one: str, other: str) -> bool:
    return _turned(one, other) or _turned(other, one)


def _turned(one: str, other: str) -> bool:
    """Whether a word is the other with a negating prefix, or the two have opposite prefixes."""
    if any(one == prefix + other and len(other) > 3 for prefix in _PREFIXES if prefix not in ("re", "en")):
        return True
    return any(
        one.startswith(first) and other.startswith(second) and one[len(first) :] == other[len(second) :] != ""
        for first, second in _PREFIX_PAIRS
    )


def _is_pair(one: str, other: str, pairs: str) -> bool:
    return f"|{one} {other}|" in f"|{pairs}|" or f"|{other} {one}|" in f"|{pairs}|"


def _shared(words: Sequence[str], others: Sequence[str]) -> int:
    """The number of equal words at the beginning of both texts."""
    count = 0
    for first, second in zip(words, others, strict=False):
        if first != second:
            break
        count += 1
    return count


def _unequal(one: str, other: str) -> tuple[list[str], list[str], int]:
    """The differing words between equal beginnings and ends, as written, and the number of equal words."""
    tokens = [re.findall(r"[^\W_]+(?:['’.&+#-][^\W_]+)*", text) for text in (one, other)]
    folded = [[token.casefold() for token in each] for each in tokens]
    start = _shared(folded[0], folded[1])
    end = _shared(folded[0][start:][::-1], folded[1][start:][::-1])
    first, second = (each[start : len(each) - end] for each in tokens)
    return first, second, start + end


def _may_replace(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether the differing words are names or numbers on both sides, so that the sentences contradict each other."""
    if not 0 < len(one) <= _SHORT_WORDS or not 0 < len(other) <= _SHORT_WORDS:
        return False
    first, second = " ".join(one), " ".join(other)
    if names_agree(first, second):
        return False
    return all(is_name(each) or any(letter.isdecimal() for letter in each) for each in (first, second))
