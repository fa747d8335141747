"""The plugin for llm; it knows no MCP."""

# No imports here: every `llm` command imports this module.
