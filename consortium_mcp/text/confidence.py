"""Reads a confidence as models state it: `0.85`, `85%`, `8.5/10`, `high`; the result is a fraction or a reason."""

import re
import unicodedata
from itertools import islice

from consortium_mcp._util.frozen_model import FrozenModel
from consortium_mcp.text.thinking import strip_thinking

# Our own value of each word; for a threshold, their order matters.
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
_FIGURE = r"[+-]?(?:\d{1,15}(?:[.,]\d{1,30})?|\.\d{1,30})(?:e[+-]?\d{1,3})?"
_PERCENT = r"(?:%|percent\b|pct\b|per\s?cent\b|prozent\b|por\s?ciento\b|pour\s?cent\b)"
_LEAD = re.compile(
    r"(?:(?:i(?:'d|'m| would| am)? (?:say|am|estimate|put it at)|at least|is|at|of|about|around|approximately|"
    r"approx\.?|roughly|nearly|almost|over|ca\.?|circa|environ|etwa|alrededor de|[~≈>≥=:(\[\"'])\s*){0,4}",
    re.IGNORECASE,
)
_STATED = re.compile(
    rf"(?P<low>{_FIGURE})\s*(?P<low_percent>{_PERCENT})?(?:\s*(?:-|–|—|to\b)\s*(?P<high>{_FIGURE}))?"
    rf"\s*(?:(?P<percent>{_PERCENT})"
    r"|(?:/|(?:out )?of\b|von\b|sur\b|on a scale of (?:0|1) to)\s*(?P<whole>\d{1,6}(?:\.\d{1,6})?))?"
    r"(?![\w/%])(?![.,-]\d)",
    re.IGNORECASE,
)
_WORD = re.compile(
    r"(very\s+high|very\s+low|certain|high|moderate|medium|low|none)(?:\s+confidence)?\s*(?=$|[.,;:!()\]\"'}—–]|-\s|because\b|since\b)",
    re.IGNORECASE,
)
_BEHIND_WORD = re.compile(
    rf"(?:\s+confidence)?[\s(,:–—-]+(?:(?:at |about |around |roughly |approximately |[~≈]\s?){{0,2}})"
    rf"({_FIGURE}\s*{_PERCENT})(?![\w-])",
    re.IGNORECASE,
)
# A value ends at the next opening tag, so that a thousand unclosed tags are read in linear time.
_TAG = re.compile(r"<confidence>((?:(?!<confidence>).)*?)</confidence>", re.IGNORECASE | re.DOTALL)
_LABEL = (
    r"(?:\b(?:confidence|certainty|konfidenz|zuversicht|sicherheit|vertrauen|confiance|confianza|confian[çc]a|pewność|الثقة|fiducia|vertrouwen|уверенность"
    r"|probability(?: (?:of being )?correct)?|likelihood(?: (?:of being )?correct)?)\b"
    r"|置信度|置信水平|信心度?|確信度|自信度|신뢰도|확신도)"
)
_OF_WHAT = (
    r"(?:\s+(?:in|of|for)\s+(?:(?:this|the|my|that)\s+)?(?:final\s+)?"
    r"(?:answer|response|result|solution|conclusion|this|it))?"
)
_HEADING = re.compile(
    rf"^([^\w\n]{{0,12}}{_LABEL}(?:\s+(?:level|score|rating))?{_OF_WHAT})[ :*_]{{0,8}}\n\s{{0,8}}"
    r"(?=[\d~≈.*_`]|very\b|high\b|low\b|medium\b|moderate\b)",
    re.IGNORECASE | re.MULTILINE,
)
_LINE = re.compile(
    rf"{_LABEL}(?:\s+(?:level|score|rating))?{_OF_WHAT}\s*"
    r"(?P<scale>\([^()]{0,30}\)|,?\s?(?:on a scale (?:of|from)|from) [^,:=]{1,20})?"
    r"(?:\W{0,4}\s*(?:[:=]|\bis\b)|\s+[-–—|→~≈]\s|(?<=\d),)[^\w.+<~≈≥>-]{0,4}(?=\S)(?P<stated>.*)",
    re.IGNORECASE,
)
_SURE = re.compile(rf"(?P<stated>{_FIGURE}\s*{_PERCENT})\s*(?:sure|confident|certain)\b", re.IGNORECASE)
_HAVE = re.compile(
    rf"\bi (?:have|estimate|give|see) (?:this |it |an? )?(?:about |around )?(?P<stated>{_FIGURE}\s*{_PERCENT}) "
    r"(?:confidence\b|(?:probability|chance|likelihood) (?:that|of) (?:this|it|my|being|the answer)\b)",
    re.IGNORECASE,
)
_BESIDE = re.compile(
    rf"{_LABEL}{_OF_WHAT}\s+(?:at |of |around |about ){{0,2}}(?P<stated>{_FIGURE}\s*{_PERCENT})\s*(?=$|[.,;:!)\]])",
    re.IGNORECASE,
)
_BETWEEN = re.compile(rf"(?:between|from)\s+({_FIGURE}\s*{_PERCENT}?)\s*(?:and|to)\s+(?={_FIGURE})", re.IGNORECASE)
_SCALE_END = re.compile(r"(?:out of|to|/|[-–])\s*(\d{1,6})\b", re.IGNORECASE)
_MARKUP = re.compile(r"\\text\s?\{([^{}]{0,80})\}|\\([%,;! ])|[*$`]|(?<!\w)_+|_+(?!\w)")
_HINTS = (
    *("confidence", "certain", "konfidenz", "zuversicht", "sicherheit", "vertrauen", "confian", "pewność", "الثقة"),
    *(
        "fiducia",
        "vertrouwen",
        "уверенность",
        "probability",
        "likelihood",
        "置信",
        "信心",
        "確信",
        "自信",
        "신뢰",
        "확신",
    ),
    *("sure", "confident", "chance"),
)
"""Parts that every line with a confidence has one of."""

