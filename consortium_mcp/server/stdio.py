"""Serves over stdio, as Claude Desktop, editors and most clients start a server."""

import signal
from contextlib import suppress

import anyio
import anyio.to_thread

from consortium_mcp._util.event_loop import run
from consortium_mcp.errors import Door, speaking_at
from consortium_mcp.server.base.choices import SchemaChoices
from consortium_mcp.server.base.toolset import offered_tools
from consortium_mcp.server.deferred_startup import Later
from consortium_mcp.server.handshake import Front
from consortium_mcp.server.resources.listeners import Listeners
from consortium_mcp.server.shutdown import end_now, end_soon
from consortium_mcp.settings import Settings
from consortium_mcp.store.database import DatabaseFile
from consortium_mcp.store.names import SavedNames


def serve_stdio(settings: Settings) -> None:
    """Serve until stdin is closed or a signal arrives.

    Raises:
        ConsortiumError: the database cannot be opened, or a tool name is unknown.
    """
    offered_tools(settings)  # a wrong name is reported before anything is opened
    database = DatabaseFile(settings.database_path, settings.shared)
    try:
        with speaking_at(Door.TOOLS):
            run(_serve, settings, SavedNames(database))
    finally:
        database.close()


async def _serve(settings: Settings, saved: SavedNames) -> None:
    later = Later(settings)
    menu = SchemaChoices(saved.list_names.sync, settings)
    front = Front(menu, Listeners(), [later], settings)
    async with anyio.create_task_group() as group:
        group.start_soon(_end_on_signal, later)
        group.start_soon(later.work, front)
        try:
            await front.server.run_stdio_async()
        except* BrokenPipeError:
            pass  # the client left in the middle of an answer
        end_soon(0)
        group.cancel_scope.cancel()


async def _end_on_signal(later: Later) -> None:
    """Close the runs and end the process; the SDK's reader of stdin would wait for a line that may never arrive."""
    with suppress(NotImplementedError), anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for number in signals:
            end_soon(128 + number)
            if later.runner is not None:
                await later.runner.stop()
                await anyio.to_thread.run_sync(later.runner.service.close)
            end_now(128 + number)
