"""Turns a caller's search into a full-text query of words and "phrases" that must all occur."""

import re
from collections.abc import Iterator

from consortium_mcp.errors import ConsortiumError

MOST_CHARACTERS = 1_000
"""The longest query: SQLite's time to parse one grows with the square of its parts."""

MOST_WORDS = 50
"""The largest number of words and phrases in a query."""

_PART = re.compile(r'"([^"]*)"?|[^\s"]+')
"""A phrase, whose closing quotation mark may be missing, or a word."""


def match_text(query: str) -> str:
    """The query as text for MATCH: each word and phrase is a quoted string, in which no character is an operator.

    A query without a word matches nothing.

    Raises:
        ConsortiumError: the query is too long.
    """
    if len(query) > MOST_CHARACTERS:
        raise ConsortiumError(f"The query has {len(query):,} characters; a search takes {MOST_CHARACTERS:,} at most.")
    parts = list(_parts(query))
    if len(parts) > MOST_WORDS:
        raise ConsortiumError(f"The query has {len(parts)} words; a search takes {MOST_WORDS} at most.")
    return " ".join(f'"{part}"' for part in parts) or '""'


def _parts(query: str) -> Iterator[str]:
    """The words and phrases that contain anything; none contains a quotation mark, which would end its string."""
    text = query.encode("utf-8", "replace").decode().replace("\0", " ")
    for found in _PART.finditer(text):
        part = found[0] if found[1] is None else found[1]
        if part.strip():
            yield part