_LAST_LINES = 10_000
"""The number of lines in which a confidence is searched, because a reply is read in the event loop."""

_MOST_LINES = 200
"""The most lines with a hint that are parsed."""

_LINE_END = 400  # the characters of a line in which a confidence is searched
_SHORTEST = 11  # a whole number from here on can only be a percentage; 2 to 10 may also be out of ten


class Confidence(FrozenModel):
    """A confidence, or the reason why it could not be read."""

    value: float | None
    """The confidence, 0.0-1.0; None if it cannot be read."""

    problem: str | None = None
    """Why there is no value; None if there is one."""


def read_confidence(stated: object, scale: float | None = None) -> Confidence:
    """Read one stated confidence: a number or a text.

    From 0 to 1 it is a fraction; from 11 to 100, or with a percent sign, a percentage. `8/10` and `8 out of 10` are
    fractions of their scale. A range counts as its middle; words have fixed values. A whole number from 2 to 10 is
    refused, because it may be out of 10 or out of 100. Also refused are values above 100, below 0, or negated ("not
    high").

    Args:
        scale: the largest value, if the label names it, as in "Confidence (out of 10)"; None without one.
    """
    if isinstance(stated, bool) or stated is None:
        return _unread(stated)
    if isinstance(stated, int | float):
        return _checked(_on_scale(stated, scale), stated)
    text = " ".join(_MARKUP.sub(r"\1\2", unicodedata.normalize("NFKC", str(stated)[:_LINE_END])).split())
    text = _BETWEEN.sub(r"\1 to ", text, count=1)
    lead = _LEAD.match(text)
    beginning = lead.end() if lead else 0
    found = _STATED.match(text, beginning)
    if found is None:
        return _in_words(text) or _unread(str(stated).strip())
    values = [float(found[name].replace(",", ".")) for name in ("low", "high") if found[name]]
    value = sum(values) / len(values)
    if values != sorted(values):
        return _unread(text)
    if found["percent"] or found["low_percent"]:
        return _checked(value / 100, text)
    if found["whole"]:
        whole = float(found["whole"])
        return _checked(value / whole if whole else None, text)
    return _checked(_on_scale(value, scale), text)


def find_confidence(reply: str) -> Confidence:
    """The confidence that a reply states outside its thinking: the last `<confidence>`, else the last such line."""
    reply = _HEADING.sub(r"\1: ", strip_thinking(reply))
    if tags := _TAG.findall(reply):
        return read_confidence(tags[-1])
    for line in _hinted(reply):
        plain = _MARKUP.sub(r"\1\2", unicodedata.normalize("NFKC", " ".join(line.split())[-_LINE_END:]))
        if stated := _LINE.search(plain):
            return read_confidence(stated["stated"], _scale_of(stated["scale"]))
        if (stated := _SURE.search(plain) or _HAVE.search(plain) or _BESIDE.search(plain)) and not _is_denied(
            plain[: stated.start()]
        ):
            return read_confidence(stated["stated"])
    return Confidence(value=None, problem="no confidence is stated")


def _hinted(reply: str) -> list[str]:
    """The last lines that may state a confidence, last first."""
    folded = reply.lower()
    hints = [hint for hint in _HINTS if hint in folded or not reply.isascii()]  # full-width letters count as letters
    if not hints:
        return []
    last = islice(reversed(reply.splitlines()), _LAST_LINES)
    lines = ((line, unicodedata.normalize("NFKC", line[-_LINE_END:]).lower()) for line in last)
    return list(islice((line for line, plain in lines if any(hint in plain for hint in hints)), _MOST_LINES))


def _in_words(text: str) -> Confidence | None:
    """A confidence in words, as `high`; a percentage after the word has priority."""
    if word := _WORD.match(text):
        figure = _BEHIND_WORD.match(text, word.end(1))
        return read_confidence(figure[1]) if figure else Confidence(value=_WORDS[" ".join(word[1].lower().split())])
    return None


def _scale_of(label: str | None) -> float | None:
    """The largest value of the scale that a label names; None if it names none."""
    end = _SCALE_END.search(label or "")
    return float(end[1]) if end else None


def _is_denied(before: str) -> bool:
    """Whether the words before a percentage negate it, as in "not 90% sure"."""
    return bool(re.search(r"\b(?:not|n't|never|isn't|hardly)(?:\s+\w+)?\s*$", before, re.IGNORECASE))


def _on_scale(value: float, scale: float | None) -> float | None:
    """A bare number as a fraction of its scale; None if its scale is ambiguous."""
    if scale:
        return value / scale
    if 0 <= value <= 1:
        return value
    return value / 100 if _SHORTEST <= value <= 100 else None


def _checked(value: float | None, stated: object) -> Confidence:
    return Confidence(value=value) if value is not None and 0 <= value <= 1 else _unread(stated)


def _unread(stated: object) -> Confidence:
    shown = str(stated)[:60]
    return Confidence(value=None, problem=f"the confidence {shown!r} cannot be read as a fraction or a percentage")
