"""The line or the tag in which a model states its own confidence, and a text without it."""

import re

from consortium_mcp.text.confidence import read_confidence

_CONFIDENCE_LINE = re.compile(
    r"^[^\w\n<]*(?:<confidence>|confidence\b[^\n:=]{0,40}(?:[:=]|\bis\b)).*$", re.IGNORECASE | re.MULTILINE
)
_TAG = "<confidence>"
_END_TAG = re.compile(r"(?:<confidence>(?P<stated>[^<]{0,60}))?(?:</confidence>)?\s*$", re.IGNORECASE)
_LONGEST_END = 200
"""Characters at the end of a text in which its tag is looked for."""


def without_confidence(text: str) -> str:
    """The text without the line or the tag at its end that states the member's own confidence."""
    return without_end_tag(_CONFIDENCE_LINE.sub("", text).strip())


def without_end_tag(text: str) -> str:
    """The text without a `<confidence>` at its end, or what is left of one; a text about such tags stays whole."""
    begin = max(0, len(text) - _LONGEST_END)
    found = _END_TAG.search(text, begin)
    if found is None or not found[0].strip():
        return text
    if found["stated"] and read_confidence(found["stated"].strip()).value is None:
        return text
    return text[: found.start()].rstrip() or text


def before_end_tag(text: str) -> str:
    """The beginning of a text that is still being written, up to where a `<confidence>` may begin at its end."""
    lower = text.lower()
    at = lower.rfind(_TAG)
    if at < 0:
        at = lower.rfind("<")
        if at < 0 or not _TAG.startswith(lower[at:]):
            return text
    return text[:at]
