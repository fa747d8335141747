"""HTTP/1.1 as uvicorn speaks it, with a time limit for each request, so that no client holds a connection."""

import asyncio
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol


class PromptConfig(uvicorn.Config):
    """uvicorn's configuration, and how long a request may take to arrive."""

    def __init__(self, app: Any, request_timeout_seconds: float, **options: Any) -> None:
        super().__init__(app, http=DeadlineH11Protocol, ws="none", **options)
        self.request_timeout_seconds = request_timeout_seconds


class DeadlineH11Protocol(H11Protocol):
    """Cuts a connection whose request, headers and body, is not there in time; uvicorn waits for ever.

    Beyond the limit of connections the new ones are refused; uvicorn refuses what comes over the old ones, too.
    """

    _too_late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client came; its first request is awaited."""
        super().connection_made(transport)
        assert self.config.limit_concurrency is not None
        self.limit_concurrency = 0 if len(self.connections) > self.config.limit_concurrency else None
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Something of a request arrived."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client left."""
        self._unwatch()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP; where an answer has begun already, as of a refused request, end the connection."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.close()

    def _watch(self) -> None:
        """Let the time run from the first byte of a request to its last."""
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self._unwatch()
        elif self._too_late is None:
            assert isinstance(self.config, PromptConfig)
            self._too_late = self.loop.call_later(self.config.request_timeout_seconds, self.transport.abort)

    def _unwatch(self) -> None:
        if self._too_late is not None:
            self._too_late.cancel()
            self._too_late = None
