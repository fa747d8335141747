"""Finds and removes the line or the tag in which a model states its confidence."""

import re

from consortium_mcp.text.confidence import read_confidence

_CONFIDENCE_LINE = re.compile(
    r"^[^\w\n<]*(?:<confidence>|confidence\b[^\n:=]{0,40}(?:[:=]|\bis\b)).*$", re.IGNORECASE | re.MULTILINE
)
_TAGS = ("<confidence>", "</confidence>")
_END_TAG = re.compile(r"(?:<confidence>(?P<stated>[^<]{0,60})(?:</confidence>)?|</confidence>)$", re.IGNORECASE)
_LONGEST_END = 200
"""The characters at the end of a text in which its tag is searched."""


def without_confidence(text: str) -> str:
    """The text without the line or the tag at its end in which a member states its confidence."""
    return without_end_tag(_CONFIDENCE_LINE.sub("", text).strip())


def without_end_tag(text: str) -> str:
    """The text without a complete or partial `<confidence>` at its end; a text about such tags stays complete."""
    stripped = text.rstrip()
    found = _END_TAG.search(stripped, max(0, len(stripped) - _LONGEST_END))
    if found is None:
        return text
    if found["stated"] and read_confidence(found["stated"].strip()).value is None:
        return text
    return text[: found.start()].rstrip() or text


def before_end_tag(text: str) -> str:
    """The beginning of an unfinished text, up to a possible beginning of such a tag at its end."""
    lower = text.lower()
    last = max(lower.rfind(tag) for tag in _TAGS)
    begun = lower.rfind("<")
    if last < 0 and begun >= 0 and any(tag.startswith(lower[begun:]) for tag in _TAGS):
        last = begun
    return text if last < 0 else text[: _first_of_pair(lower, last)]


def _first_of_pair(lower: str, last: int) -> int:
    """The start of the pair of tags that ends at a position; the position itself if none ends there."""
    opening = lower.rfind(_TAGS[0], 0, last)
    return opening if opening >= 0 and lower.startswith(_TAGS[1], last) else last
