"""The next steps in results, through a connected client."""

from collections.abc import AsyncIterator

import pytest
from mcp import Client

from consortium_mcp.service.service import ConsortiumService
from tests.consulted import consulted
from tests.in_process import in_process
from tests.provider import Fault, Provider, verdict
from tests.scripted import panel
from tests.server_process import said, structured

ONCE = {"prompt": "Capital?", "max_iterations": 1, "wait_seconds": 60}


@pytest.fixture
async def client(provider: Provider, service: ConsortiumService) -> AsyncIterator[Client]:
    """A client of a server in this process."""
    async with in_process("auto", service) as client:
        yield client


async def test_below_the_threshold_the_open_points_are_said(client: Client, provider: Provider) -> None:
    provider.on("arbiter", verdict("Paris", confidence=0.4, refinement_areas=["Which year?", "Which country?"]))
    text = said(await client.call_tool("consult_consortium", {**ONCE, "models": ["a"], "arbiter": "arbiter"}))

    assert "\nOpen: Which year?; Which country?\n" in text


async def test_a_vote_says_who_gave_which_answer(client: Client, provider: Provider) -> None:
    for model, city in {"a": "Paris", "b": "Rome", "c": "Paris"}.items():
        provider.on(model, f"Answer: {city}")
    asked = {**ONCE, "models": ["a", "b", "c"], "judging_method": "vote"}
    text = said(await client.call_tool("consult_consortium", asked))

    assert "\nVotes: 2 for “Paris” (a#1, c#1); 1 for “Rome” (b#1)\n" in text


@pytest.mark.parametrize(
    ("own", "says"), [("Answer: Paris", "agrees with this answer"), ("Answer: Rome", "differs from this answer")]
)
async def test_the_callers_own_answer_is_compared(own: str, says: str, client: Client, provider: Provider) -> None:
    provider.on("arbiter", verdict("Answer: Paris", confidence=0.9))
    asked = {**ONCE, "models": ["a"], "arbiter": "arbiter", "own_answer": own}

    assert f"\nYour own answer: it {says}\n" in said(await client.call_tool("consult_consortium", asked))


async def test_what_failed_says_how_often_and_how_long_it_was_tried(client: Client, provider: Provider) -> None:
    provider.on("a", Fault.server_error())
    provider.on("arbiter", verdict("Paris"))
    asked = {**ONCE, "models": ["a", "b"], "arbiter": "arbiter"}

    assert "a#1 server after 3 attempts in " in said(await client.call_tool("consult_consortium", asked))


async def test_a_call_that_joins_a_run_says_so_and_whose_deadline_holds(client: Client, provider: Provider) -> None:
    gate = provider.gate("a")
    asked = {**ONCE, "models": ["a"], "arbiter": "arbiter", "wait_seconds": 0}
    first = await client.call_tool("consult_consortium", asked)
    await gate.wait_for_async(1)
    second = await client.call_tool("consult_consortium", {**asked, "deadline_seconds": 5})
    gate.open()

    assert structured(first)["run_id"] == structured(second)["run_id"]
    assert "Joined" not in said(first) and "Joined the run of the same call of " in said(second)
    assert "its deadline is " in said(second)


async def test_cancelling_what_has_ended_says_that_nothing_was_stopped(
    client: Client, provider: Provider, service: ConsortiumService
) -> None:
    provider.on("arbiter", verdict("Paris"))
    run = await consulted(service, "a")

    cancelled = await client.call_tool("cancel_run", {"run_id": run.run_id})

    assert said(cancelled).endswith("\nNothing was stopped: this run had ended as converged.")


async def test_removing_a_consortium_names_what_it_breaks(client: Client, service: ConsortiumService) -> None:
    service.store.consortiums.save.sync("inner", panel("a"))
    service.store.consortiums.save.sync("outer", panel("inner", "b"))

    removed = await client.call_tool("remove_consortium", {"name": "inner"})

    assert said(removed).endswith("It was used by outer, which cannot run now.")


async def test_a_saved_consortium_says_what_it_is_for_and_how_it_works(client: Client) -> None:
    rules = {"description": "For capitals.", "strategy": "debate", "stop_on": "both", "arbiter": "arbiter"}
    saved = await client.call_tool("save_consortium", {"name": "cities", "models": ["a:2"], **rules})
    line = (
        "cities (For capitals.): a:2; strategy debate; synthesize by arbiter; "
        "stops at confidence and agreement 0.80 or after 3 iterations"
    )

    assert line in said(saved) and line in said(await client.call_tool("list_consortiums", {}))


async def test_a_run_in_the_list_says_when_and_how_it_ended(
    client: Client, provider: Provider, service: ConsortiumService
) -> None:
    provider.on("arbiter", verdict("Paris", confidence=0.9))
    service.store.consortiums.save.sync("inner", panel("a", arbiter="arbiter"))
    run = await consulted(service, "inner", prompt="Capital?")

    outer, inner = said(await client.call_tool("list_runs", {})).splitlines()[::-1]

    assert inner.startswith(f"{structured(await client.call_tool('list_runs', {}))['runs'][0]['run_id']} 2")
    assert f", inner, inside {run.run_id}: 'Capital?'" in inner
    assert outer.startswith(f"{run.run_id} {run.created_utc[:16]}Z {run.status}, confidence ")


async def test_models_are_listed_by_plugin_and_reason(client: Client, service: ConsortiumService) -> None:
    lines = said(await client.call_tool("list_models", {})).splitlines()
    reasons = [line for line in lines if line.startswith("Not usable: ")]

    assert any(", gpt-4o, " in line or " gpt-4o, " in line for line in reasons) and len(reasons) == 1
    assert any(" a, b, c, d, e, arbiter" in line for line in lines)
    missing = said(await client.call_tool("list_models", {"query": "zzz"}))
    assert missing == "No model's id or alias contains 'zzz'; call list_models without query to see all."
