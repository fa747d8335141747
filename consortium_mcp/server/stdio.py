"""Serving over stdio: the way in which Claude Desktop, editors and most clients start a server."""

import anyio
import anyio.to_thread

from consortium_mcp.consult import Consultancy
from consortium_mcp.runner import Runner
from consortium_mcp.server.app import build_server
from consortium_mcp.settings import Settings


def serve_stdio(settings: Settings) -> None:
    """Serve until stdin is closed. Raises StoreUnusable before the first answer."""
    with Consultancy(settings) as consultancy:
        anyio.run(_serve, consultancy)


async def _serve(consultancy: Consultancy) -> None:
    async with Runner(consultancy) as runner:
        await build_server(runner).run_stdio_async()
