"""An MCPServer that refuses mistyped arguments with a suggestion and says errors in one sentence."""

import difflib
from typing import Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import CallToolResult, InputRequiredResult, TextContent, Tool
from pydantic import ValidationError

from consortium_mcp.errors import ConsortiumError
from consortium_mcp.server.sampling import InputNeeded


class StrictServer(MCPServer[Any]):
    """The SDK ignores unknown arguments and puts its own words before a tool's error; here neither happens."""

    async def list_tools(self) -> list[Tool]:
        """The tools, their input schemas closed to further properties."""
        return [
            tool.model_copy(update={"input_schema": {**tool.input_schema, "additionalProperties": False}})
            for tool in await super().list_tools()
        ]

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[Any, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        """Call a tool; every failure that somebody foresaw is a result with one sentence for the model."""
        tools = {tool.name: tool for tool in await super().list_tools()}
        tool = tools.get(name)
        if tool is None:
            return _error(f"There is no tool {name!r}.{_suggestion(name, list(tools))}")
        known = tool.input_schema.get("properties", {})
        for argument in arguments:
            if argument not in known:
                return _error(
                    f"{name} has no argument {argument!r}.{_suggestion(argument, list(known))} "
                    f"Its arguments: {', '.join(known)}."
                )
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as error:
            if isinstance(error.__cause__, ValidationError):
                return _error(_invalid(name, error.__cause__))
            if isinstance(error.__cause__, InputNeeded):
                return error.__cause__.result
            if isinstance(error.__cause__, ConsortiumError | ToolError):
                return _error(str(error.__cause__))
            raise


def _error(sentence: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=sentence)], is_error=True)


def _suggestion(given: str, known: list[str]) -> str:
    close = difflib.get_close_matches(given, known, n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else ""


def _invalid(name: str, error: ValidationError) -> str:
    """Which argument breaks which rule; the first one is enough to go on."""
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"])
    given = "" if problem["type"] == "missing" else f" is {str(problem['input'])[:80]!r}"
    return f"{name}: the argument {where!r}{given}: {problem['msg']}."
