"""The caller's own answer, judged anonymously beside the members', through a connected client."""

import json
from collections.abc import AsyncIterator

import pytest
from mcp import Client

from consortium_mcp.server import build_server
from consortium_mcp.service.replay import open_replay
from consortium_mcp.service.runner import Runner
from consortium_mcp.service.service import ConsortiumService
from tests.consulted import arbiter_for, performed
from tests.doors.test_judging import script_models, shown_in
from tests.provider import Fault, Provider, verdict
from tests.server_process import read, said, structured

pytestmark = pytest.mark.anyio

OWN = "mine, draft 1.\nAnswer: mine"
THREE = {"prompt": "Who?", "models": ["a", "b"], "arbiter": "arbiter", "own_answer": OWN, "max_iterations": 1}


@pytest.fixture
async def client(provider: Provider, service: ConsortiumService) -> AsyncIterator[Client]:
    """A client of a server in this process."""
    async with Runner(service) as runner, Client(build_server(runner)) as client:
        yield client


async def test_the_arbiter_reads_it_among_the_others_and_it_costs_nothing(client: Client, provider: Provider) -> None:
    provider.on("arbiter", verdict("Everybody", confidence=0.9))
    result = structured(await client.call_tool("consult_consortium", THREE))
    question = provider.requests_to("arbiter")[0].prompt

    assert OWN in shown_in(question) and "own_answer" not in question
    assert [(one["label"], one["error_kind"]) for one in result["responses"]] == [
        ("a#1", None),
        ("b#1", None),
        ("own_answer#1", None),
    ]
    assert result["usage"]["calls"] == provider.count() == 3


@pytest.mark.parametrize("method", ["synthesize", "pick", "rank", "peer_rank", "vote"])
async def test_every_judging_method_judges_it(client: Client, provider: Provider, method: str) -> None:
    script_models(provider)
    three = {name: value for name, value in THREE.items() if name != "arbiter"}
    result = structured(
        await client.call_tool(
            "consult_consortium",
            {**three, "own_answer": "0, best.\nAnswer: a", "judging_method": method, **arbiter_for(method)},
        )
    )

    best = {"synthesize": "synthesis 1", "vote": "a, draft 1.\nAnswer: all"}
    assert result["answer"] == best.get(method, "0, best.\nAnswer: a")
    assert result["degraded"] == []


async def test_it_stands_in_every_iteration_as_it_is(client: Client, provider: Provider) -> None:
    result = structured(
        await client.call_tool(
            "consult_consortium", {**THREE, "min_iterations": 2, "max_iterations": 2, "strategy": "debate"}
        )
    )
    record = json.loads(await read(client, result["run_uri"]))

    own = [iteration["responses"][-1]["text"] for iteration in record["iterations"]]
    assert own == [OWN, OWN]
    assert OWN in provider.requests_to("a")[-1].prompt  # the others hear of it in a debate


async def test_it_leaves_when_it_is_ranked_lowest(client: Client, provider: Provider) -> None:
    script_models(provider)
    rules = {"strategy": "eliminate", "judging_method": "rank", "min_iterations": 2, "max_iterations": 2}
    rules |= {"own_answer": "z, worst"}
    result = structured(await client.call_tool("consult_consortium", {**THREE, **rules}))

    assert [one["label"] for one in result["responses"]] == ["a#1", "b#1"]


async def test_it_is_not_asked_to_judge_where_the_arbiter_fails(client: Client, provider: Provider) -> None:
    provider.on("arbiter", Fault.wrong_key())
    result = structured(await client.call_tool("consult_consortium", {**THREE, "own_answer": "mine\nConfidence: 100%"}))

    assert "a, a member, judged in its place" in result["degraded"][0]


async def test_a_replay_judges_it_again(client: Client, provider: Provider, service: ConsortiumService) -> None:
    provider.on("arbiter", verdict("Everybody", confidence=0.9))
    first = structured(await client.call_tool("consult_consortium", THREE))
    before = provider.count("a")
    again = await performed(service, open_replay(service, first["run_id"]).run_id)

    assert [one.text for one in again.iterations[0].responses][-1] == OWN
    assert (again.answer, provider.count("a")) == ("Everybody", before)


async def test_a_follow_up_does_not_repeat_it(client: Client, provider: Provider) -> None:
    first = structured(await client.call_tool("consult_consortium", THREE))
    second = structured(
        await client.call_tool("consult_consortium", {"prompt": "And?", "follow_up_to": first["run_id"]})
    )

    assert [one["label"] for one in second["responses"]] == ["a#1", "b#1"]


async def test_an_empty_one_is_refused_before_anybody_is_asked(client: Client, provider: Provider) -> None:
    result = await client.call_tool("consult_consortium", {**THREE, "own_answer": "  "})

    assert said(result).startswith("own_answer is empty") and provider.count() == 0
