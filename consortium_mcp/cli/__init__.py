"""The command line: the answer goes to stdout, everything else to stderr."""

from consortium_mcp.cli.groups import llm_group, main

__all__ = ["llm_group", "main"]
