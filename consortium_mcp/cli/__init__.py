"""The command line: answers go to stdout, everything else to stderr; it knows neither SQL nor how a model is called."""

from consortium_mcp.cli.groups import llm_group, main

__all__ = ["llm_group", "main"]
