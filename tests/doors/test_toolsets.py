"""A server with some of its tools, one that only reads, and one without output schemas."""

from collections.abc import Callable

import pytest
from mcp.shared.exceptions import MCPError

from consortium_mcp.errors import ConsortiumError
from consortium_mcp.server.base.toolset import described_tools, offered_tools
from consortium_mcp.service.service import ConsortiumService
from consortium_mcp.settings import load_settings
from tests.consulted import consulted, interrupt
from tests.in_process import in_process
from tests.provider import Provider, verdict
from tests.server_process import structured

Open = Callable[..., ConsortiumService]


async def test_only_the_named_tools_are_listed_and_can_be_called(provider: Provider, open_service: Open) -> None:
    async with in_process("auto", open_service(tools="get_run, consult_consortium")) as client:
        listed = [tool.name for tool in (await client.list_tools()).tools]
        with pytest.raises(MCPError, match="'list_runs'"):
            await client.call_tool("list_runs", {})

    assert listed == ["consult_consortium", "get_run"]


async def test_a_read_only_server_offers_what_reads_and_continues_no_run(
    provider: Provider, service: ConsortiumService, open_service: Open
) -> None:
    provider.on("arbiter", verdict("Paris"))
    run = await consulted(service, "a")
    interrupt(service, run)
    asked = provider.count()
    async with in_process("auto", open_service(read_only=True)) as client:
        tools = (await client.list_tools()).tools
        result = await client.call_tool("get_run", {"run_id": run.run_id})
        with pytest.raises(MCPError, match="'consult_consortium'"):
            await client.call_tool("consult_consortium", {"prompt": "?"})

    assert [one.name for one in tools] == ["get_run", "list_runs", "list_consortiums", "list_models"]
    assert all(one.annotations and one.annotations.read_only_hint for one in tools)
    assert result.structured_content and result.structured_content["status"] == "interrupted"
    assert provider.count() == asked


async def test_output_schemas_can_be_left_out(provider: Provider, open_service: Open) -> None:
    async with in_process("auto", open_service(output_schemas=False)) as client:
        tools = (await client.list_tools()).tools
        listed = structured(await client.call_tool("list_models", {}))

    assert len(tools) == len(described_tools()) and not any(one.output_schema for one in tools)
    assert listed["models"]


def test_a_tool_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(ConsortiumError, match=r"no tool 'consult' for --tools. The tools: consult_consortium, "):
        offered_tools(load_settings({}, tools="consult"))
