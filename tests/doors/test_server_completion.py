"""Completion of template arguments, asked by connected clients of both protocol eras."""

from collections.abc import AsyncIterator

import pytest
from mcp import Client
from mcp_types import PromptReference, ResourceTemplateReference

from consortium_mcp.records import Run
from consortium_mcp.records.consortium import Consortium, Member
from consortium_mcp.server import build_server
from consortium_mcp.server.resources.completion import MOST, completion
from consortium_mcp.service.runner import Runner
from consortium_mcp.service.service import ConsortiumService
from tests.consulted import consulted
from tests.history import copy_id, copy_run
from tests.provider import Provider, verdict

RUN = "consortium://runs/{run_id}"
RESPONSE = f"{RUN}/responses/{{response_id}}"


@pytest.fixture(params=["auto", "legacy"])
async def client(request: pytest.FixtureRequest, service: ConsortiumService) -> AsyncIterator[Client]:
    """A client of either era, connected to a server in this process."""
    async with Runner(service) as runner, Client(build_server(runner), mode=request.param) as client:
        yield client


@pytest.fixture
async def run(service: ConsortiumService, provider: Provider) -> Run:
    """A run of two iterations with three instances."""
    provider.on("arbiter", verdict(confidence=0.1, needs_iteration=True))
    return await consulted(service, "a:2", "b", max_iterations=2)


async def values(client: Client, template: str, argument: str, typed: str, **filled: str) -> list[str]:
    reference = ResourceTemplateReference(uri=template)
    return (await client.complete(reference, {"name": argument, "value": typed}, filled or None)).completion.values


async def test_names_that_begin_with_it_come_before_those_that_contain_it(
    client: Client, service: ConsortiumService
) -> None:
    for name in ("a-panel", "Panel of five", "panel", "legal"):
        service.store.consortiums.save.sync(name, Consortium(members=(Member(model="a"),)))

    assert await values(client, "consortium://consortiums/{name}", "name", "pan") == [
        "Panel of five",
        "panel",
        "a-panel",
    ]


@pytest.mark.parametrize("template", [RUN, f"{RUN}/transcript.md", f"{RUN}/iterations/{{iteration}}", RESPONSE])
async def test_run_ids_are_completed_newest_first_in_every_template(
    client: Client, service: ConsortiumService, run: Run, template: str
) -> None:
    copy_run(service.store, run.run_id, 20)

    assert await values(client, template, "run_id", copy_id(1)[:-1]) == [copy_id(n) for n in range(9, -1, -1)]
    assert await values(client, template, "run_id", run.run_id[5:].upper()) == [run.run_id]
    assert len(await values(client, template, "run_id", "")) == 21


async def test_at_most_a_hundred_values_come_and_the_client_hears_that_there_are_more(
    client: Client, service: ConsortiumService, run: Run
) -> None:
    copy_run(service.store, run.run_id, MOST + 1)
    asked = {"name": "run_id", "value": "0"}
    found = (await client.complete(ResourceTemplateReference(uri=RUN), asked)).completion

    assert (len(found.values), found.has_more) == (MOST, True)


async def test_iterations_and_responses_are_those_of_the_run_that_is_filled_in(client: Client, run: Run) -> None:
    iterations = await values(client, f"{RUN}/iterations/{{iteration}}", "iteration", "", run_id=run.run_id)
    responses = await values(client, RESPONSE, "response_id", "m2", run_id=run.run_id)

    assert iterations == ["1", "2"]
    assert responses == ["i1-m2", "i2-m2"]


@pytest.mark.parametrize("prompt", ["second_opinion", "decide", "review"])
async def test_the_consortium_of_a_prompt_is_completed(client: Client, service: ConsortiumService, prompt: str) -> None:
    service.store.consortiums.save.sync("panel", Consortium(members=(Member(model="a"),)))
    found = await client.complete(PromptReference(name=prompt), {"name": "consortium", "value": "pa"})

    assert found.completion.values == ["panel"]


async def test_an_unknown_reference_has_no_completions(client: Client, run: Run) -> None:
    prompt = await client.complete(PromptReference(name="nope"), {"name": "x", "value": ""})

    assert prompt.completion.values == []
    assert await values(client, "consortium://nope/{x}", "x", "") == []
    assert await values(client, RUN, "nope", "") == []
    assert await values(client, RESPONSE, "response_id", "", run_id="nope") == []
    assert await values(client, RESPONSE, "response_id", "") == []


def test_the_total_is_said_where_it_is_known() -> None:
    assert completion(["abc", "xa", "b"], "A").model_dump(exclude_none=True) == {
        "values": ["abc", "xa"],
        "total": 2,
        "has_more": False,
    }
