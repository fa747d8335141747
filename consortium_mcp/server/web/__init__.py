"""Pages for a person in a browser: history, live runs, statistics; they know neither SQL nor MCP."""
