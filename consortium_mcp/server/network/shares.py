"""What one caller may hold of what all share: requests under way, streams included, and sessions."""

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
"""How long after a line the audit says nothing more of the same caller and limit."""

BYTES_PER_SECOND = 1_000_000
"""How much a caller's bodies may have in the long run: reading one takes the time of all."""

BYTES_AT_ONCE = 5_000_000
"""How much they may have beyond that for a moment: one of the largest bodies."""


class Shares:
    """Answers 429 to a caller who holds its share already; what it holds goes on. Who has no name has no share."""

    def __init__(self, app: ASGIApp, settings: Settings, open_sessions: Callable[[], Container[str]]) -> None:
        """Begin with nothing held.

        Args:
            open_sessions: the ids of the sessions that are open now.
        """
        self._app = app
        self._most_requests = settings.max_connections_per_caller or max(1, settings.max_connections // 2)
        self._most_sessions = settings.max_sessions_per_caller or max(1, settings.max_sessions // 2)
        self._open_sessions = open_sessions
        self._requests: Counter[str] = Counter()
        self._sessions: dict[str, set[str]] = {}
        self._sent: dict[str, tuple[float, float]] = {}
        """How many bytes of each caller's bodies count still, and as of when."""
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

        self._requests[caller] += 1
        try:
            await anyio.sleep(self._pause(caller, dict(scope["headers"])))
            await self._app(scope, receive, send_and_note)
        finally:
            self._requests[caller] -= 1
            if not self._requests[caller]:
                del self._requests[caller]

    def _refusal(self, caller: str, headers: dict[bytes, bytes]) -> PlainTextResponse | None:
        """Why the request is not handled; None when it is."""
        if self._requests[caller] >= self._most_requests:
            return self._refused(caller, "requests", self._most_requests)
        if _SESSION not in headers and len(self._own_sessions(caller)) >= self._most_sessions:
            return self._refused(caller, "sessions", self._most_sessions)
        return None

    def _pause(self, caller: str, headers: dict[bytes, bytes]) -> float:
        """How many seconds a request waits before its body is read; 0 for callers who send little."""
        length = headers.get(b"content-length", b"0")
        size, now = int(length) if length.isdigit() else 0, time.monotonic()
        before, then = self._sent.get(caller, (0.0, now))
        counts = max(0.0, before - (now - then) * BYTES_PER_SECOND) + size
        self._sent[caller] = counts, now
        return max(0.0, counts - BYTES_AT_ONCE) / BYTES_PER_SECOND

    def _own_sessions(self, caller: str) -> set[str]:
        """The caller's sessions that are still open."""
        is_open = self._open_sessions()
        own = {one for one in self._sessions.pop(caller, ()) if one in is_open}
        if own:
            self._sessions[caller] = own
        return own

    def _note(self, caller: str, session: bytes | None) -> None:
        if session is not None:
            self._sessions.setdefault(caller, set()).add(session.decode("latin-1"))

    def _refused(self, caller: str, what: str, most: int) -> PlainTextResponse:
        """Tell the caller, and once a second the audit."""
        now = time.monotonic()
        if self._told.get((caller, what), float("-inf")) + _QUIET_SECONDS < now:
            self._told[caller, what] = now
            line = {"caller": caller, "tool": None, "run": None, "outcome": "refused", "cost_usd": None, "limit": what}
            audit.info(json.dumps(line))
        sentence = f"You have {most} {what} open, as many as one caller may have. Close some, or try again later."
        return PlainTextResponse(sentence, 429, {"Retry-After": "1"})
