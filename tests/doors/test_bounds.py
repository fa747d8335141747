"""One caller's request delays no other: every text is checked against its limit before it is used."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError
from mcp_types import PromptReference

from consortium_mcp.server.base.bounds import DEEPEST, LISTED, LISTS, LONG, SHORT
from consortium_mcp.service.service import ConsortiumService
from tests.doors.test_threats import cheap, needed, text_fields
from tests.in_process import in_process
from tests.provider import Provider
from tests.server_process import said

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]

LONGEST = 200_000
"""Characters of a prompt, unless set otherwise."""


ATTACHED = 3_000
"""Bytes of attachments, as set here: 4,000 characters in base64."""


def longest(field: str) -> int:
    """How many characters a field may have."""
    if field == "attachments":
        return LISTED + ATTACHED * 4 // 3
    return LONGEST if field in LONG else LISTED if field in LISTS else SHORT


def filled(schema: dict[str, Any], characters: int) -> Any:
    """A value of a field's kind with so many characters."""
    kinds = json.dumps(schema)
    if '"array"' in kinds:
        return ["x" * characters]
    return {"x": "x" * characters} if '"object"' in kinds else "x" * characters


async def test_every_text_of_every_tool_is_bounded(
    provider: Provider, open_service: Callable[..., ConsortiumService]
) -> None:
    refused, fields = set(), set()
    async with in_process("auto", open_service(max_attachment_bytes=ATTACHED)) as client:
        for tool in (await client.list_tools()).tools:
            for field in text_fields(tool.input_schema) + fields_of_objects(tool.input_schema):
                value = filled(tool.input_schema["properties"][field], longest(field) + 1)
                arguments = {**needed(tool.name, "01m0"), field: value, **cheap(tool.name)}
                result = await client.call_tool(tool.name, arguments)
                fields.add((tool.name, field))
                if result.is_error and f"{longest(field)} are allowed" in said(result):
                    refused.add((tool.name, field))

    assert len(fields) > 40 and refused == fields and not provider.requests


def fields_of_objects(schema: dict[str, Any]) -> list[str]:
    """The arguments that can be an object."""
    return [name for name, field in schema["properties"].items() if '"object"' in json.dumps(field)]


async def test_every_text_of_every_prompt_is_bounded(service: ConsortiumService) -> None:
    async with in_process("auto", service) as client:
        for prompt in (await client.list_prompts()).prompts:
            for argument in prompt.arguments or []:
                given = {one.name: "?" for one in prompt.arguments or [] if one.required}
                with pytest.raises(MCPError, match=f"{longest(argument.name)} are allowed"):
                    await client.get_prompt(prompt.name, {**given, argument.name: "x" * (longest(argument.name) + 1)})


async def test_completions_uris_cursors_and_names_are_bounded(service: ConsortiumService) -> None:
    long, reference = "x" * (SHORT + 1), PromptReference(name="decide")
    async with in_process("legacy", service) as client:
        requests = (
            client.complete(reference, {"name": "consortium", "value": long}),
            client.complete(reference, {"name": "consortium", "value": "a"}, context_arguments={"decision": long}),
            client.complete(PromptReference(name=long), {"name": "consortium", "value": "a"}),
            client.read_resource(f"consortium://runs/{long}"),
            client.subscribe_resource(f"consortium://runs/{long}"),
            client.list_resources(cursor=long),
            client.list_tools(cursor=long),
            client.get_prompt(long),
        )
        for request in requests:
            with pytest.raises(MCPError, match=f"{SHORT} are allowed"):
                await request
        called = await client.call_tool(long, {})
        named = await client.call_tool("list_runs", {long: 1})

    assert "are allowed" in said(called) and "are allowed" in said(named)


async def test_what_is_nested_without_end_is_refused(service: ConsortiumService) -> None:
    schema: dict[str, Any] = {}
    for _ in range(DEEPEST + 1):
        schema = {"a": schema}
    async with in_process("auto", service) as client:
        result = await client.call_tool("consult_consortium", {"prompt": "?", "output_schema": schema, "dry_run": True})

    assert said(result) == f"The output schema is nested more than {DEEPEST} deep. Flatten it."
