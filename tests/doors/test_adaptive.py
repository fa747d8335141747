"""Adaptive asking: the cheapest first, one more while the result is open, the arbiter only on disagreement."""

from collections.abc import Callable
from typing import Any

import pytest

from consortium_mcp.engine.adaptive import cheapest_first, first_count
from consortium_mcp.engine.trust import earned
from consortium_mcp.records import Run
from consortium_mcp.reports.markdown import about_answer
from consortium_mcp.service import service as services
from consortium_mcp.service.service import ConsortiumService
from tests.consulted import consulted, interrupt, performed
from tests.in_process import in_process
from tests.provider import Fault, Provider, verdict
from tests.scripted import panel
from tests.server_process import structured

PRICES: dict[str, float | None] = {"a": 5.0, "b": 1.0, "c": 3.0, "d": None, "e": 2.0}


@pytest.fixture(autouse=True)
def priced(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scripted models have the prices of PRICES."""
    monkeypatch.setattr(services, "typical_price", lambda models, model: PRICES[model])


async def asked(service: ConsortiumService, *models: str, **rules: Any) -> Run:
    return await consulted(service, *models, ask="adaptive", max_iterations=1, **rules)


def counts(provider: Provider) -> dict[str, int]:
    return {model: provider.count(model) for model in ("a", "b", "c", "arbiter")}


async def test_where_the_cheapest_agree_no_other_one_and_no_arbiter_is_asked(
    provider: Provider, service: ConsortiumService
) -> None:
    for model in "abc":
        provider.on(model, f"By {model}.\nAnswer: 42")

    run = await asked(service, "a", "b", "c")

    assert counts(provider) == {"a": 0, "b": 1, "c": 1, "arbiter": 0}
    assert (run.status, run.answer) == ("converged", "By b.\nAnswer: 42")
    assert run.confidence == pytest.approx(2.5 / 3)
    judged = run.iterations[0].verdict
    assert judged is not None
    assert "Confidence: 0.83, by agreement in iteration 1 of 1" in about_answer(run)
    assert f"Asked: {judged.analysis}" in about_answer(run)
    assert judged.analysis == "All 2 responses agree, so the arbiter and 1 more were not asked."


async def test_on_disagreement_the_next_one_and_the_arbiter_are_asked(
    provider: Provider, service: ConsortiumService
) -> None:
    for model, answer in {"a": "42", "b": "41", "c": "42"}.items():
        provider.on(model, f"Answer: {answer}")
    provider.on("arbiter", verdict("Answer: 42"))

    run = await asked(service, "a", "b", "c")

    assert counts(provider) == {"a": 1, "b": 1, "c": 1, "arbiter": 1} and run.answer == "Answer: 42"


async def test_one_more_is_asked_only_while_the_result_could_still_change(
    provider: Provider, service: ConsortiumService
) -> None:
    for model, answer in {"b": "7", "e": "8", "c": "7", "a": "7", "d": "9"}.items():
        provider.on(model, f"Answer: {answer}")

    run = await asked(service, *"abcde", judging_method="vote")

    # 2 to 1 of three with two to come is open; 3 to 1 of four with one to come is not
    assert [one.label for one in run.iterations[0].responses] == ["a#1", "b#1", "c#1", "e#1"]
    assert provider.count("d") == 0 and run.answer == "Answer: 7"


async def test_another_one_stands_in_for_one_that_fails(provider: Provider, service: ConsortiumService) -> None:
    for model in "ac":
        provider.on(model, "Answer: 42")
    provider.on("b", Fault.wrong_key())

    run = await asked(service, "a", "b", "c")

    assert counts(provider) == {"a": 1, "b": 1, "c": 1, "arbiter": 0} and run.answer == "Answer: 42"


async def test_another_one_stands_in_for_one_that_is_silent(provider: Provider, service: ConsortiumService) -> None:
    for model in "ac":
        provider.on(model, "Answer: 42")
    provider.on("b", Fault.hang())

    run = await asked(service, "a", "b", "c", patience_seconds=0.2)

    assert provider.count("a") == 1 and run.answer == "Answer: 42"
    assert "Late and not judged, after a long silence: b#1." in run.degraded


async def test_agreement_that_is_not_enough_for_the_threshold_is_judged(
    provider: Provider, service: ConsortiumService
) -> None:
    for model in "ab":
        provider.on(model, "Answer: 42")
    provider.on("arbiter", verdict("Answer: 42", confidence=0.95))

    await asked(service, "a", "b", confidence_threshold=0.9, check_order=False)

    assert counts(provider)["arbiter"] == 1


async def test_the_next_iteration_asks_all(provider: Provider, service: ConsortiumService) -> None:
    for model, answer in {"a": "42", "b": "41", "c": "40"}.items():
        provider.on(model, f"Answer: {answer}")
    provider.on("arbiter", [verdict("42", confidence=0.1), verdict("42 it is", confidence=0.2)])

    run = await consulted(service, "a", "b", "c", ask="adaptive", max_iterations=2)

    assert [len(one.responses) for one in run.iterations] == [3, 3]


async def test_a_resumed_run_asks_no_member_that_was_not_needed(provider: Provider, service: ConsortiumService) -> None:
    for model in "abc":
        provider.on(model, "Answer: 42")
    run = await asked(service, "a", "b", "c")
    interrupt(service, run)

    again = await performed(service, run.run_id)

    assert counts(provider) == {"a": 0, "b": 1, "c": 1, "arbiter": 0} and again.answer == run.answer


async def test_the_plan_says_who_is_asked_first(provider: Provider, service: ConsortiumService) -> None:
    async with in_process("auto", service) as client:
        terms = {"prompt": "?", "models": ["a:3"], "arbiter": "arbiter", "ask": "adaptive", "max_iterations": 1}
        result = await client.call_tool("consult_consortium", {**terms, "dry_run": True})

    plan = structured(result)["plan"]
    assert (plan["asked_first"], plan["min_calls"]) == (["a", "a"], 2)
    assert "First only a, a; further calls only if they disagree." in str(result.content)


@pytest.mark.parametrize(
    ("instances", "threshold", "first"),
    [(1, 0.8, 1), (2, 0.8, 2), (3, 0.8, 2), (5, 0.8, 3), (5, 0.9, 4), (5, 0.99, 5), (7, 0.5, 4)],
)
def test_as_many_are_asked_at_once_as_could_settle_it(instances: int, threshold: float, first: int) -> None:
    assert first_count(panel(*"abcdefg"[:instances], confidence_threshold=threshold)) == first


def test_confidence_in_agreement_is_the_estimators() -> None:
    assert [earned(count, count) for count in (1, 2, 4)] == [0.75, pytest.approx(0.8333, abs=1e-4), 0.9]


def test_the_cheapest_come_first_and_an_unknown_price_last() -> None:
    price: Callable[[str], float | None] = PRICES.get

    assert cheapest_first(list("dabce"), price) == ["b", "e", "c", "a", "d"]
