"""Answers compared: what a response comes to, whether two say the same, and how far they agree."""

import re
import unicodedata
from typing import NamedTuple

from rapidfuzz import fuzz

from consortium_mcp.text.confidence_line import without_confidence
from consortium_mcp.text.thinking import strip_thinking

NEAR_EQUAL = 92.0
"""How alike (0-100, rapidfuzz's ratio) two longer answers must be to count as one."""

_LABELLED = re.compile(r"(?:final\s+)?answer\s*(?:is\b|[:=])\s*(.+)", re.IGNORECASE)
_BOXED = re.compile(r"\\boxed\{([^{}]{1,200})\}")
# What stands between the tags ends at the next opening one, so that a thousand unclosed ones are read but once.
_TAGGED = re.compile(r"<answer>((?:(?!<answer>).){1,2000}?)</answer>", re.IGNORECASE | re.DOTALL)
_BOUND = re.compile(r"[<>≤≥≠]|\b(?:not|less|more|fewer|under|over|below|above|least|most)\b")
_NEGATION = re.compile(r"\b(?:no|never|none|nor|neither|cannot|without)\b|n['’]t\b")
_NUMBER = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?|[+-]?\d+(?:\.\d+)?")

_OPTION = re.compile(r"([a-z])\)\s")
_UNIT = re.compile(r"[ -]?\(?([^\W\d_]+(?:/[^\W\d_]+)?|[%°$€£¥]\w?)")
_FILLING = frozenset(
    "a about all approx approximately around are circa equals exactly in is it its it's just makes of result roughly "
    "so that the there therefore thus total".split()
)
"""Words beside a number that leave the answer what it is."""

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_VARIABLE = re.compile(r"\b[a-z]\s*[=≈]")
_CURRENCY = re.compile(r"([$€£¥])\s*$")
_MEASURED = re.compile(r"(-?\d+(?:\.\d+)?)(?: (\S+))?")
_UNIT_SIGNS = {"%": "percent", "$": "dollars", "€": "euros", "£": "pounds", "¥": "yen"} | {
    "g": "grams",
    "h": "hours",
    "l": "liters",
    "m": "meters",
    "s": "seconds",
}
"""Units that are written as a sign or as one letter."""

ANSWER_CHARACTERS = 20_000
"""In how much of a text's end its final answer is looked for."""

SHORT_CHARACTERS = 100
"""Up to which length an answer is a statement whose numbers must be equal."""

COMPARED_CHARACTERS = 5_000
"""How much of two texts is compared; beyond that, agreement costs more than it says."""


def final_answer(text: str) -> str:
    """The answer that a response comes to, in a form in which equal answers are equal.

    What `Answer:`, `<answer>` or `\\boxed{}` holds, the last of each; else the last line. A number is its value and its
    unit, where little but filling words stands beside it; an option (`B) Paris`) only its letter; a text has no case,
    no accents on its quotation marks, and no punctuation at its ends.
    """
    return _final(strip_thinking(text))[0]


def _final(text: str) -> tuple[str, bool]:
    """The answer that a text comes to, and whether it is marked as such."""
    text = without_confidence(text[-ANSWER_CHARACTERS:])
    marked = _BOXED.findall(text) or _TAGGED.findall(text) or _LABELLED.findall(text)
    lines = [line for line in text.splitlines() if line.strip()]
    answer = marked[-1] if marked else (lines[-1] if lines else "")
    answer = unicodedata.normalize("NFKC", answer).casefold()
    is_bound = _BOUND.search(answer) is not None  # "less than 5" is not 5
    answer = answer.strip().strip("*_`'\"“”‘’.,;:!?()[]{} ")
    if option := _OPTION.match(answer):
        return option[1], bool(marked)
    measured = None if is_bound else _measured(answer)
    return measured or " ".join(answer.split()), bool(marked)


