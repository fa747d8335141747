"""The MCP server: tools, resources, life cycle."""

from consortium_mcp.server.app import build_server
from consortium_mcp.server.http import serve_http
from consortium_mcp.server.stdio import serve_stdio

__all__ = ["build_server", "serve_http", "serve_stdio"]
