"""Admission of requests: identifies each caller, applies limits, and writes the audit log."""

import asyncio
import json
import logging
import math
import re
import time
from collections import defaultdict, deque
from collections.abc import Collection, Mapping
from typing import Any

import anyio
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken, TokenVerifier
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_REQUEST, CallToolResult, TextContent
from pydantic import BaseModel

from consortium_mcp._util.caller import calling
from consortium_mcp.server.base.mcp_server import LIMIT

AUDIT = "consortium_mcp.audit"
"""The logger of the audit: names, runs and costs, never texts from outside."""

audit = logging.getLogger(AUDIT)

_RUN_ID = re.compile(r"[0-7][0-9a-hjkmnp-tv-z]{25}")
"""A run id: a ULID in lower case."""

_UNCOUNTED = ("initialize", "ping", "server/discover")
_MINUTE = 60.0
_REFUSALS_SECONDS = 1.0


class Admission:
    """Middleware around every request over the network."""

    def __init__(self, max_requests: int | None, *, needs_caller: bool) -> None:
        """Create it without counted requests.

        Args:
            max_requests: the requests of one caller in a minute; None means no limit.
            needs_caller: whether to refuse a request without a token; the web app has already refused it, so this is a
                second check.
        """
        self._max_requests = max_requests
        self._needs_caller = needs_caller
        self.tools: Collection[str] = ()
        """The names of the server's tools; the audit log contains no other names."""
        self._times: dict[str | None, deque[float]] = defaultdict(deque)

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Handle the request in the name of its caller."""
        caller = caller_of(ctx)
        if caller is None and self._needs_caller:
            raise MCPError(INVALID_REQUEST, "This server needs a bearer token. Send it in the Authorization header.")
        with calling(caller):
            if ctx.method != "tools/call":
                if wait := self._seconds_to_wait(ctx, caller):
                    raise MCPError(INVALID_REQUEST, self._refusal(wait))
                return await call_next(ctx)
            return await self._audited(ctx, call_next, caller)

    async def _audited(
        self, ctx: ServerRequestContext[Any, Any], call_next: CallNext, caller: str | None
    ) -> HandlerResult:
        result: HandlerResult = None
        outcome = "error"
        try:
            if wait := self._seconds_to_wait(ctx, caller):
                outcome = "refused"
                sentence = TextContent(type="text", text=self._refusal(wait))
                result = CallToolResult(content=[sentence], is_error=True, _meta={LIMIT: "max_requests_per_caller"})
                return result
            result = await call_next(ctx)
            outcome = "refused" if _limit(_as_dict(result)) else _outcome(_as_dict(result))
            return result
        except anyio.get_cancelled_exc_class():
            outcome = "left"
            raise
        finally:
            audit.info(json.dumps(self._line(caller, ctx.params or {}, _as_dict(result), outcome)))

    def _line(
        self, caller: str | None, params: Mapping[str, Any], result: dict[str, Any], outcome: str
    ) -> dict[str, Any]:
        content, arguments = _dict_in(result, "structuredContent"), _dict_in(params, "arguments")
        tool, run_id = str(params.get("name")), str(content.get("run_id") or arguments.get("run_id"))
        return {
            "caller": caller,
            "tool": tool if tool in self.tools else None,
            "run": run_id if _RUN_ID.fullmatch(run_id) else None,
            "outcome": outcome,
            "cost_usd": _dict_in(content, "usage").get("cost_usd"),
            **({"limit": limit} if (limit := _limit(result)) else {}),
        }

    def _seconds_to_wait(self, ctx: ServerRequestContext[Any, Any], caller: str | None) -> int:
        """The seconds until the caller's next allowed request; 0 counts and admits this one."""
        if self._max_requests is None or ctx.request_id is None or ctx.method in _UNCOUNTED:
            return 0
        times, now = self._times[caller], time.monotonic()
        while times and times[0] <= now - _MINUTE:
            times.popleft()
        if len(times) >= self._max_requests:
            return math.ceil(times[0] + _MINUTE - now) or 1
        times.append(now)
        return 0

    def _refusal(self, wait: int) -> str:
        return f"You have reached the limit of {self._max_requests} requests in a minute; try again in {wait} s."


class AuditedVerifier:
    """A verifier that logs refused tokens in the audit: one line a second, however many arrive."""

    def __init__(self, verifier: TokenVerifier) -> None:
        self._verifier = verifier
        self._refused = 0
        self._next_line: asyncio.TimerHandle | None = None

    async def verify_token(self, token: str) -> AccessToken | None:
        """The caller of the token; None if it is refused."""
        access = await self._verifier.verify_token(token)
        if access is None:
            self._refused += 1
            if self._next_line is None:
                self._write()
        return access

    def _write(self) -> None:
        """Write the number of refused tokens since the last line, then none for a second."""
        self._next_line = None
        if self._refused:
            unknown = {"caller": None, "tool": None, "run": None, "outcome": "refused", "cost_usd": None}
            audit.info(json.dumps({**unknown, "tokens": self._refused}))
            self._refused = 0
            self._next_line = asyncio.get_running_loop().call_later(_REFUSALS_SECONDS, self._write)


def caller_of(ctx: ServerRequestContext[Any, Any]) -> str | None:
    """The name that the request's token belongs to; None if no token is required."""
    user = ctx.request.scope.get("user") if ctx.request is not None else None
    return user.access_token.client_id if isinstance(user, AuthenticatedUser) else None


def _outcome(result: dict[str, Any]) -> str:
    """The run's status if there is one; else whether the call succeeded."""
    if status := _dict_in(result, "structuredContent").get("status"):
        return str(status)
    return "error" if result.get("isError") else "ok"


def _limit(result: dict[str, Any]) -> str | None:
    """The setting of the caller's limit that refused the call; None if none did."""
    limit: str | None = _dict_in(result, "_meta").get(LIMIT)
    return limit


def _as_dict(result: HandlerResult) -> dict[str, Any]:
    if isinstance(result, BaseModel):
        return result.model_dump(by_alias=True, mode="json")
    return result or {}


def _dict_in(outer: Mapping[str, Any], key: str) -> dict[str, Any]:
    inner = outer.get(key)
    return inner if isinstance(inner, dict) else {}
