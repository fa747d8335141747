"""A server whose database cannot be opened: every call returns the error, and tries to open it again."""

from typing import Any

import anyio
import anyio.to_thread
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from consortium_mcp.errors import StoreUnusableError
from consortium_mcp.server.base.mcp_server import failed_call
from consortium_mcp.server.deferred_startup import needs_the_rest
from consortium_mcp.service.service import ConsortiumService
from consortium_mcp.settings import Settings

AGAIN = "The database can be used again. Send the same call again."
"""The answer to the call that found the database usable; the whole server answers the next one."""


class Reopening:
    """Middleware that answers in place of the parts that need the database, until it can be opened."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._opening = anyio.Lock()
        self.opened = anyio.Event()
        """Set as soon as the service is open."""
        self.service: ConsortiumService | None = None
        """The open service; None until then."""

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Pass on a request that does not need the database; others get the reason why it cannot be opened."""
        if not needs_the_rest(ctx.method):
            return await call_next(ctx)
        reason = await self._open() or AGAIN
        if ctx.method == "tools/call":
            return failed_call(reason)
        raise MCPError(INTERNAL_ERROR, reason)

    async def _open(self) -> str | None:
        """Try to open the service; returns why that failed."""
        async with self._opening:
            if self.service is None:
                try:
                    self.service = await anyio.to_thread.run_sync(ConsortiumService, self._settings)
                except StoreUnusableError as error:
                    return str(error)
                self.opened.set()
        return None


async def not_ready(request: Request) -> Response:
    """503 with the reason; it names no path, because it needs no token."""
    why = "the database cannot be opened; the log has the reason"
    return JSONResponse({"ready": False, "why": why}, 503)
