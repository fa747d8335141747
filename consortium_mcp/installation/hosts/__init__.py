"""The known hosts of MCP servers: where each stores its servers, and the format of an entry."""
