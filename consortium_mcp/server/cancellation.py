"""Which run a request follows, so that a user's stop stops the run and a client's impatience does not."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext

from consortium_mcp.runner import Runner

# What clients send when their own clock ran out: the TypeScript SDK "McpError: MCP error -32001: Request timed out".
_IMPATIENT = ("timed out", "timeout", "-32001")

_SESSION_HEADER = "mcp-session-id"


class Cancellations:
    """Middleware that cancels the run when its caller's user cancelled the request."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._followed: dict[tuple[str | None, str], str] = {}

    @contextmanager
    def following(self, ctx: ServerRequestContext[Any, Any], run_id: str) -> Iterator[None]:
        """Note that a request follows a run; kept when it is cancelled, for the notification that comes then."""
        key = _key(ctx, ctx.request_id)
        self._followed[key] = run_id
        try:
            yield
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException:
            del self._followed[key]
            raise
        del self._followed[key]

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """The SDK has ended the request already when the notification arrives; the run is ours to end."""
        if ctx.method == "notifications/cancelled" and ctx.params is not None:
            run_id = self._followed.pop(_key(ctx, ctx.params.get("requestId")), None)
            reason = str(ctx.params.get("reason") or "").lower()
            if run_id is not None and not any(word in reason for word in _IMPATIENT):
                await self._runner.cancel(run_id)
        return await call_next(ctx)


def _key(ctx: ServerRequestContext[Any, Any], request_id: object) -> tuple[str | None, str]:
    headers = getattr(ctx.request, "headers", None)
    return (headers.get(_SESSION_HEADER) if headers is not None else None, str(request_id))