def _measured(answer: str) -> str | None:
    """The value and the unit of an answer that is one number and says no more; None for any other."""
    numbers = list(_NUMBER.finditer(answer))
    if len(numbers) != 1:
        return None
    (number,) = numbers
    before, behind = answer[: number.start()], answer[number.end() :]
    currency, unit = _CURRENCY.search(before), _UNIT.match(behind)
    if currency:
        before, sign = before[: currency.start()], currency[1]
    elif unit and unit[1] not in _FILLING:
        behind, sign = behind[unit.end() :], unit[1]
    else:
        sign = ""
    words = _WORD.findall(_VARIABLE.sub("", before) + " " + behind)
    return f"{_plain(number[0])} {sign}".rstrip() if _FILLING.issuperset(words) else None


def same_answer(one: str, other: str) -> bool:
    """Equal, or long enough to be worded differently and nearly so; numbers must be equal, and very long texts too.

    Of two numbers the units must be the same, as far as both have one.
    """
    if one == other:
        return True
    if (number := _MEASURED.fullmatch(one)) and (other_number := _MEASURED.fullmatch(other)):
        return number[1] == other_number[1] and _same_unit(number[2] or "", other_number[2] or "")
    return may_mean_the_same(one, other) and fuzz.ratio(one, other, score_cutoff=NEAR_EQUAL) > 0


def _same_unit(one: str, other: str) -> bool:
    """Whether two units can be one: equal, or one of them missing, in the plural, or short for the other (`km`)."""
    short, long = sorted((_UNIT_SIGNS.get(unit, unit) for unit in (one, other)), key=len)
    if not short or short.rstrip("s") == long.rstrip("s"):
        return True
    letters = iter(long)
    return len(short) > 1 and long.isalpha() and short[0] == long[0] and all(letter in letters for letter in short)


def may_mean_the_same(one: str, other: str) -> bool:
    """Whether two answers can be one in other words: neither short nor very long, the same numbers and negations."""
    if min(len(one), len(other)) < 12 or max(len(one), len(other)) > COMPARED_CHARACTERS:
        return False
    return _digits(one) == _digits(other) and _restrictions(one) == _restrictions(other)


def _restrictions(text: str) -> list[str]:
    """The words that turn a statement around or bound it."""
    return sorted(_BOUND.findall(text) + _NEGATION.findall(text))


def _digits(text: str) -> list[str]:
    return [_plain(number) for number in _NUMBER.findall(text)]


def _plain(number: str) -> str:
    """A number's value, every digit of it: without signs, commas and zeros that say nothing."""
    whole, _, fraction = number.replace(",", "").lstrip("+-").partition(".")
    value = (whole.lstrip("0") or "0") + (f".{fraction.rstrip('0')}" if fraction.rstrip("0") else "")
    return f"-{value}" if number.startswith("-") and value != "0" else value


def agreement(one: str, other: str) -> float:
    """How far two responses agree, 0.0-1.0; see `agree`."""
    return agree(comparable(one), comparable(other))


class Comparable(NamedTuple):
    """What is compared of a response."""

    answer: str
    """What it comes to."""

    is_marked: bool
    """Whether it says so, as in `Answer: 7`."""

    words: str
    """Its text, without thinking and confidence, no longer than is compared."""


def comparable(text: str) -> Comparable:
    """What is compared of a response; worth keeping where it is compared with many."""
    text = strip_thinking(text)
    return Comparable(*_final(text), without_confidence(text[:COMPARED_CHARACTERS]))


def agree(one: Comparable, other: Comparable) -> float:
    """1.0 for the same final answer, 0.0 for two that are marked or of other numbers, else how many words they share.

    The words' share is rapidfuzz's token set ratio; it knows nothing of meaning.
    """
    if same_answer(one.answer, other.answer):
        return 1.0
    short = max(len(one.answer), len(other.answer)) <= SHORT_CHARACTERS
    if (one.is_marked and other.is_marked) or (short and _digits(one.answer) != _digits(other.answer)):
        return 0.0
    return float(fuzz.token_set_ratio(one.words, other.words)) / 100


def same_text(one: str, other: str) -> bool:
    """Whether two texts say the same in nearly the same words."""
    return same_answer(*(" ".join(text.casefold().split())[:COMPARED_CHARACTERS] for text in (one, other)))
