"""Our additions to the MCP SDK's server: strict arguments, short schemas, size limits, cursors; it knows no run."""
