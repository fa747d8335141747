"""Serving over stdio: the way in which Claude Desktop, editors and most clients start a server."""

import signal
from contextlib import suppress

import anyio
import anyio.to_thread

from consortium_mcp.consultancy import Consultancy
from consortium_mcp.event_loop import run
from consortium_mcp.runner import Runner
from consortium_mcp.server.app import build_server
from consortium_mcp.server.exit import end_now, end_soon
from consortium_mcp.settings import Settings


def serve_stdio(settings: Settings) -> None:
    """Serve until stdin is closed or a signal comes. Raises StoreUnusable before the first answer."""
    with Consultancy(settings) as consultancy:
        run(_serve, consultancy)


async def _serve(consultancy: Consultancy) -> None:
    async with Runner(consultancy) as runner, anyio.create_task_group() as group:
        group.start_soon(_end_on_signal, runner)
        if consultancy.settings.resume == "auto":
            await runner.recover()
        try:
            await build_server(runner).run_stdio_async()
        except* BrokenPipeError:
            pass  # the client left in the middle of an answer
        end_soon(0)
        group.cancel_scope.cancel()


async def _end_on_signal(runner: Runner) -> None:
    """Close what runs and leave; the SDK's reader of stdin would wait for a line that may never come."""
    with suppress(NotImplementedError), anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for number in signals:
            end_soon(128 + number)
            await runner.stop()
            await anyio.to_thread.run_sync(runner.consultancy.close)
            end_now(128 + number)
