"""The programs in which people work with MCP servers: where each keeps its servers, and how an entry looks there."""
