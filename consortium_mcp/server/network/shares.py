"""Limits one caller's share of the common resources: open requests, streams included, and sessions."""

import json
import time
from collections import Counter
from collections.abc import Callable, Container

import anyio
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from consortium_mcp.server.network.admission import audit
from consortium_mcp.settings import Settings

_SESSION = b"mcp-session-id"
_QUIET_SECONDS = 1.0
"""The seconds after a line in which the audit repeats no line about the same caller and limit."""

_LIMITS = {"requests": "max_connections_per_caller", "sessions": "max_sessions_per_caller"}
"""The setting of each limit, for the audit."""

BYTES_PER_SECOND = 1_000_000
"""The bytes per second of a caller's bodies on average, because reading them delays all callers."""

BYTES_AT_ONCE = 5_000_000
"""The bytes that a caller may send beyond that at once: one of the largest bodies."""


class Shares:
    """Answers 429 to a caller that has used its share; its open requests continue. An unnamed caller has no limit."""

    def __init__(self, app: ASGIApp, settings: Settings, open_sessions: Callable[[], Container[str]]) -> None:
        """Create it without open requests.

        Args:
            open_sessions: the ids of the open sessions.
        """
        self._app = app
        self._most_requests = settings.max_connections_per_caller or max(1, settings.max_connections // 2)
        self._most_sessions = settings.max_sessions_per_caller or max(1, settings.max_sessions // 2)
        self._open_sessions = open_sessions
        self._requests: Counter[str] = Counter()
        self._sessions: dict[str, set[str]] = {}
        self._sent: dict[str, tuple[float, float]] = {}
        """The bytes of each caller's bodies that still count, and the time of that number."""
        self._told: dict[tuple[str, str], float] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle the request within its caller's share."""
        user = scope.get("user")
        if scope["type"] != "http" or user is None or not user.is_authenticated:
            await self._app(scope, receive, send)
            return
        caller: str = user.display_name
        if refusal := self._refusal(caller, dict(scope["headers"])):
            await refusal(scope, receive, send)
            return

        async def send_and_note(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._note(caller, dict(message.get("headers", [])).get(_SESSION))
            await send(message)

        headers = dict(scope["headers"])

        async def receive_and_count() -> Message:
            message = await receive()
            self._pause(caller, len(message.get("body", b"")))
            return message

        self._requests[caller] += 1
        try:
            if b"content-length" in headers:
                await anyio.sleep(self._pause(caller, int(headers[b"content-length"])))
                await self._app(scope, receive, send_and_note)
            else:  # its body comes in chunks, if at all
                await anyio.sleep(self._pause(caller, 0))
                await self._app(scope, receive_and_count, send_and_note)
        finally:
            self._requests[caller] -= 1
            if not self._requests[caller]:
                del self._requests[caller]

    def _refusal(self, caller: str, headers: dict[bytes, bytes]) -> PlainTextResponse | None:
        """Why the request is refused; None if it is not."""
        if self._requests[caller] >= self._most_requests:
            return self._refused(caller, "requests", self._most_requests)
        if _SESSION not in headers and len(self._own_sessions(caller)) >= self._most_sessions:
            return self._refused(caller, "sessions", self._most_sessions)
        return None

    def _pause(self, caller: str, size: int) -> float:
        """The seconds until a caller's bodies, with these bytes more, are within the rate; 0 if they are now."""
        now = time.monotonic()
        before, then = self._sent.get(caller, (0.0, now))
        counts = max(0.0, before - (now - then) * BYTES_PER_SECOND) + size
        self._sent[caller] = counts, now
        return max(0.0, counts - BYTES_AT_ONCE) / BYTES_PER_SECOND

    def _own_sessions(self, caller: str) -> set[str]:
        """The caller's open sessions."""
        is_open = self._open_sessions()
        own = {one for one in self._sessions.pop(caller, ()) if one in is_open}
        if own:
            self._sessions[caller] = own
        return own

    def _note(self, caller: str, session: bytes | None) -> None:
        if session is not None:
            self._sessions.setdefault(caller, set()).add(session.decode("latin-1"))

    def _refused(self, caller: str, what: str, most: int) -> PlainTextResponse:
        """Answer the caller, and write to the audit at most once a second."""
        now = time.monotonic()
        if self._told.get((caller, what), float("-inf")) + _QUIET_SECONDS < now:
            self._told[caller, what] = now
            limit = _LIMITS[what]
            line = {"caller": caller, "tool": None, "run": None, "outcome": "refused", "cost_usd": None, "limit": limit}
            audit.info(json.dumps(line))
        sentence = f"You have {most} {what} open, which is the limit. Close some, or try again later."
        return PlainTextResponse(sentence, 429, {"Retry-After": "1"})
