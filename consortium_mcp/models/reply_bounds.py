"""The limits of a provider's reply: its size, its origin, its encoding; it is decoded here, in pieces."""

import zlib
from collections.abc import Iterator, Mapping
from urllib.parse import urljoin, urlsplit

from consortium_mcp.models.reply_faults import ReplyFault

MOST_BYTES = 64 * 2**20
"""The limit of a decoded reply in bytes: the chunks of a stream have some 300 bytes for each word."""

MOST_OF_BODY = 16 * 2**20
"""The limit of a reply that is one JSON value."""

LONGEST_EVENT = 4 * 2**20
"""The limit of one event of a stream, and of one line in it."""

MOST_BEFORE_REPLY = 2**20
"""The limit of a stream's bytes before its first chunk of a reply."""

MOST_OF_ERROR = 2**20
"""The limit of an error's body; the rest is not read."""

MOST_CHARACTERS = 2_000_000
"""The limit of text, thinking and tool calls together."""

ENCODINGS = "gzip, deflate"
"""The encodings that are requested from providers and can be decoded."""

_PIECE = 64 * 2**10
_WINDOWS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
_MEDIA = ("image/", "audio/", "video/", "font/", "application/pdf", "application/zip", "application/octet-stream")


class Decoder:
    """Decodes a body as it arrives, in small pieces, so that a small body cannot expand to a large one at once."""

    def __init__(self, encoding: str | None) -> None:
        """Begin to decode.

        Args:
            encoding: the header Content-Encoding; None if there is none.
        """
        self._encoding = (encoding or "identity").strip().lower()
        self._inflating = zlib.decompressobj(_WINDOWS[self._encoding]) if self._encoding in _WINDOWS else None

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The decoded pieces of a chunk; raises ReplyFault if it cannot be decoded."""
        if self._encoding in ("identity", ""):
            yield chunk
            return
        if self._inflating is None:
            raise ReplyFault("The provider's reply has an encoding that was not requested.", "invalid_reply")
        while chunk:
            try:
                piece = self._inflating.decompress(chunk, _PIECE)
            except zlib.error:
                raise ReplyFault("The provider's reply cannot be decompressed.", "invalid_reply") from None
            chunk = self._inflating.unconsumed_tail
            if piece:
                yield piece


def too_large(limit: int, unit: str = "bytes") -> ReplyFault:
    """The fault of a reply that exceeds a limit."""
    return ReplyFault(f"The provider's reply has more than {limit:,} {unit}; the rest was not read.", "invalid_reply")


def refuse_media(headers: Mapping[str, str]) -> None:
    """Raise ReplyFault if the headers of a reply say that it is an image, audio, a file or the like."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind.startswith(_MEDIA):
        raise ReplyFault(f"The provider sent {kind[:60]} instead of a model's reply. Check api_base.", "invalid_reply")


def leaves_its_server(asked: str, location: str) -> bool:
    """Whether a redirect leads to another server, which must get neither the question nor a key.

    Args:
        asked: the URL that redirects.
        location: the target, possibly relative to it.
    """
    before, after = urlsplit(asked), urlsplit(urljoin(asked, location))
    return (before.scheme, before.netloc.rpartition("@")[2]) != (after.scheme, after.netloc.rpartition("@")[2])
