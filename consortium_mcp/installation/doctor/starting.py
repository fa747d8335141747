"""Starts an entry as its client does, until the server has listed its tools."""

import tempfile
from collections.abc import Iterator
from typing import TextIO

import anyio
from mcp import Client, StdioServerParameters, stdio_client

from consortium_mcp.installation.hosts.entries import Launch

START_SECONDS = 60
"""The time limit for a start: uvx may first have to install everything."""


def count_tools(launch: Launch) -> int | str:
    """The number of tools that the entry's server lists, or why it lists none, in a few words."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
        try:
            return anyio.run(_list_tools, launch, said)
        except TimeoutError:
            return f"it does not answer within {START_SECONDS} seconds"
        except Exception as error:  # errors of any program that is no server, and the SDK's errors about it
            said.seek(0)
            lines = said.read().strip().splitlines()
            return lines[-1] if lines else str(next(_causes(error)))


async def _list_tools(launch: Launch, said: TextIO) -> int:
    server = StdioServerParameters(
        command=launch.command, args=list(launch.arguments), env=dict(launch.variables) or None
    )
    with anyio.fail_after(START_SECONDS):
        async with Client(stdio_client(server, errlog=said)) as client:
            return len((await client.list_tools()).tools)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The errors in an exception group."""
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _causes(one)
    else:
        yield error
