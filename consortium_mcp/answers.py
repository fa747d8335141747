"""Answers compared: what a response comes to, whether two say the same, and how far they agree."""

import re
import unicodedata

from rapidfuzz import fuzz

from consortium_mcp.thinking import strip_thinking

NEAR_EQUAL = 92.0
"""How alike (0-100, rapidfuzz's ratio) two longer answers must be to count as one."""

_LABELLED = re.compile(r"(?:final\s+)?answer\s*(?:is|[:=])\s*(.+)", re.IGNORECASE)
_BOXED = re.compile(r"\\boxed\{([^{}]{1,200})\}")
_TAGGED = re.compile(r"<answer>(.{1,2000}?)</answer>", re.IGNORECASE | re.DOTALL)
_CONFIDENCE_LINE = re.compile(r"^\W*(?:<confidence>|confidence\b).*$", re.IGNORECASE | re.MULTILINE)
_NUMBER = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?|[+-]?\d+(?:\.\d+)?")

COMPARED_CHARACTERS = 5_000
"""How much of two texts is compared; beyond that, agreement costs more than it says."""


def final_answer(text: str) -> str:
    """The answer that a response comes to, in a form in which equal answers are equal.

    What `Answer:`, `<answer>` or `\\boxed{}` holds, the last of each; else the last line. A number is only its value,
    a text has no case, no accents on its quotation marks, and no punctuation at its ends.
    """
    text = without_confidence(strip_thinking(text))
    marked = _BOXED.findall(text) or _TAGGED.findall(text) or _LABELLED.findall(text)
    lines = [line for line in text.splitlines() if line.strip()]
    answer = marked[-1] if marked else (lines[-1] if lines else "")
    answer = unicodedata.normalize("NFKC", answer).casefold().strip().strip("*_`'\"“”‘’.,;:!?()[]{}<> ")
    numbers = _NUMBER.findall(answer)
    if len(numbers) == 1 and len(answer) - len(numbers[0]) <= 12:
        return f"{float(numbers[0].replace(',', '')):g}"
    return " ".join(answer.split())


def same_answer(one: str, other: str) -> bool:
    """Equal, or long enough to be worded differently and nearly so; numbers and letters must be equal."""
    if one == other:
        return True
    return min(len(one), len(other)) >= 12 and fuzz.ratio(one, other) >= NEAR_EQUAL and _digits(one) == _digits(other)


def _digits(text: str) -> list[str]:
    return _NUMBER.findall(text)


def without_confidence(text: str) -> str:
    """The text without the line that states the member's own confidence."""
    return _CONFIDENCE_LINE.sub("", text).strip()


def agreement(one: str, other: str) -> float:
    """How far two responses agree, 0.0-1.0: 1.0 for the same final answer, else how many words they share.

    The words' share is rapidfuzz's token set ratio; it knows nothing of meaning.
    """
    if same_answer(final_answer(one), final_answer(other)):
        return 1.0
    texts = [without_confidence(strip_thinking(text))[:COMPARED_CHARACTERS] for text in (one, other)]
    return float(fuzz.token_set_ratio(*texts)) / 100


def same_text(one: str, other: str) -> bool:
    """Whether two texts say the same in nearly the same words."""
    return same_answer(*(" ".join(text.casefold().split())[:COMPARED_CHARACTERS] for text in (one, other)))
