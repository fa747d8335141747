"""Serves over stdio, as Claude Desktop, editors and most clients start a server."""

import signal
from collections.abc import Callable, Sequence
from contextlib import suppress

import anyio
import anyio.to_thread
import click

from consortium_mcp._util.event_loop import run
from consortium_mcp.errors import Door, StoreUnusableError, speaking_at
from consortium_mcp.server.base.choices import SchemaChoices
from consortium_mcp.server.base.toolset import offered_tools
from consortium_mcp.server.deferred_startup import Later
from consortium_mcp.server.handshake import Front
from consortium_mcp.server.resources.listeners import Listeners
from consortium_mcp.server.shutdown import end_now, end_soon
from consortium_mcp.settings import Settings
from consortium_mcp.store.database import DatabaseFile
from consortium_mcp.store.names import SavedNames

HELLO_BUSY_SECONDS = 1.0
"""The longest wait of the first answer for a database that another process has locked."""


def serve_stdio(settings: Settings) -> None:
    """Serve until stdin is closed or a signal arrives.

    If the database cannot be opened, every tool call returns that error, and each call tries to open it again.

    Raises:
        ConsortiumError: a tool name is unknown.
    """
    offered_tools(settings)  # a wrong name is reported before anything is opened
    try:
        database = DatabaseFile(settings.database_path, settings.shared, busy_seconds=HELLO_BUSY_SECONDS)
    except StoreUnusableError as error:
        click.echo(f"Error: {error}", err=True)
        with speaking_at(Door.TOOLS):
            run(_serve, later := Later(settings, error), settings, list)
        if later.failure:
            raise SystemExit(1) from error
        return
    try:
        with speaking_at(Door.TOOLS):
            run(_serve, Later(settings), settings, SavedNames(database).list_names.sync)
    finally:
        database.close()


async def _serve(later: Later, settings: Settings, list_saved: Callable[[], Sequence[str]]) -> None:
    menu = SchemaChoices(list_saved, settings)
    front = Front(menu, Listeners(), [later], settings)
    async with anyio.create_task_group() as group:
        group.start_soon(_end_on_signal, later)
        group.start_soon(later.work, front)
        try:
            await front.server.run_stdio_async()
        except* BrokenPipeError:
            pass  # the client left in the middle of an answer
        end_soon(1 if later.failure else 0)
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
