"""A run that continues an earlier one's conversation, through a connected client."""

from collections.abc import AsyncIterator

import pytest
from mcp import Client

from consortium_mcp.server import build_server
from consortium_mcp.service.runner import Runner
from consortium_mcp.service.service import ConsortiumService
from tests.consulted import said_before
from tests.provider import Fault, Provider, verdict
from tests.server_process import said, structured

pytestmark = pytest.mark.anyio

FIRST = {"prompt": "Capital of France?", "models": ["a", "b"], "arbiter": "arbiter", "max_iterations": 1}


@pytest.fixture
async def client(provider: Provider, service: ConsortiumService) -> AsyncIterator[Client]:
    """A client of a server in this process."""
    async with Runner(service) as runner, Client(build_server(runner)) as client:
        yield client


async def test_members_and_arbiter_hear_what_was_said_before(client: Client, provider: Provider) -> None:
    provider.on("arbiter", [verdict("Paris"), verdict("Two million"), verdict("Rising")])
    first = structured(await client.call_tool("consult_consortium", FIRST))
    second = structured(
        await client.call_tool(
            "consult_consortium", {"prompt": "How many live there?", "follow_up_to": first["run_id"]}
        )
    )
    third = structured(
        await client.call_tool("consult_consortium", {"prompt": "Since when?", "follow_up_to": second["run_id"]})
    )

    assert third["answer"] == "Rising"
    for model in ("a", "b", "arbiter"):
        assert said_before(provider.requests_to(model)[-1]) == [
            "Capital of France?",
            "Paris",
            "How many live there?",
            "Two million",
        ]


async def test_a_follow_up_asks_the_same_consortium_unless_another_is_named(client: Client, provider: Provider) -> None:
    await client.call_tool("save_consortium", {"name": "panel", "models": ["a:2"], "arbiter": "arbiter"})
    first = structured(
        await client.call_tool("consult_consortium", {"prompt": "One?", "consortium": "panel", "max_iterations": 1})
    )
    follow = {"prompt": "Two?", "follow_up_to": first["run_id"]}
    same = structured(await client.call_tool("consult_consortium", follow))
    other = structured(await client.call_tool("consult_consortium", {**follow, "models": ["b"], "arbiter": "arbiter"}))
    listed = structured(await client.call_tool("list_runs", {"consortium": "panel"}))

    assert [one["label"] for one in same["responses"]] == ["a#1", "a#2"]
    assert [one["label"] for one in other["responses"]] == ["b#1"]
    assert [run["run_id"] for run in listed["runs"]] == [same["run_id"], first["run_id"]]


async def test_a_run_without_an_answer_cannot_be_followed_up(client: Client, provider: Provider) -> None:
    provider.on("a", Fault.wrong_key())
    await client.call_tool("consult_consortium", {**FIRST, "models": ["a"]})
    failed = structured(await client.call_tool("list_runs", {}))["runs"][0]["run_id"]
    before = provider.count()
    refused = await client.call_tool("consult_consortium", {"prompt": "And?", "follow_up_to": failed})
    unknown = await client.call_tool("consult_consortium", {"prompt": "And?", "follow_up_to": "nothing"})

    assert said(refused).startswith(f"The run {failed} is failed and has no answer to follow up. Call list_runs")
    assert said(unknown).startswith("No run 'nothing'. Newest runs:")
    assert provider.count() == before
