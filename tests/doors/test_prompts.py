"""The prompts as slash commands, and the error for a missing one, in either protocol era."""

from collections.abc import AsyncIterator

import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS

from consortium_mcp.service.service import ConsortiumService
from tests.in_process import in_process

pytestmark = pytest.mark.anyio

FILLED = [
    ("second_opinion", {"question": "Is P equal to NP?"}),
    ("second_opinion", {"question": "Is P equal to NP?", "own_answer": "No."}),
    ("decide", {"decision": "Which database?", "options": "SQLite, Postgres", "criteria": "cost"}),
    ("decide", {"decision": "Which database?"}),
    ("review", {"subject": "def f(): return $x", "focus": "security"}),
    ("review", {"subject": "def f(): return $x"}),
]


@pytest.fixture(params=["auto", "legacy"])
async def client(request: pytest.FixtureRequest, service: ConsortiumService) -> AsyncIterator[Client]:
    """A client of either era."""
    async with in_process(request.param, service) as client:
        yield client


async def text_of(client: Client, name: str, arguments: dict[str, str]) -> str:
    """What a prompt says to the model."""
    (message,) = (await client.get_prompt(name, arguments)).messages
    assert message.role == "user"
    return str(getattr(message.content, "text", ""))


async def test_every_prompt_and_argument_is_described(client: Client) -> None:
    prompts = (await client.list_prompts()).prompts

    assert [prompt.name for prompt in prompts] == ["second_opinion", "decide", "review"]
    for prompt in prompts:
        assert prompt.title and prompt.description and prompt.arguments
        assert all(argument.description for argument in prompt.arguments)
        assert [argument.required for argument in prompt.arguments].count(True) == 1


@pytest.mark.parametrize(("name", "arguments"), FILLED)
async def test_a_prompt_holds_what_it_was_given_and_leads_to_the_tools(
    name: str, arguments: dict[str, str], client: Client
) -> None:
    text = await text_of(client, name, arguments)
    tools = {tool.name for tool in (await client.list_tools()).tools}

    assert all(value in text for value in arguments.values())
    assert {"consult_consortium", "get_run"} <= tools and "consult_consortium" in text and "get_run" in text
    assert "None" not in text


async def test_a_prompt_names_the_consortium_that_it_was_given(client: Client) -> None:
    named = await text_of(client, "decide", {"decision": "Which?", "consortium": "panel"})
    unnamed = await text_of(client, "decide", {"decision": "Which?"})

    assert 'consortium="panel"' in named and "default" in unnamed


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("decde", {"decision": "?"}, "Unknown prompt 'decde'. Did you mean 'decide'?"),
        ("decide", {}, "The prompt decide needs decision."),
        ("decide", {"decision": ""}, "The prompt decide needs decision."),
        ("decide", {"decision": "?", "option": "a"}, "decide has no argument 'option'. Did you mean 'options'?"),
    ],
)
async def test_a_wrong_prompt_or_argument_is_the_requests_fault(
    name: str, arguments: dict[str, str], message: str, client: Client
) -> None:
    with pytest.raises(MCPError) as raised:
        await client.get_prompt(name, arguments)

    assert (raised.value.error.code, raised.value.error.message) == (INVALID_PARAMS, message)


async def test_an_unknown_tool_is_the_requests_fault(client: Client) -> None:
    with pytest.raises(MCPError) as raised:
        await client.call_tool("consult_consortum", {"prompt": "?"})

    assert raised.value.error.code == INVALID_PARAMS
    assert raised.value.error.message == "Unknown tool 'consult_consortum'. Did you mean 'consult_consortium'?"


async def test_the_server_says_who_it_is_and_how_to_use_it(client: Client) -> None:
    server = client.server_info

    assert server and server.title and server.description and server.version and server.website_url
    assert server.icons and server.icons[0].src.startswith("data:image/svg+xml,%3Csvg")
    for word in ("get_run", "dry_run", "max_cost_usd", "Do not consult"):
        assert word in (client.instructions or "")
