"""Options as `B) Paris`, and yes or no in many wordings."""

import re
from dataclasses import dataclass

_LETTERED = re.compile(r"[(\[]?([A-J])(?:[)\].:]\s*|\s+-\s+)(.*)", re.DOTALL)
_SMALL_LETTERED = re.compile(r"(?:[(\[]([a-j])[)\]]|([a-j])\))\s*(.*)", re.DOTALL)
_NAMED = re.compile(
    r"(?:the )?(?:correct )?(?:option|choice|answer|variant)s? [(\[]?([A-Ja-j]|\d)[)\]]?(?:[.:)]\s*(.*))?", re.I
)
_SENTENCE = re.compile(
    r"(?:(?:so|thus|therefore|hence|then|and),? )?(?:(?:i |we |you should )?(?:would )?"
    r"(?:choose|pick|select|chose|go with|opt for) |"
    r"(?:it is|it's) )?"
    r"(?:the |la |die |l')?(?:correct )?(?:option |choice |answer )?[(\[]?([A-J])[)\]]?"
    r"(?: is (?:the )?(?:correct|right|best|answer|true).{0,40})?",
    re.IGNORECASE,
)
_REASON = re.compile(r"(?:because|since|as|for|is|which|it|the others?)\b", re.IGNORECASE)

_YES = (
    "yes yep yeah yea yup aye affirmative true correct absolutely definitely certainly indeed sure ja oui sí si sim да "
    "tak evet sì 是 是的 对 对的 正确 はい 예 네 نعم हाँ हां ano wahr vrai verdadero vero".split()
)
_NO = (
    "no nope nah negative false incorrect wrong untrue nein non não nie нет hayır 否 不 不是 不对 错 错误 "
    "いいえ 아니요 아니오 لا नहीं falsch faux falso nee nej".split()
)
_PHRASES = {
    **dict.fromkeys(("it is", "it does", "they are", "that is correct", "that is true", "this is correct"), True),
    **dict.fromkeys(("it is true", "it is correct", "of course", "that's right", "that is right"), True),
    **dict.fromkeys(
        ("it is not", "it isn't", "it does not", "it doesn't", "not true", "not correct", "not right"), False
    ),
    **dict.fromkeys(("absolutely not", "definitely not", "certainly not", "of course not", "not at all"), False),
    **dict.fromkeys(("it is false", "that is false", "that is wrong", "that is not true", "that is incorrect"), False),
}
_SIGNS = dict.fromkeys("✅✓✔☑", True) | dict.fromkeys("❌✗✘❎", False)
_FIRST = re.compile(r"([^\W\d_]+)(.?)")
_STARTS_ANSWER = frozenset(", . ; : ! - — – ( 。 ， 、".split()) | {"", "\n"}
_NUMBERED = re.compile(r"no\. ?\d", re.IGNORECASE)
_UNDECIDED = re.compile(r"(?:yes|no) (?:and|or) (?:yes|no)\b|yes,? but (?:also )?no\b", re.IGNORECASE)
_AFTER = re.compile(r"\s*(?:it|this|that|there|they|the|he|she|we|you|because|since|as|not)\b", re.IGNORECASE)
_CLAIM = re.compile(
    r"(?:the |this |that )?(?:statement|claim|sentence|proposition|assertion|it|this|that)(?:\s(?:is|was|are)|'s)"
    r"\s(not |n't )?(true|false|correct|incorrect|right|wrong|untrue|valid|invalid)"
    r"(?![^\W_])(?!\s+(?:if|when|only|unless))",
    re.IGNORECASE,
)
_TRUE = {"true", "correct", "right", "valid"}


@dataclass(frozen=True)
class Option:
    """One of the options that a question offers."""

    letter: str
    """Its letter in upper case, or its number."""

    text: str
    """Its text; empty if only its letter is given."""


def option_in(text: str) -> Option | None:
    """The option that is the whole text; None for any other text."""
    text = text.strip().rstrip("!").strip()
    if len(text) == 1 and text.upper() in "ABCDEFGHIJ":
        return Option(text.upper(), "")
    if found := _LETTERED.fullmatch(text):
        return Option(found[1], _without_reason(found[2]))
    if found := _SMALL_LETTERED.fullmatch(text):
        return Option((found[1] or found[2]).upper(), _without_reason(found[3]))
    text = text.rstrip(".")
    if found := _NAMED.fullmatch(text):
        return Option(found[1].upper(), _without_reason(found[2] or ""))
    if (found := _SENTENCE.fullmatch(text)) and found[1].isupper():
        return Option(found[1], "")
    return None


def _without_reason(text: str) -> str:
    """The text of an option without the reason after its letter."""
    return "" if _REASON.match(text.strip()) else text.strip().rstrip(".")


def yes_or_no(text: str) -> bool | None:
    """True for yes, False for no; None if the text says neither, or both."""
    text = text.strip().strip("\"'")
    if not text or _UNDECIDED.match(text) or _NUMBERED.match(text):
        return None
    bare = " ".join(text.casefold().rstrip(".!。").replace("’", "'").split())
    if bare in _PHRASES:
        return _PHRASES[bare]
    if bare.rstrip("\ufe0f") in _SIGNS:
        return _SIGNS[bare.rstrip("\ufe0f")]
    found = _FIRST.match(text)
    if found is None:
        return None
    word, behind = found[1].casefold(), text[found.end(1) :]
    if word in _YES or word in _NO:
        is_alone = word in ("yes", "no", "ja", "nein") and _AFTER.match(behind)
        if behind.strip()[:1] in _STARTS_ANSWER or is_alone:
            return word in _YES
    if (claim := _CLAIM.match(text)) and len(text) - claim.end() < 80:
        return (claim[2].casefold() in _TRUE) is (claim[1] is None)
    return None
