"""The MCP SDK's server with our additions: strict arguments, short schemas, sizes, cursors; it knows no run."""
