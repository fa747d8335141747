"""The line in which a member states its own confidence, and a response without it."""

import re

_CONFIDENCE_LINE = re.compile(
    r"^[^\w\n<]*(?:<confidence>|confidence\b[^\n:=]{0,40}(?:[:=]|\bis\b)).*$", re.IGNORECASE | re.MULTILINE
)


def without_confidence(text: str) -> str:
    """The text without the line that states the member's own confidence."""
    return _CONFIDENCE_LINE.sub("", text).strip()
