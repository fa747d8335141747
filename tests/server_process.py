"""The real server in a process of its own, and the SDK's client connected to it."""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mcp import Client, StdioServerParameters, stdio_client
from mcp_types import CallToolResult


@asynccontextmanager
async def connected(
    mode: str, errlog: Path, *arguments: str, command: str | None = None, **environment: str
) -> AsyncIterator[Client]:
    """A client of `python -m consortium_mcp`, started with this process's environment and more.

    Args:
        mode: `auto` negotiates the newest revision, `legacy` the handshake of 2025-11-25.
        errlog: where the server's stderr goes.
        command: an installed command to start instead.
    """
    arguments = arguments if command else ("-m", "consortium_mcp", *arguments)
    server = StdioServerParameters(
        command=command or sys.executable, args=list(arguments), env={**os.environ, **environment}
    )
    with errlog.open("w") as log:
        async with Client(stdio_client(server, errlog=log), mode=mode) as client:
            yield client


def said(result: CallToolResult) -> str:
    """The text of a tool's result."""
    return "".join(getattr(block, "text", "") for block in result.content)


def structured(result: CallToolResult) -> dict[str, Any]:
    """The structured content of a result that is no error."""
    assert not result.is_error, said(result)
    assert result.structured_content is not None
    return dict(result.structured_content)


async def read(client: Client, uri: str) -> str:
    """The text of a resource."""
    return "".join(getattr(content, "text", "") for content in (await client.read_resource(uri)).contents)
