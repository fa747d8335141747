"""Splits long texts into chunks: each fits into a client's limit and says where the next one is.

The SDK's Python client ends a connection with an event above 1 MiB; the worst character takes six bytes in JSON.
"""

from dataclasses import dataclass

PIECE = 80_000
"""The characters of a chunk; some 20,000 tokens of English."""


@dataclass(frozen=True)
class Chunk:
    """A part of a text."""

    text: str
    """The unchanged text of the chunk; all chunks in order are the whole text."""

    note: str
    """The range of the chunk and the URI of the next one; empty if the chunk is the whole text."""


def piece_of(text: str, uri: str, offset: int = 0) -> Chunk:
    """The chunk of a text that begins at an offset in characters.

    Args:
        uri: the URI of the whole text.
    """
    end = min(offset + PIECE, len(text))
    if offset == 0 and end == len(text):
        return Chunk(text, "")
    note = f"Cut: these are the characters {offset} to {end} of {len(text)}. "
    note += f"The next piece: {piece_uri(uri, end)}" if end < len(text) else "This is the last piece."
    return Chunk(text[offset:end], note)


def piece_uri(uri: str, offset: int) -> str:
    """The URI of the chunk that begins at an offset."""
    return f"{uri}?offset={offset}"


def read_piece_uri(uri: str) -> tuple[str, int | None]:
    """The URI of the whole text, and the offset; None if the offset is no number."""
    whole, mark, offset = uri.partition("?offset=")
    if not mark:
        return uri, 0
    return whole, int(offset) if offset.isascii() and offset.isdigit() and len(offset) < 16 else None
