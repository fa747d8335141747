"""The plugin for llm. It stays empty: every `llm` command imports it."""
