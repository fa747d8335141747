"""The line or the tag in which a model states its own confidence, and a text without it."""

import re

from consortium_mcp.text.confidence import read_confidence

_CONFIDENCE_LINE = re.compile(
    r"^[^\w\n<]*(?:<confidence>|confidence\b[^\n:=]{0,40}(?:[:=]|\bis\b)).*$", re.IGNORECASE | re.MULTILINE
)
_TAGS = ("<confidence>", "</confidence>")
_END_TAG = re.compile(r"(?:<confidence>(?P<stated>[^<]{0,60})(?:</confidence>)?|</confidence>)$", re.IGNORECASE)
_LONGEST_END = 200
"""Characters at the end of a text in which its tag is looked for."""


def without_confidence(text: str) -> str:
    """The text without the line or the tag at its end that states the member's own confidence."""
    return without_end_tag(_CONFIDENCE_LINE.sub("", text).strip())


def without_end_tag(text: str) -> str:
    """The text without a `<confidence>` at its end, or what is left of one; a text about such tags stays whole."""
    stripped = text.rstrip()
    found = _END_TAG.search(stripped, max(0, len(stripped) - _LONGEST_END))
    if found is None:
        return text
    if found["stated"] and read_confidence(found["stated"].strip()).value is None:
        return text
    return text[: found.start()].rstrip() or text


def before_end_tag(text: str) -> str:
    """The beginning of a text that is still being written, up to where such a tag may stand at its end."""
    lower = text.lower()
    last = max(lower.rfind(tag) for tag in _TAGS)
    begun = lower.rfind("<")
    if last < 0 and begun >= 0 and any(tag.startswith(lower[begun:]) for tag in _TAGS):
        last = begun
    return text if last < 0 else text[: _first_of_pair(lower, last)]


def _first_of_pair(lower: str, last: int) -> int:
    """Where the pair of tags begins whose end stands at a place; that place where it ends none."""
    opening = lower.rfind(_TAGS[0], 0, last)
    return opening if opening >= 0 and lower.startswith(_TAGS[1], last) else last
