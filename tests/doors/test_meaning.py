"""Answers that no rule can compare: the arbiter's statement about them is checked, counted and shown."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from consortium_mcp.records import Run, Trust
from consortium_mcp.reports.markdown import short_report, transcript
from consortium_mcp.reports.trust import trust_line, trust_of
from consortium_mcp.service.service import ConsortiumService
from tests.consulted import consulted
from tests.provider import Provider, Request, verdict

pytestmark = pytest.mark.anyio

BY_INDEX = "The lookups scan the whole table at night, so an index on the second column is what shortens them the most."
BY_INDEX_TOO = (
    "I would add an index to that column: without it each query has to read every row, and that takes the time."
)
BY_CACHE = (
    "Nothing in the database is at fault here; put a cache before it, because the same few rows are read all day."
)
ANSWER = "Add an index on the column that the slow queries filter by, since each of them reads the whole table today."


def number_of(request: Request, text: str) -> int:
    """Under which number the arbiter sees a response."""
    found = re.search(rf"--- response (\d+) \w+ ---\n{re.escape(text)}", request.prompt)
    assert found
    return int(found[1])


def judging(agreeing: list[str], contradicting: list[str], **fields: Any) -> Callable[[Request], str]:
    """An arbiter that names the responses with these texts."""

    def judge(request: Request) -> str:
        sides = {
            "agreeing_responses": [number_of(request, text) for text in agreeing],
            "contradicting_responses": [number_of(request, text) for text in contradicting],
        }
        return json.dumps(json.loads(verdict(ANSWER, confidence=0.99)) | sides | fields)

    return judge


def script(provider: Provider, *texts: str) -> None:
    for model, text in zip("abcd", texts, strict=False):
        provider.on(model, text)


def trusted(run: Run) -> Trust:
    trust = trust_of(run)
    assert trust
    return trust


async def test_the_arbiter_says_which_responses_give_an_answer_that_no_rule_can_compare(
    provider: Provider, service: ConsortiumService
) -> None:
    script(provider, BY_INDEX, BY_INDEX_TOO, BY_CACHE)
    provider.on("arbiter", judging([BY_INDEX, BY_INDEX_TOO], [BY_CACHE]))

    run = await consulted(service, "a", "b", "c", check_order=False)

    trust = trusted(run)
    assert (trust.same, trust.different, trust.by_arbiter, trust.confidence) == (2, 1, 3, 2.5 / 4)
    assert run.status == "exhausted" and provider.count("arbiter") == 1
    assert "#### Agreeing responses\n\na#1, b#1\n\n#### Contradicting responses\n\nc#1" in transcript(run)
    assert (trust_line(run) or "").endswith(
        "2 of 3 members gave this answer independently; the arbiter compared 3 responses, which rules cannot compare."
    )


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"agreeing_responses": [1, 4]}, "name one that was not shown"),
        ({"agreeing_responses": [0]}, "name one that was not shown"),
        ({"agreeing_responses": [1, 2], "contradicting_responses": [2]}, "both agreeing and contradicting"),
    ],
)
async def test_lists_that_make_no_sense_compare_nothing(
    fields: dict[str, list[int]], problem: str, provider: Provider, service: ConsortiumService
) -> None:
    script(provider, BY_INDEX, BY_INDEX_TOO, BY_CACHE)
    provider.on("arbiter", judging([], [], **fields))

    run = await consulted(service, "a", "b", "c", check_order=False)

    trust = trusted(run)
    assert (trust.compared, trust.by_arbiter, trust.confidence) == (0, 0, 0.99)
    assert problem in " ".join(run.degraded)


async def test_a_rule_that_can_compare_wins_over_the_arbiter(provider: Provider, service: ConsortiumService) -> None:
    script(provider, "Answer: 4", "Answer: 5", "Answer: 6")
    lists = {"agreeing_responses": [1, 2, 3], "synthesis": "Answer: 4"}
    provider.on("arbiter", judging([], [], **lists))

    run = await consulted(service, "a", "b", "c", max_iterations=1, check_order=False)

    trust, measures = trusted(run), run.iterations[0].measures
    assert (trust.same, trust.different, trust.by_arbiter) == (1, 2, 0)
    assert measures and measures.agreement_across == 0.0


async def test_a_run_ends_on_an_agreement_that_the_verdict_shows(
    provider: Provider, service: ConsortiumService
) -> None:
    script(provider, BY_INDEX, BY_INDEX_TOO)
    provider.on("arbiter", judging([BY_INDEX, BY_INDEX_TOO], []))

    run = await consulted(service, "a", "b", stop_on="agreement", check_order=False)

    assert run.status == "converged" and provider.count("arbiter") == 1
    assert "reached by the agreement, 1.00" in short_report(run)


@pytest.mark.parametrize("method", ["pick", "rank"])
async def test_a_chosen_response_has_those_that_agree_with_it(
    method: str, provider: Provider, service: ConsortiumService
) -> None:
    script(provider, BY_INDEX, BY_INDEX_TOO, BY_CACHE)

    def judge(request: Request) -> str:
        order = [number_of(request, text) for text in (BY_INDEX, BY_INDEX_TOO, BY_CACHE)]
        sides = {"agreeing_responses": order[:2], "contradicting_responses": order[2:]}
        return json.dumps({"best": order[0], "ranking": order, "confidence": 0.99, **sides})

    provider.on("arbiter", judge)

    run = await consulted(service, "a", "b", "c", judging_method=method, max_iterations=1, check_order=False)

    trust = trusted(run)
    # the chosen response is its own answer without the arbiter's word
    assert (run.answer, trust.same, trust.different, trust.by_arbiter) == (BY_INDEX, 2, 1, 2)


async def test_a_later_iteration_counts_the_first_responses_only_for_the_answer_that_was_compared(
    provider: Provider, service: ConsortiumService
) -> None:
    script(provider, BY_INDEX, BY_CACHE)
    other = "Whether an index helps depends on how often that table is written, so measure both on a copy of the data."

    def judge(request: Request) -> str:
        if request.model_number == 3:
            return verdict(other)
        sides = ([BY_INDEX], [BY_CACHE]) if request.model_number == 1 else ([], [])
        return judging(*sides, needs_iteration=True)(request)

    provider.on("arbiter", judge)

    run = await consulted(service, "a", "b", min_iterations=3, max_iterations=3, check_order=False)

    counts = [(one.trust.same, one.trust.different) for one in run.iterations if one.trust]
    assert counts == [(1, 1), (1, 1), (0, 0)]


@pytest.mark.parametrize(
    "fields",
    [
        {"confidence": 0.8, "completeness": 0.4},
        {"confidence": {"right": 0.8, "complete": 0.4}},
        {"confidence": "80%", "completeness": "40 %"},
    ],
)
async def test_right_and_complete_are_two_figures_and_the_threshold_is_held_against_right(
    fields: dict[str, Any], provider: Provider, service: ConsortiumService
) -> None:
    script(provider, "Answer: 4", "Answer: 4")
    provider.on("arbiter", judging([], [], synthesis="Answer: 4", **fields))

    run = await consulted(service, "a", "b", check_order=False)

    trust, judged = trusted(run), run.iterations[0].verdict
    assert run.status == "converged" and judged
    assert (judged.confidence, judged.completeness, trust.completeness) == (0.8, 0.4, 0.4)
    assert "Verdict (confidence 0.80, complete 0.40)" in transcript(run)
    assert (trust_line(run) or "").startswith("Trust: 0.80, as stated. Complete: 0.40, as stated.")


async def test_a_verdict_with_one_figure_is_read_as_before(provider: Provider, service: ConsortiumService) -> None:
    script(provider, "Answer: 4", "Answer: 4")
    provider.on("arbiter", verdict("Answer: 4", confidence=0.8))

    run = await consulted(service, "a", "b", check_order=False)

    assert (trusted(run).completeness, run.confidence, run.degraded) == (None, 0.8, ())
    assert "Complete" not in (trust_line(run) or "")
