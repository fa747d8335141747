"""The MCP SDK's server as we need it. It knows no consortium."""
