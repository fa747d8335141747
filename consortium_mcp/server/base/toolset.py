"""The tools of a server by its settings: all or named ones, read-only ones, without output schemas."""

import json
from functools import cache
from importlib import resources

from mcp_types import Tool

from consortium_mcp.errors import ConsortiumError
from consortium_mcp.settings import Settings

TOOLS_FILE = "tools.json"
"""The file with the tools' descriptions, in the parent package: clients read it before the tools are imported."""

ALSO_READS = "get_run"
"""The tool that resumes interrupted runs, and only reads on a read-only server."""


def offered_tools(settings: Settings) -> dict[str, Tool]:
    """The tools that clients see and can call, by name. Raises ConsortiumError for an unknown name."""
    tools = described_tools()
    if unknown := [name for name in settings.tools if name not in tools]:
        raise ConsortiumError(f"There is no tool {unknown[0]!r} for --tools. The tools: {', '.join(tools)}.")
    return {
        name: _as_offered(tool, settings)
        for name, tool in tools.items()
        if name in (settings.tools or tools) and (not settings.read_only or _reads(tool))
    }


@cache
def described_tools() -> dict[str, Tool]:
    """Every tool in our file, by name."""
    text = resources.files("consortium_mcp.server").joinpath(TOOLS_FILE).read_text(encoding="utf-8")
    return {tool.name: tool for tool in map(Tool.model_validate, json.loads(text))}


def _reads(tool: Tool) -> bool:
    return tool.name == ALSO_READS or bool(tool.annotations and tool.annotations.read_only_hint)


def _as_offered(tool: Tool, settings: Settings) -> Tool:
    changed: dict[str, object] = {} if settings.output_schemas else {"output_schema": None}
    if settings.read_only and tool.annotations:
        hints = {"read_only_hint": True, "open_world_hint": False}
        changed["annotations"] = tool.annotations.model_copy(update=hints)
    return tool.model_copy(update=changed)
