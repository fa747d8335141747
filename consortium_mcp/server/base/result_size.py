"""Keeps a tool's result within 25,000 tokens, because clients cut longer results."""

import json
import re
import string
from functools import partial
from typing import Any

from consortium_mcp.text.templates import clip

TEXT_TOKENS = 10_500
"""The most tokens of the text for the model."""

STRUCTURED_TOKENS = 10_500
"""The most tokens of structured content beside it."""

ANSWER_TOKENS = 9_000
"""The most tokens of an answer, so that its metadata fit beside it."""

PART_TOKENS = 6_000
"""The most tokens of a part of a long text, as it stands in JSON."""

_PART_CHARACTERS = 9_000
"""More characters than a part can have."""

_SHARES = (3 / 4, 1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 64)
_LENGTHS = (200, 100, 50, 25, 10, 5)
_LAST_SHARE = 1 / 128
"""The smallest useful share of a result: less is little more than the note about the cut."""
_LAST_LENGTHS = (2, 1)


def most_tokens(text: str) -> float:
    """An upper estimate of a text's tokens: about two and a half times those of prose.

    Measured with cl100k: runs of the rarest lower-case letters have 0.68 tokens a letter. A single letter with the
    space before it has one, and everything else at most one for each byte. Only runs of two rare letters have more.
    """
    data = text.encode("utf-8", "replace")
    letters = len(data) - len(data.translate(None, string.ascii_lowercase.encode()))
    words = len(re.findall(rb"[a-z]+", data))
    joined = len(re.findall(rb" (?=[a-z])", data))
    return 0.7 * letters + 0.3 * words + (len(data) - letters - joined)


def fits(value: Any) -> bool:
    """Whether a value fits into structured content unchanged."""
    return most_tokens(_as_json(value)) <= STRUCTURED_TOKENS


def parts_of(text: str) -> list[str]:
    """The text in parts that each fit into a result; all parts in order are the whole text."""
    parts, start = [], 0
    while start < len(text):
        parts.append(text[start : start + _part_length(text, start)])
        start += len(parts[-1])
    return parts or [""]


def _part_length(text: str, start: int) -> int:
    """The characters of the part that begins there; it ends after a line or a word where one is near its end."""
    length = min(len(text) - start, _PART_CHARACTERS)
    while (most := most_tokens(_as_json(text[start : start + length]))) > PART_TOKENS:
        length = max(1, int(min(length * PART_TOKENS / most, length * 0.9)))
    if start + length == len(text):
        return length
    end, earliest = start + length, start + length * 4 // 5
    found = max(text.rfind("\n", earliest, end), text.rfind(" ", earliest, end))
    return found + 1 - start if found >= 0 else length


def shortened(text: str, tokens: float) -> str:
    """The text, or its beginning and its end with a note of the omitted length."""
    kept = len(text)
    short = text
    while (most := most_tokens(short)) > tokens:
        kept = int(min(kept * tokens / most, kept * 0.9))
        short = clip(text, kept)
    return short


def fitted(record: dict[str, Any]) -> dict[str, Any]:
    """The record cut to the limit of structured content: its longest texts first, then its longest lists.

    If that is not enough, as with long texts in nested lists, both are cut further. If even that is not enough, as with
    a thousand options of one model, the longest fields become an empty list or null.
    """
    for shorten in _STEPS:
        if fits(record):
            return record
        record = shorten(record)
    for name in sorted(record, key=lambda name: len(_as_json(record[name])), reverse=True):
        if fits(record):
            break
        record = {**record, name: [] if isinstance(record[name], list) else None}
    return record


def _with_texts_of(value: Any, tokens: float) -> Any:
    if isinstance(value, str):
        return shortened(value, tokens)
    if isinstance(value, list):
        return [_with_texts_of(item, tokens) for item in value]
    if isinstance(value, dict):
        return {name: _with_texts_of(item, tokens) for name, item in value.items()}
    return value


def _with_lists_of(value: Any, length: int) -> Any:
    if isinstance(value, list):
        return [_with_lists_of(item, length) for item in value[:length]]
    if isinstance(value, dict):
        return {name: _with_lists_of(item, length) for name, item in value.items()}
    return value


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


_STEPS = (
    *(partial(_with_texts_of, tokens=STRUCTURED_TOKENS * share) for share in _SHARES),
    *(partial(_with_lists_of, length=length) for length in _LENGTHS),
    partial(_with_texts_of, tokens=STRUCTURED_TOKENS * _LAST_SHARE),
    *(partial(_with_lists_of, length=length) for length in _LAST_LENGTHS),
)
"""The steps that shorten a record, applied in order until it fits."""
