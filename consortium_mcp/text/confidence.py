"""Confidence as models state it: `0.85`, `85%`, `8.5/10`, `high`, read into a fraction or refused with the reason."""

import re

from consortium_mcp._util.record import Record
from consortium_mcp.text.thinking import strip_thinking

# Our own reading of each word; what matters to a threshold is their order.
_WORDS = {
    "certain": 0.99,
    "very high": 0.95,
    "high": 0.85,
    "moderate": 0.6,
    "medium": 0.6,
    "low": 0.3,
    "very low": 0.1,
    "none": 0.0,
}
_NUMBER = re.compile(r"(?<![\w.,/-])([+-]?(?:\d{1,15}(?:[.,]\d{1,30})?|\.\d{1,30})(?:e[+-]?\d{1,3})?)", re.IGNORECASE)
_OUT_OF = re.compile(r"\s*(?:/|out of)\s*(\d{1,6}(?:\.\d{1,6})?)", re.IGNORECASE)
_PERCENT = re.compile(r"\s*(?:%|percent\b)", re.IGNORECASE)
_WORD = re.compile(r"\b(very\s+high|very\s+low|certain|high|moderate|medium|low|none)\b", re.IGNORECASE)
# What stands between the tags ends at the next opening one, so that a thousand unclosed ones are read but once.
_TAG = re.compile(r"<confidence>((?:(?!<confidence>).)*?)</confidence>", re.IGNORECASE | re.DOTALL)
_LINE = re.compile(
    r"\bconfidence(?:\s+(?:level|score|rating))?\s*(?:\([^()]{0,30}\))?\W{0,4}\s*(?:[:=]|\bis\b)[^\w.+-]{0,4}(?=\S)(.*)",
    re.IGNORECASE,
)
_LINE_END = 400  # characters of a line in which a confidence is looked for


class Confidence(Record):
    """A trust that could be read, or the reason why it could not."""

    value: float | None
    """0.0-1.0; None when it cannot be read."""

    problem: str | None = None
    """Why there is no value; None when there is one."""


def read_confidence(stated: object) -> Confidence:
    """Read one stated confidence: a number or a text.

    From 0 to 1 it is a fraction; from 2 to 100, or with a percent sign, a percentage; `x/10` and `x out of 10` are
    fractions of their scale; words have fixed values. Numbers strictly between 1 and 2, above 100 or below 0 mean
    nothing on any of these scales and are refused rather than bent into shape.
    """
    if isinstance(stated, bool) or stated is None:
        return _unread(stated)
    if isinstance(stated, int | float):
        return _checked(stated if 0 <= stated <= 1 else _percentage(stated), stated)
    text = str(stated).strip()
    number = _NUMBER.search(text)
    if number is None:
        word = _WORD.search(text)
        return Confidence(value=_WORDS[" ".join(word[1].lower().split())]) if word else _unread(text)
    value = float(number[1].replace(",", "."))
    rest = text[number.end() :]
    if scale := _OUT_OF.match(rest):
        whole = float(scale[1])
        return _checked(value / whole if whole else None, text)
    if _PERCENT.match(rest):
        return _checked(value / 100, text)
    return _checked(value if 0 <= value <= 1 else _percentage(value), text)


def find_confidence(reply: str) -> Confidence:
    """The confidence that a reply states outside its thinking: the last `<confidence>`, else the last such line."""
    reply = strip_thinking(reply)
    if tags := _TAG.findall(reply):
        return read_confidence(tags[-1])
    for line in reversed(reply.splitlines()):
        if stated := _LINE.search(" ".join(line.split())[-_LINE_END:]):
            return read_confidence(stated[1])
    return Confidence(value=None, problem="no confidence is stated")


def _percentage(value: float) -> float | None:
    return value / 100 if 2 <= value <= 100 else None


def _checked(value: float | None, stated: object) -> Confidence:
    return Confidence(value=value) if value is not None and 0 <= value <= 1 else _unread(stated)


def _unread(stated: object) -> Confidence:
    shown = str(stated)[:60]
    return Confidence(value=None, problem=f"the confidence {shown!r} cannot be read as a fraction or a percentage")
