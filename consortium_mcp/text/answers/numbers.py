"""Numbers at the beginning of a text: digits in national spellings, fractions, powers of ten, words."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

_NUMERAL = (
    r"(?:\d{1,3}(?:([,' ’_])\d{3})(?:\1\d{3})*(?:\.\d+)?(?!\d)"  # 1,234,567.8  1 234 567
    r"|\d{1,3}(?:\.\d{3}){2,}(?:,\d+)?(?!\d)"  # 1.234.567
    r"|\d{1,3}(?:\.\d{3})+,\d+(?!\d)"  # 1.234,5
    r"|\d{1,2}(?:,\d{2})+,\d{3}(?!\d)"  # 12,34,567
    r"|\d+[.,]\d+|\.\d+|\d+)"
)
_LEADING = re.compile(_NUMERAL)
_OVER = re.compile(r" ?/ ?(\d+(?:[.,]\d+)?)(?![\d/])")
_MIXED = re.compile(r"(?: and)? (\d{1,4}) ?/ ?(\d{1,4})(?![\d/])")
_TIMES_TEN = re.compile(r" ?[*x] ?10 ?(?:\^ ?|\*\* ?)\(?([+-]?\d{1,3})\)?")
_SCIENTIFIC = re.compile(r"[eE]([+-]?\d{1,3})\b")
_BASED = re.compile(r"0x[0-9a-f]{1,16}\b|0b[01]{1,64}\b", re.IGNORECASE)
_LONGEST = 400
"""The most digits of a number that is parsed."""

_SCALES = {
    **dict.fromkeys(("hundred", "hundreds"), 100),
    **dict.fromkeys(("thousand", "thousands", "k", "tausend", "mille", "mil"), 1000),
    **dict.fromkeys(("million", "millions", "mn", "mio", "m", "millionen", "millón", "millones", "milioni"), 10**6),
    **dict.fromkeys(("billion", "billions", "bn", "b", "milliarde", "milliarden", "milliard", "milliards"), 10**9),
    **dict.fromkeys(("trillion", "trillions", "tn"), 10**12),
    **dict.fromkeys(("quadrillion", "quadrillions"), 10**15),
    **dict.fromkeys(("lakh", "lakhs"), 10**5),
    **dict.fromkeys(("crore", "crores"), 10**7),
    **dict.fromkeys(("dozen", "dozens"), 12),
    **{"万": 10**4, "億": 10**8, "亿": 10**8},
}
_ATTACHED = re.compile(r"([kMBb]|bn|mn|mio|万|億|亿)\b|(万|億|亿)")
_SCALE_WORD = re.compile(r" ?([^\W\d_]+)")

_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_FOREIGN = (
    "null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn",
    "zéro un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize",
    "cero uno dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince dieciséis",
    "zero uno due tre quattro cinque sei sette otto nove dieci undici dodici tredici quattordici quindici sedici",
    "zero um dois três quatro cinco seis sete oito nove dez onze doze treze quatorze quinze dezesseis",
    "ноль один два три четыре пять шесть семь восемь девять десять",
)
_FOREIGN_TENS = (
    "zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig",
    "vingt trente quarante cinquante soixante",
    "veinte treinta cuarenta cincuenta sesenta setenta ochenta noventa",
    "venti trenta quaranta cinquanta sessanta settanta ottanta novanta",
    "vinte trinta quarenta cinquenta sessenta setenta oitenta noventa",
)
_SMALL = (
    {word: value for row in _FOREIGN for value, word in enumerate(row.split())}
    | {word: 10 * value for row in _FOREIGN_TENS for value, word in enumerate(row.split(), start=2)}
    | {word: value for value, word in enumerate(_UNITS)}
    | {word: 10 * value for value, word in enumerate(_TENS, start=2)}
)
_NO_VALUE = ("null",)
"""German for zero, but as a whole answer more often the missing value of programs."""

_PARTS = {"half": 2, "halves": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7} | {
    **{"eighth": 8, "ninth": 9, "tenth": 10, "hundredth": 100, "thousandth": 1000}
}
_ORDINALS = {"first": 1, "second": 2, "third": 3, "fifth": 5, "eighth": 8, "ninth": 9, "twelfth": 12}
_COUNTABLE = ("hundred", "thousand", "million", "dozen", "tausend", "mille")
_ONE_PART = re.compile(
    r"(?:an? )?(half(?: an?\b)?|quarter(?: of an?\b)?)\b|an? (third|fifth|sixth|eighth|tenth)\b", re.IGNORECASE
)
_WORD = re.compile(r"[^\W\d_]+")
_CHINESE = {one: value for value, one in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2, "兩": 2}
_CHINESE_TENS = {"十": 10, "百": 100, "千": 1000}
_CHINESE_RUN = re.compile("[零〇一二两兩三四五六七八九十百千]{1,12}")


@dataclass(frozen=True)
class Number:
    """A number in a text."""

    value: Fraction
    """The exact value as written."""

    step: Fraction | None
    """The value of its last decimal place; None if it is exact: whole numbers, fractions and words."""

    digits: int
    """The number of significant digits; 0 if it is exact."""


def leading_number(text: str) -> tuple[Number, str] | None:
    """The unsigned number at the beginning of a text, and the rest; None if the text begins with no number."""
    if found := _BASED.match(text):
        return Number(Fraction(int(found[0], 0)), None, 0), text[found.end() :]
    found = _LEADING.match(text)
    if found is None:
        return _in_words(text) or _in_chinese(text)
    if len(found[0]) > _LONGEST:
        return None
    number, rest = _decimal(found[0], found[1]), text[found.end() :]
    if (mixed := _MIXED.match(rest)) and number.step is None and int(mixed[2]):
        exact = number.value + Fraction(int(mixed[1]), int(mixed[2]))
        return Number(exact, None, 0), rest[mixed.end() :]
    if over := _OVER.match(rest):
        divisor = _decimal(over[1], None).value
        return (Number(number.value / divisor, None, 0), rest[over.end() :]) if divisor else None
    if power := _TIMES_TEN.match(rest) or _SCIENTIFIC.match(rest):
        return _scaled(number, Fraction(10) ** int(power[1])), rest[power.end() :]
    return _with_scale(number, rest)


def ordinal(word: str) -> int | None:
    """The number of an ordinal as `1st`, `first` or `4th`; None for any other word."""
    if found := re.fullmatch(r"(\d{1,6})(?:st|nd|rd|th|er|re|e|ème|º|ª|\.)", word):
        return int(found[1])
    if word in _ORDINALS:
        return _ORDINALS[word]
    stem = word.removesuffix("th")
    return _SMALL.get(stem) or _SMALL.get(f"{stem.removesuffix('ie')}y") if stem != word else None


def _decimal(digits: str, separator: str | None) -> Number:
    if separator and separator != ",":
        digits = digits.replace(separator, "")
    elif separator:
        digits = digits.replace(",", "")
    elif digits.count(".") > 1 or (digits.count(",") == 1 and digits.count(".") == 1):
        digits = digits.replace(".", "").replace(",", ".")
    elif digits.count(",") > 1:
        digits = digits.replace(",", "")
    digits = digits.replace(",", ".")
    whole, _, places = digits.partition(".")
    step = Fraction(1, 10 ** len(places)) if places else None
    return Number(Fraction(digits if whole else f"0{digits}"), step, len((whole + places).lstrip("0")) if places else 0)


def _scaled(number: Number, factor: Fraction) -> Number:
    return Number(number.value * factor, None if number.step is None else number.step * factor, number.digits)


def _with_scale(number: Number, rest: str) -> tuple[Number, str]:
    """The number multiplied by the following words, as in `5 million`, `3 hundred thousand` and `5k`."""
    if attached := _ATTACHED.match(rest):
        return _scaled(number, Fraction(_SCALES[attached[0].casefold()])), rest[attached.end() :]
    while (word := _SCALE_WORD.match(rest)) and len(word[1]) > 1 and word[1].casefold() in _SCALES:
        number, rest = _scaled(number, Fraction(_SCALES[word[1].casefold()])), rest[word.end() :]
    return number, rest


def _in_words(text: str) -> tuple[Number, str] | None:
    """A number in words, as `one hundred and five`, `two thirds`, `half`; None without one."""
    if found := _ONE_PART.match(text):
        part = Number(Fraction(1, _PARTS[(found[1] or found[2]).lower().split()[0]]), None, 0)
        return _with_scale(part, text[found.end() :])
    words: list[tuple[str, int]] = [(found[0].casefold(), found.end()) for found in _WORD.finditer(text[:200])]
    if not words or text[:1].isspace() or not _begins(words, text):
        return None
    taken, value = _cardinal([word for word, _ in words])
    if taken == 0 or text.casefold() in _NO_VALUE:
        return None
    fraction, more = _part([word for word, _ in words], taken, value)
    rest = text[words[more - 1][1] :]
    if fraction is None and 10 < value <= 20:  # a year, as `nineteen eighty-four`
        following, behind = _cardinal([word for word, _ in words[taken:]])
        if following and 9 < behind < 100:
            return Number(Fraction(100 * value + behind), None, 0), text[words[taken + following - 1][1] :]
    if fraction is not None:
        return Number(fraction, None, 0), rest
    return Number(Fraction(value), None, 0), rest


def _begins(words: Sequence[tuple[str, int]], text: str) -> bool:
    return text[: words[0][1]].casefold() == words[0][0]


def _cardinal(words: Sequence[str]) -> tuple[int, int]:
    """How many of the words form a whole number, and its value; (0, 0) if the first word forms none."""
    total = current = taken = 0
    for place, word in enumerate(words):
        if word in _SMALL:
            if taken and 0 < current % 100 and not (current % 100 >= 20 and current % 10 == 0 and _SMALL[word] < 10):
                break
            current += _SMALL[word]
        elif word in _SCALES and len(word) > 2 and (taken or word in _COUNTABLE):
            scale = _SCALES[word]
            if scale <= 100:
                current = max(current, 1) * scale
            else:
                total, current = total + max(current, 1) * scale, 0
        elif word in ("a", "an") and place == 0 and words[1:2] and words[1] in _SCALES and len(words[1]) > 2:
            continue
        elif word == "and" and taken and words[place + 1 : place + 2] and words[place + 1] in _SMALL:
            if words[place - 1] not in ("hundred", "thousand", "million"):
                break
            continue
        else:
            break
        taken = place + 1
    return taken, total + current


def _part(words: Sequence[str], taken: int, value: int) -> tuple[Fraction | None, int]:
    """The fraction that the words after a whole number form with it, and the number of words in all."""
    following = list(words[taken : taken + 3])
    if following[:1] and (divisor := _PARTS.get(following[0].removesuffix("s"))) and value < 100:
        return Fraction(value, divisor), taken + 1
    if following[:2] == ["and", "a"] and following[2:] and (divisor := _PARTS.get(following[2])):
        return value + Fraction(1, divisor), taken + 3
    if following[:1] == ["point"]:
        places = [_SMALL[word] for word in words[taken + 1 :] if word in _SMALL]
        if places and max(places) < 10:
            return value + Fraction(int("".join(map(str, places))), 10 ** len(places)), taken + 1 + len(places)
    return None, taken


def _in_chinese(text: str) -> tuple[Number, str] | None:
    found = _CHINESE_RUN.match(text)
    if found is None:
        return None
    if not set(found[0]) & set(_CHINESE_TENS):
        value = int("".join(str(_CHINESE[one]) for one in found[0]))
        return Number(Fraction(value), None, 0), text[found.end() :]
    total = current = 0
    for one in found[0]:
        if one in _CHINESE_TENS:
            total, current = total + (current or 1) * _CHINESE_TENS[one], 0
        else:
            current = _CHINESE[one]
    return Number(Fraction(total + current), None, 0), text[found.end() :]
