"""Turns a caller's search into a full-text query of words and "phrases" that must all occur."""

import re
from collections.abc import Iterator

from consortium_mcp.errors import ConsortiumError

MOST_CHARACTERS = 1_000
"""How long a query may be: what SQLite needs to read one grows with the square of its parts."""

MOST_WORDS = 50
"""How many words and phrases a query may have."""

_PART = re.compile(r'"([^"]*)"?|[^\s"]+')
"""A phrase, whose second quotation mark may be missing, or a word."""


def match_text(query: str) -> str:
    """The query as text for MATCH: each word and phrase is a quoted string, in which no character is an operator.

    A query without a word matches nothing.

    Raises:
        ConsortiumError: it is longer than a search may be.
    """
    if len(query) > MOST_CHARACTERS:
        raise ConsortiumError(f"The query has {len(query):,} characters; a search takes {MOST_CHARACTERS:,} at most.")
    parts = list(_parts(query))
    if len(parts) > MOST_WORDS:
        raise ConsortiumError(f"The query has {len(parts)} words; a search takes {MOST_WORDS} at most.")
    return " ".join(f'"{part}"' for part in parts) or '""'


def _parts(query: str) -> Iterator[str]:
    """The words and phrases that hold anything; no part has a quotation mark, which would end its string."""
    text = query.encode("utf-8", "replace").decode().replace("\0", " ")
    for found in _PART.finditer(text):
        part = found[0] if found[1] is None else found[1]
        if part.strip():
            yield part
