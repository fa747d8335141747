"""Trust through the doors: what ratings teach, what is said when saved and planned, and the curve of `stats`."""

from collections.abc import AsyncIterator

import pytest
from click.testing import CliRunner
from mcp import Client

from consortium_mcp.cli import main
from consortium_mcp.records import Rating, Run
from consortium_mcp.reports.markdown import short_report
from consortium_mcp.reports.trust import trust_of
from consortium_mcp.server import build_server
from consortium_mcp.service.runner import Runner
from consortium_mcp.service.service import ConsortiumService
from tests.consulted import consulted
from tests.provider import Provider, verdict
from tests.server_process import said, structured

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client(service: ConsortiumService) -> AsyncIterator[Client]:
    """A client of a server in this process."""
    async with Runner(service) as runner, Client(build_server(runner)) as client:
        yield client


async def rated_runs(service: ConsortiumService, provider: Provider, right: int, wrong: int) -> None:
    """So many rated runs of two members that always agree."""
    for model in "ab":
        provider.on(model, "Answer: 4")
    provider.on("arbiter", verdict("Answer: 4", confidence=0.99))
    for number in range(right + wrong):
        run = await consulted(service, "a", "b", prompt=f"What is {number}?", max_iterations=1)
        service.store.ratings.save.sync(Rating(run_id=run.run_id, score=float(number < right)))


async def next_run(service: ConsortiumService) -> Run:
    """A further run of the same consortium."""
    return await consulted(service, "a", "b", prompt="What is next?", max_iterations=1)


async def test_rated_answers_of_a_consortium_stand_beside_its_next_one(
    provider: Provider, service: ConsortiumService
) -> None:
    await rated_runs(service, provider, right=2, wrong=1)

    run = await next_run(service)
    other = await consulted(service, "a", "c", max_iterations=1)

    assert "of 3 rated answers at this level, 2 were right" in short_report(run)
    trust, others = trust_of(run), trust_of(other)
    assert trust and trust.rated and others and others.rated is None


async def test_many_wrong_answers_bound_the_next_one_and_members_that_err_together_count_less(
    provider: Provider, service: ConsortiumService
) -> None:
    await rated_runs(service, provider, right=8, wrong=2)

    run = await next_run(service)

    trust = trust_of(run)
    # Both err together (1.0), pulled to 0.5 by 10 of 20 runs: 2 votes count as 2 / 1.5, which earn 1.83 / 2.33 = 0.79.
    assert trust and trust.independent_votes == pytest.approx(4 / 3) and trust.confidence == pytest.approx(11 / 14)
    assert "they count as 1.3 independent votes" in short_report(run)


async def test_a_threshold_that_cannot_be_reached_is_said_when_saved_and_planned(
    client: Client, provider: Provider
) -> None:
    rules = {"models": ["a", "b"], "arbiter": "arbiter", "confidence_threshold": 0.9}
    sentence = "2 agreeing instances can earn 0.83, so comparable answers cannot reach the threshold of 0.90."

    saved = await client.call_tool("save_consortium", {"name": "pair", **rules})
    planned = await client.call_tool("consult_consortium", {"prompt": "?", "dry_run": True, **rules})
    reached = await client.call_tool("save_consortium", {"name": "other", **rules, "confidence_threshold": 0.8})

    assert f"Note: {sentence}" in said(saved) and f"Note: {sentence}" in said(planned)
    assert structured(planned)["plan"]["unreachable"] == sentence and "Note:" not in said(reached)


async def test_stats_draw_the_curve_of_each_consortium(provider: Provider, service: ConsortiumService) -> None:
    await rated_runs(service, provider, right=2, wrong=1)

    page = CliRunner().invoke(main, ["stats", "--html"]).output
    text = CliRunner().invoke(main, ["stats"]).output

    assert page.count("<circle") == 1 and "stated 0.8-0.9: true 0.67 (3)" in page
    assert "stated 0.8-0.9: true 0.67 (3) #############" in text


def answers(*numbers: int) -> list[str]:
    """Members' responses, marked."""
    return [f"Answer: {number}" for number in numbers]


@pytest.mark.parametrize(
    ("members", "synthesis", "confidence"),
    [(answers(4), "Answer: 4", 0.75), (answers(4, 4, 5), "Answer: 4", 0.625), (answers(4, 5), "Answer: 5", 0.5)],
    ids=["one member", "two of three", "one of two"],
)
async def test_no_iteration_is_paid_for_that_could_not_reach_the_threshold(
    members: list[str], synthesis: str, confidence: float, provider: Provider, service: ConsortiumService
) -> None:
    for model, response in zip("abc", members, strict=False):
        provider.on(model, response)
    provider.on("arbiter", verdict(synthesis, confidence=0.95))

    run = await consulted(service, *"abc"[: len(members)], check_order=False)

    assert (run.status, run.confidence, run.degraded) == ("exhausted", confidence, ())
    assert provider.count() == len(members) + 1
    assert "the threshold of 0.80 was not reached, and asking again could not reach it" in short_report(run)


async def test_an_arbiter_that_asks_for_another_iteration_gets_it_though_the_agreement_bounds_it(
    provider: Provider, service: ConsortiumService
) -> None:
    provider.on("a", "Answer: 4")
    provider.on("arbiter", [verdict("Answer: 4", confidence=0.95, needs_iteration=True), verdict("Answer: 4")])

    run = await consulted(service, "a")

    assert len(run.iterations) == 2


async def test_an_answer_that_no_member_gave_is_asked_about_again(
    provider: Provider, service: ConsortiumService
) -> None:
    for model in "ab":
        provider.on(model, "Answer: 4")
    provider.on("arbiter", [verdict("Answer: 9", confidence=0.95), verdict("Answer: 4", confidence=0.95)])

    run = await consulted(service, "a", "b", check_order=False)

    assert (run.status, run.answer, len(run.iterations)) == ("converged", "Answer: 4", 2)
