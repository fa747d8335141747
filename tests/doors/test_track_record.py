"""The track record through the doors: which ratings count for an answer, and what they may not outweigh."""

import json
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from consortium_mcp.records import Rating, Run
from consortium_mcp.records.consortium import define
from consortium_mcp.reports.markdown import short_report
from consortium_mcp.reports.trust import trust_line, trust_of
from consortium_mcp.service.service import ConsortiumService
from tests.consulted import consulted, performed
from tests.provider import Fault, Provider, Request, verdict
from tests.scripted import asking

pytestmark = pytest.mark.anyio

INDEX = "The lookups scan the whole table at night, so an index on the second column is what shortens them the most."
CACHE = "Nothing in the database is at fault here; put a cache before it, because the same few rows are read all day."
DOWN = Fault("refused", status=401, body=b"{}")


def rate(service: ConsortiumService, run: Run, score: float = 1.0) -> None:
    """Rate the answer of a run."""
    service.store.ratings.save.sync(Rating(run_id=run.run_id, score=score))


def save(service: ConsortiumService, *models: str, **rules: Any) -> None:
    """Save the consortium `panel`, or save it again."""
    definition = define(members=[{"model": model} for model in models], **{"arbiter": "arbiter", **rules})
    service.store.consortiums.save.sync("panel", definition)


async def asked(service: ConsortiumService, prompt: str) -> Run:
    """The ended run of `panel`, under its own rules."""
    opened = await anyio.to_thread.run_sync(lambda: service.opener.open_run(asking(prompt, consortium="panel")))
    return await performed(service, opened.run_id)


@pytest.mark.parametrize(
    ("members", "changed", "rated"),
    [
        ("ab", {}, 3),
        ("ab", {"confidence_threshold": 0.5, "description": "for law"}, 3),
        ("cd", {}, None),
        ("abc", {}, None),
        ("ab", {"arbiter": "plain-arbiter"}, None),
        ("ab", {"judging_method": "vote"}, None),
        ("ab", {"llm_options": {"temperature": 1}}, None),
    ],
    ids=["as it was", "another threshold", "other members", "a member more", "another arbiter", "a vote", "options"],
)
async def test_ratings_of_a_consortium_that_was_defined_anew_do_not_count(
    members: str, changed: dict[str, Any], rated: int | None, provider: Provider, service: ConsortiumService
) -> None:
    for model in "abcd":
        provider.on(model, "Answer: 4")
    for arbiter in ("arbiter", "plain-arbiter"):
        provider.on(arbiter, verdict("Answer: 4", confidence=0.8))
    save(service, "a", "b", max_iterations=1)
    for number in range(3):
        rate(service, await asked(service, f"What is {number}?"))
    save(service, *members, **{"max_iterations": 1, **changed})

    trust = trust_of(await asked(service, "What is next?"))

    assert trust and (trust.rated.rated if trust.rated else None) == rated


async def test_ratings_count_with_and_without_an_answer_of_the_callers_own(
    provider: Provider, service: ConsortiumService
) -> None:
    for model in "ab":
        provider.on(model, "Answer: 4")
    for number in range(3):
        given = {"own_answer": f"I counted {number} times.\n\nAnswer: 4"} if number else {}
        run = await consulted(service, "a", "b", prompt=f"What is {number}?", judging_method="vote", **given)
        rate(service, run)

    trust = trust_of(await consulted(service, "a", "b", prompt="What is next?", judging_method="vote"))

    assert trust and trust.rated and trust.rated.rated == 3


# what ratings do not outweigh


def best(text: str, confidence: float) -> Callable[[Request], str]:
    """The arbiter's reply that picks the response with this text, wherever it is shown."""

    def reply(request: Request) -> str:
        shown = request.prompt.split("--- response ")[1:]
        return json.dumps({"best": next(int(one.split()[0]) for one in shown if text in one), "confidence": confidence})

    return reply


async def test_ratings_do_not_outweigh_a_verdict_that_the_reversed_order_changes(
    provider: Provider, service: ConsortiumService
) -> None:
    rules = {"judging_method": "pick", "max_iterations": 1, "stop_on": "ratings", "check_order": True}
    for model in "ab":
        provider.on(model, "Answer: 1")
    provider.on("arbiter", best("Answer: 1", 0.55))
    for number in range(12):
        rate(service, await consulted(service, "a", "b", prompt=f"What is {number}?", **rules))
    provider.on("a", INDEX)
    provider.on("b", CACHE)
    provider.on("arbiter", json.dumps({"best": 1, "confidence": 0.85}))

    run = await consulted(service, "a", "b", prompt="What is next?", **rules)

    trust = trust_of(run)
    assert trust and (trust.order_held, trust.confidence, trust.bound) == (False, 0.5, "order")
    assert trust.rated and trust.rated.rated == 12 and run.status == "exhausted"
    assert "by the bounded confidence, because in reversed order the verdict was different" in short_report(run)


async def test_ratings_do_not_outweigh_a_tie(provider: Provider, service: ConsortiumService) -> None:
    rules: dict[str, Any] = {"judging_method": "vote", "max_iterations": 1, "stop_on": "ratings"}
    provider.on("a", "Answer: 4")
    provider.on("b", DOWN)
    for number in range(12):
        rate(service, await consulted(service, "a", "b", prompt=f"What is {number}?", **rules))
    provider.on("b", "Answer: 5")

    run = await consulted(service, "a", "b", prompt="What is next?", **rules)

    # one of two votes: 0.5, the figure of the twelve rated answers too
    assert run.confidence == pytest.approx(0.5) and run.status == "exhausted"
    assert "by the bounded confidence, because another answer had as many votes" in short_report(run)


async def test_ratings_do_not_outweigh_that_no_member_gave_the_answer(
    provider: Provider, service: ConsortiumService
) -> None:
    rules: dict[str, Any] = {"max_iterations": 1, "stop_on": "ratings", "check_order": False}
    provider.on("a", "Answer: 4")
    provider.on("arbiter", verdict("Answer: 4", confidence=0.25))
    for number in range(12):
        rate(service, await consulted(service, "a", prompt=f"What is {number}?", **rules))
    provider.on("arbiter", verdict("Answer: 9", confidence=0.99))

    run = await consulted(service, "a", prompt="What is next?", **rules)

    assert run.confidence == pytest.approx(0.25)  # (0 + 1/2) / (1 + 1)
    assert "by the bounded confidence, because no member gave this answer" in short_report(run)


@pytest.mark.parametrize("other", [CACHE, "Answer: 5"], ids=["not comparable", "another"])
async def test_a_correlation_says_nothing_about_one_member_alone(
    other: str, provider: Provider, service: ConsortiumService
) -> None:
    """Ten rated runs in which both err together twice."""
    for model in "ab":
        provider.on(model, "Answer: 4")
    provider.on("arbiter", verdict("Answer: 4", confidence=0.9))
    for number in range(10):
        run = await consulted(service, "a", "b", prompt=f"What is {number}?", max_iterations=1, check_order=False)
        rate(service, run, score=float(number > 1))
    provider.on("a", "Answer: 4\nConfidence: 30%")
    provider.on("b", other)

    run = await consulted(service, "a", "b", prompt="What is next?", max_iterations=1, check_order=False)

    said = trust_line(run) or ""
    assert (
        said.startswith("Trust: 0.30, bounded by the members' own confidence, stated as 0.90.")
        and "the 1 compared" not in said
    )
