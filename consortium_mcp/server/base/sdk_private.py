"""Access to the SDK's lowlevel server, for requests that MCPServer has no public API for.

Its migration guide names this way, `_lowlevel_server.add_request_handler`, until there is a public one.
"""

from collections.abc import Container
from typing import Any

from mcp.server import Server
from mcp.server.connection import Connection
from mcp.server.context import ServerRequestContext
from mcp.server.mcpserver import MCPServer


def lowlevel(server: MCPServer[Any]) -> Server[Any]:
    """The lowlevel server."""
    return server._lowlevel_server


def connection_of(ctx: ServerRequestContext[Any, Any]) -> Connection:
    """The connection of a message; its `exit_stack` is unwound when the connection closes."""
    return ctx.session._connection


def open_sessions(server: MCPServer[Any]) -> Container[str]:
    """The ids of the open sessions over Streamable HTTP."""
    return server.session_manager._server_instances
