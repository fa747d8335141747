"""Cursors of paged lists: opaque to clients; each contains the key of the last shown entry."""

import base64
import binascii
from typing import Literal

from consortium_mcp.errors import ConsortiumError

Kind = Literal["consortium", "run"]
"""The kind of the key: a saved name or a run id."""


def write_cursor(kind: Kind, key: str) -> str:
    """The cursor of the page after an entry."""
    return base64.urlsafe_b64encode(f"{kind}:{key}".encode()).decode().rstrip("=")


def read_cursor(cursor: str, *kinds: Kind) -> tuple[str, str]:
    """The kind and the key in a cursor.

    Args:
        kinds: the kinds of this list.

    Raises:
        ConsortiumError: it was not written here, or belongs to another list.
    """
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        text = ""
    kind, _, key = text.partition(":")
    if kind not in kinds or not key:
        raise ConsortiumError(
            f"The cursor {cursor[:60]!r} does not belong to this list; give the next_cursor of the previous page, or "
            "none."
        )
    return kind, key
