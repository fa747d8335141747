"""The plugin for llm; this file stays empty, because every `llm` command imports it, and it knows no MCP."""
