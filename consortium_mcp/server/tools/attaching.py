"""The attachments of a consult, read as far as its caller may: no path over the network, and on stdio below roots."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar
from mcp.server.mcpserver import Context, ListRoots, Resolve
from mcp_types import ListRootsResult

from consortium_mcp.records.request import ConsultRequest
from consortium_mcp.server.tools.confirming import gather_consult
from consortium_mcp.server.tools.sampling import follows_run
from consortium_mcp.service.attachments.access import FileAccess, access_on_stdio, access_over_network
from consortium_mcp.service.attachments.reading import folder_of, is_path, with_files_read
from consortium_mcp.service.runner import Runner
from consortium_mcp.settings import Settings

READ_AT_ONCE = 8
"""The number of requests whose files are read at the same time."""

_limiters: RunVar[anyio.CapacityLimiter] = RunVar("reading files")


def gather_with_files(runner: Runner) -> Callable[..., Awaitable[ConsultRequest]]:
    """The resolver of a consult's request with its attachments read, as far as this caller may read them."""
    settings = runner.service.settings

    async def find_roots(
        ctx: Context[Any, Any], request: Annotated[ConsultRequest, Resolve(gather_consult)]
    ) -> ListRoots | None:
        capabilities = ctx.client_capabilities
        names_roots = capabilities is not None and capabilities.roots is not None
        wanted = any(is_path(one) for one in request.attachments) and not follows_run(ctx)
        return ListRoots() if wanted and names_roots and _is_local(ctx, settings) else None

    async def read_request_files(
        ctx: Context[Any, Any],
        request: Annotated[ConsultRequest, Resolve(gather_consult)],
        roots: Annotated[ListRootsResult | None, Resolve(find_roots)],
    ) -> ConsultRequest:
        if not request.attachments or follows_run(ctx):
            return request
        access = _access(settings, roots) if _is_local(ctx, settings) else access_over_network(settings)
        return await anyio.to_thread.run_sync(with_files_read, request, access, limiter=_reading_limiter())

    return read_request_files


def _access(settings: Settings, roots: ListRootsResult | None) -> FileAccess:
    """The files that a client on stdio may attach.

    Args:
        roots: the folders that the client names; None if it names none.
    """
    return access_on_stdio(
        settings, [folder_of(str(one.uri)) for one in roots.roots] if roots and roots.roots else None
    )


def _reading_limiter() -> anyio.CapacityLimiter:
    """A limit of its own for reading files, so that a slow server of a URL delays nothing else."""
    limiter = _limiters.get(None) or anyio.CapacityLimiter(READ_AT_ONCE)
    _limiters.set(limiter)
    return limiter


def _is_local(ctx: Context[Any, Any], settings: Settings) -> bool:
    """Whether the caller is a program on this machine that started the server."""
    return settings.transport == ("stdio",) and ctx.request_context.request is None
