"""An MCPServer that refuses mistyped arguments with a suggestion, and reports errors in one sentence."""

import difflib
import inspect
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from mcp.server import NotificationOptions
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, CallToolResult, GetPromptResult, InputRequiredResult, TextContent, Tool
from pydantic import ValidationError

from consortium_mcp.errors import ConsortiumError
from consortium_mcp.server.base.arguments import read_arguments
from consortium_mcp.server.base.choices import SchemaChoices
from consortium_mcp.server.base.result_size import TEXT_TOKENS, shortened
from consortium_mcp.server.base.tool_schemas import input_schema, output_schema, with_choices
from consortium_mcp.text.masking import masked
from consortium_mcp.text.templates import plain

_COMMAND = re.compile(r"[`'](?:consortium-mcp|llm|pip) ")
"""The form of a command in a sentence."""

LIMIT = "consortium-mcp/limit"
"""The name in a result's `_meta` of the limit that refused the call."""


class InputNeeded(Exception):
    """The request needs answers from the client, which sends the request again with them."""

    def __init__(self, result: InputRequiredResult) -> None:
        super().__init__("input needed")
        self.result = result


class StrictServer(MCPServer[Any]):
    """The SDK's server with two changes: it refuses unknown arguments, and adds no words to a tool's error."""

    def __init__(self, name: str, *, menu: SchemaChoices, offered: Mapping[str, Tool], **options: Any) -> None:
        """Create a server without tools.

        Args:
            menu: the choices for the schemas of arguments, computed for each tools/list.
            offered: the tools that clients see and can call, by name.
            options: options of the SDK's server.
        """
        super().__init__(name, **options)
        self.menu = menu
        self._offered = offered
        # The SDK cannot notify clients of 2025-11-25 of changed lists.
        announced = NotificationOptions(tools_changed=True, resources_changed=True)
        lowlevel: Any = self._lowlevel_server
        lowlevel.create_initialization_options = partial(lowlevel.create_initialization_options, announced)

    async def list_tools(self) -> list[Tool]:
        """The tools as described in our file, with the current choices."""
        choices = await self.menu.choices()
        return [
            tool.model_copy(update={"input_schema": with_choices(tool.input_schema, choices.get(tool.name, {}))})
            for tool in self._offered.values()
        ]

    async def describe_tools(self) -> list[dict[str, Any]]:
        """The tools in their shortest description, as JSON: the required content of our file."""
        await self.menu.look_up()
        rules = self.menu.rules()
        # A consortium's fields are those of save_consortium; a result's text explains the others.
        spelled_out = {"Consortium", "Estimate", "Trust", "Measures", "Claim", "Finding"}
        short = [
            tool.model_copy(
                update={
                    "description": inspect.cleandoc(tool.description or ""),
                    "input_schema": with_choices(input_schema(tool.input_schema), rules.get(tool.name, {})),
                    "output_schema": output_schema(tool.output_schema or {}, spelled_out),
                }
            )
            for tool in await super().list_tools()
        ]
        return [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in short]

    def tool_names(self) -> list[str]:
        """The names of the callable tools."""
        return list(self._offered)

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[Any, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        """Call a tool; every expected failure is a result with one sentence for the model."""
        tool = self._offered.get(name)
        if tool is None:
            raise MCPError(INVALID_PARAMS, f"Unknown tool {_quoted(name)}.{_suggestion(name, self.tool_names())}")
        known = tool.input_schema.get("properties", {})
        arguments = read_arguments(arguments, tool.input_schema)
        for argument in arguments:
            if argument not in known:
                return failed_call(
                    f"{name} has no argument {_quoted(argument)}.{_suggestion(argument, list(known))} "
                    f"Its arguments: {', '.join(known)}."
                )
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as error:
            if isinstance(error.__cause__, ValidationError):
                return failed_call(_invalid(name, error.__cause__))
            if isinstance(error.__cause__, InputNeeded):
                return error.__cause__.result
            if isinstance(error.__cause__, ConsortiumError | ToolError):
                return failed_call(str(error.__cause__), getattr(error.__cause__, "limit", None))
            if isinstance(error, UnexpectedToolError):  # the SDK has logged its cause
                raise UnexpectedToolError(f"{name} failed inside the server; the log on stderr says why.") from error
            raise

    async def get_prompt(
        self, name: str, arguments: dict[str, Any] | None = None, context: Context[Any, Any] | None = None
    ) -> GetPromptResult | InputRequiredResult:
        """Fill in a prompt; a wrong name or argument is an error of the request, in both protocol eras."""
        prompts = {prompt.name: prompt for prompt in await super().list_prompts()}
        if name not in prompts:
            raise MCPError(INVALID_PARAMS, f"Unknown prompt {_quoted(name)}.{_suggestion(name, list(prompts))}")
        known = {argument.name: argument for argument in prompts[name].arguments or []}
        given = arguments or {}
        for argument in given:
            if argument not in known:
                suggestion = _suggestion(argument, list(known))
                raise MCPError(INVALID_PARAMS, f"{name} has no argument {_quoted(argument)}.{suggestion}")
        if missing := [one.name for one in known.values() if one.required and not given.get(one.name)]:
            raise MCPError(INVALID_PARAMS, f"The prompt {name} needs {' and '.join(missing)}.")
        return await super().get_prompt(name, arguments, context)


def _quoted(given: str) -> str:
    return repr(plain(given[:200])[:80])


def failed_call(sentence: str, limit: str | None = None) -> CallToolResult:
    """A failed call as one text for the model, which cannot run the commands that repair an installation.

    Args:
        limit: the setting of the caller's limit that is reached, for the audit; None for another failure.
    """
    if _COMMAND.search(sentence):
        sentence += " Commands are for the user to run."
    sentence = shortened(plain(masked(sentence)), TEXT_TOKENS)
    meta = {LIMIT: limit} if limit else None
    return CallToolResult(content=[TextContent(type="text", text=sentence)], is_error=True, _meta=meta)


def _suggestion(given: str, known: list[str]) -> str:
    close = difflib.get_close_matches(given[:200], known, n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else ""


def _invalid(name: str, error: ValidationError) -> str:
    """The first argument that breaks a rule, and the rule."""
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "missing":
        return f"{name}: the argument {where!r} is missing."
    rule = str(problem["msg"]).removeprefix("Value error, ")
    return f"{name}: the argument {where!r} is {str(problem['input'])[:80]!r}: {rule}."
