"""Builds, starts and stops the MCP server; it does not know how a run works."""

from typing import TYPE_CHECKING

from consortium_mcp._util.lazy import lazy_names

if TYPE_CHECKING:
    from consortium_mcp.server.app import build_server
    from consortium_mcp.server.network.http import serve_http
    from consortium_mcp.server.network.pages import serve_pages
    from consortium_mcp.server.stdio import serve_stdio

__all__ = ["build_server", "serve_http", "serve_pages", "serve_stdio"]

_HOMES = {  # imported when one of their names is first used, because a server uses one transport only
    "app": ("build_server",),
    "network.http": ("serve_http",),
    "stdio": ("serve_stdio",),
    "network.pages": ("serve_pages",),
}

__getattr__ = lazy_names(__name__, _HOMES)
