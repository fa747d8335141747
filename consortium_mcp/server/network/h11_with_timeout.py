"""uvicorn's HTTP/1.1 protocol with a time limit for each request, so that no client can block a connection."""

import asyncio
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_LINE_ENDS = 10_000
"""The most line ends in a chunked body. Each chunk has two, and h11 needs 5 µs for it, however short it is."""

_PIECE = 16_384
"""The number of bytes that are parsed before line ends are counted."""


class PromptConfig(uvicorn.Config):
    """uvicorn's configuration, with the time limit for receiving a request."""

    def __init__(self, app: Any, request_timeout_seconds: float, **options: Any) -> None:
        super().__init__(app, http=DeadlineH11Protocol, ws="none", **options)
        self.request_timeout_seconds = request_timeout_seconds


class DeadlineH11Protocol(H11Protocol):
    """Closes a connection whose request, headers and body, does not arrive in time; uvicorn waits without limit.

    Above the limit of connections, only new ones are refused; uvicorn would also refuse requests on open ones.
    """

    _too_late: asyncio.TimerHandle | None = None

    _line_ends = 0
    """The number of line ends so far in the chunked body that is being read."""

    _unparsed = b""
    """The bytes after a request that is not answered yet."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to wait for the first request of a new connection."""
        super().connection_made(transport)
        assert self.config.limit_concurrency is not None
        self.limit_concurrency = 0 if len(self.connections) > self.config.limit_concurrency else None
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Receive a part of a request."""
        self._unparsed += data
        self._parse()

    def on_response_complete(self) -> None:
        """Continue with the data that the client has sent meanwhile."""
        super().on_response_complete()
        self._parse()

    def _parse(self) -> None:
        """Parse received data, piece by piece, up to the end of a request."""
        while self._unparsed and not self.transport.is_closing():
            if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
                self.flow.pause_reading()
                break
            piece, self._unparsed = self._unparsed[:_PIECE], self._unparsed[_PIECE:]
            super().data_received(piece)
            self._line_ends += piece.count(b"\r\n")
            if self._line_ends > MOST_LINE_ENDS:
                self.transport.abort()
            if not self._is_in_chunks():
                self._line_ends = 0
        self._watch()

    def _is_in_chunks(self) -> bool:
        return self.conn.their_state is h11.SEND_BODY and any(name == b"transfer-encoding" for name, _ in self.headers)

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the client has left."""
        self._unwatch()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer a message that is not HTTP; if an answer has already begun, close the connection."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.close()

    def _watch(self) -> None:
        """Limit the time from the first byte of a request to its last."""
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self._unwatch()
        elif self._too_late is None:
            assert isinstance(self.config, PromptConfig)
            self._too_late = self.loop.call_later(self.config.request_timeout_seconds, self.transport.abort)

    def _unwatch(self) -> None:
        if self._too_late is not None:
            self._too_late.cancel()
            self._too_late = None
