"""Maps requests to runs, so that a user's cancellation stops the run and a client's timeout does not."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext

from consortium_mcp._util.caller import current_caller
from consortium_mcp.service.runner import Runner

# The reasons that clients send after their own timeout. TypeScript SDK: "McpError: MCP error -32001: Request timed
# out"; Python SDK: "timed out after 3.0s".
_IMPATIENT = ("timed out", "timeout", "-32001")

_MOST_LEFT = 1_000
"""The number of unanswered requests that are remembered; a broken connection sends no notification."""

_Key = tuple[str | None, str | None, str]


@dataclass
class _Request:
    """A tool call that is under way or was cancelled."""

    run_id: str | None = None
    """The run that the request follows; None if it follows none yet."""

    settled: anyio.Event = field(default_factory=anyio.Event)
    """Set when `run_id` is final."""


class Cancellations:
    """Middleware that cancels a run when its caller's user cancels the request."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._requests: dict[_Key, _Request] = {}

    @contextmanager
    def following(self, ctx: ServerRequestContext[Any, Any], run_id: str) -> Iterator[None]:
        """Note that a request follows a run."""
        if request := self._requests.get(_key(ctx, ctx.request_id)):
            request.run_id = run_id
            request.settled.set()
        yield

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Note each tool call from its beginning, because its user may cancel it before the run is open."""
        if ctx.method == "notifications/cancelled" and ctx.params is not None:
            await self._stop(_key(ctx, ctx.params.get("requestId")), str(ctx.params.get("reason") or ""))
        if ctx.method != "tools/call":
            return await call_next(ctx)
        key, request = _key(ctx, ctx.request_id), _Request()
        self._requests[key] = request
        try:
            answer = await call_next(ctx)
        except anyio.get_cancelled_exc_class():
            self._forget_oldest()
            raise  # and it stays noted: the SDK ends the request before it passes on the notification
        except BaseException:
            self._requests.pop(key, None)
            raise
        finally:
            request.settled.set()
        self._requests.pop(key, None)
        return answer

    async def _stop(self, key: _Key, reason: str) -> None:
        """Cancel the run that the request follows, or is about to follow, unless its client only timed out."""
        request = self._requests.get(key)
        if request is None:
            return
        with anyio.CancelScope(shield=True):  # the client may leave right after the notification
            await request.settled.wait()
            self._requests.pop(key, None)
            if request.run_id is not None and not any(word in reason.lower() for word in _IMPATIENT):
                await self._runner.cancel(request.run_id)

    def _forget_oldest(self) -> None:
        if len(self._requests) > _MOST_LEFT:
            del self._requests[next(iter(self._requests))]


def _key(ctx: ServerRequestContext[Any, Any], request_id: object) -> _Key:
    """The key of a request: its id and its caller's connection, which is stdio, a session, or the request alone."""
    http = ctx.request
    if http is None:
        return None, None, str(request_id)
    session = http.headers.get("mcp-session-id") or http.query_params.get("session_id") or f"request {id(http)}"
    return current_caller(), session, str(request_id)
