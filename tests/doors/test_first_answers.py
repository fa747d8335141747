"""The confidence is bounded by what members gave before they saw each other's responses."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from consortium_mcp.engine.trust import order_held
from consortium_mcp.records import Run, Verdict
from consortium_mcp.reports.markdown import short_report
from consortium_mcp.reports.trust import trust_line, trust_of
from consortium_mcp.service.service import ConsortiumService
from tests.consulted import consulted, interrupt, is_judging, performed
from tests.doors.test_meaning import ANSWER, BY_CACHE, BY_INDEX, BY_INDEX_TOO, number_of
from tests.provider import Fault, Provider, Request, verdict

pytestmark = pytest.mark.anyio

MEASURE = (
    "Whether it pays depends on how often the table is written, so measure both on a copy and take the quicker one."
)
DECLINE = "I'm sorry, but I can't help with that."


def trusted(run: Run) -> tuple[int, int, int, float | None]:
    """The counts of the trust, and its confidence to three decimals."""
    trust = trust_of(run)
    assert trust
    return trust.same, trust.different, trust.later, trust.confidence and round(trust.confidence, 3)


def script(provider: Provider, first: tuple[str, ...], later: str) -> None:
    """Members that give these texts first, and all the same text after that."""
    for model, text in zip("abc", first, strict=False):
        provider.on(model, [text, later])


TWO: dict[str, Any] = {"judging_method": "vote", "strategy": "refine", "max_iterations": 2, "min_iterations": 2}


async def test_prose_that_members_copied_counts_once(provider: Provider, service: ConsortiumService) -> None:
    script(provider, (BY_CACHE, BY_INDEX, MEASURE), BY_INDEX)

    run = await consulted(service, "a", "b", "c", **TWO)
    interrupt(service, run)
    resumed = await performed(service, run.run_id)

    assert trusted(run) == trusted(resumed) == (1, 0, 2, 0.375)  # (1 + 1/2) / (3 + 1); three of three would say 0.88
    assert (trust_line(run) or "").endswith(
        "1 of 3 members gave this answer independently, and 2 cannot be compared; "
        "2 instances gave this answer only after they had seen other responses."
    )


async def test_groups_of_the_first_iteration_count_for_a_copied_answer(
    provider: Provider, service: ConsortiumService
) -> None:
    script(provider, (BY_CACHE, BY_INDEX, MEASURE), BY_INDEX)
    provider.on("arbiter", json.dumps({"response_groups": [[1], [2], [3]]}))

    run = await consulted(service, "a", "b", "c", group_answers=True, arbiter="arbiter", **TWO)

    assert trusted(run) == (1, 2, 2, 0.375)


async def test_prose_that_no_member_copied_is_judged_as_in_the_first_iteration(
    provider: Provider, service: ConsortiumService
) -> None:
    for model, text in {"a": BY_CACHE, "b": BY_INDEX, "c": MEASURE}.items():
        provider.on(model, text)
    provider.on("arbiter", json.dumps({"best": 1, "confidence": 0.7}))

    run = await consulted(service, "a", "b", "c", **{**TWO, "judging_method": "pick"}, check_order=False)

    assert trusted(run) == (0, 0, 0, 0.7)


@pytest.mark.parametrize(
    ("first", "confidence"),
    [((BY_CACHE, BY_INDEX, MEASURE), 0.375), ((DECLINE,) * 3, 0.75)],  # (1 + 1/2) / (3 + 1), (1 + 1/2) / (1 + 1)
)
async def test_an_answer_that_no_first_response_can_be_compared_with_counts_as_one_vote(
    first: tuple[str, ...], confidence: float, provider: Provider, service: ConsortiumService
) -> None:
    script(provider, first, "Answer: 42")

    run = await consulted(service, "a", "b", "c", **TWO)

    assert trusted(run) == (0, 0, 3, confidence) and run.status == "exhausted"


async def test_members_that_all_declined_are_said_to_have_declined_first(
    provider: Provider, service: ConsortiumService
) -> None:
    script(provider, (DECLINE,) * 3, "Answer: 42")

    run = await consulted(service, "a", "b", "c", **TWO)

    assert (trust_line(run) or "").endswith(
        "All 3 that responded declined to answer in the first iteration, and 3 instances gave this answer only after "
        "they had seen other responses."
    )


async def test_replies_without_a_ballot_do_not_agree(provider: Provider, service: ConsortiumService) -> None:
    script(provider, ("Hard to say.",) * 3, "Answer: A")

    rules = {**TWO, "judging_method": "choose", "choices": ["Alpha", "Beta"]}
    run = await consulted(service, "a", "b", "c", **rules)

    agreements = [one.measures.agreement_across for one in run.iterations if one.measures]
    assert agreements == [None, 1.0] and trusted(run) == (0, 0, 3, 0.375)


def judging_twice(second: dict[str, list[int]], first: str = "Answer: 9") -> Callable[[Request], str]:
    """An arbiter that says an answer in other words the second time, with these lists of responses."""

    def judge(request: Request) -> str:
        reply = verdict(first if request.model_number == 1 else ANSWER, confidence=0.99)
        return json.dumps(json.loads(reply) | (second if request.model_number > 1 else {}))

    return judge


@pytest.mark.parametrize(
    ("lists", "expected"),
    [
        ({"contradicting_responses": [1, 2, 3]}, (0, 3, 0, 0.125)),
        ({"agreeing_responses": [1, 2, 3]}, (3, 0, 0, 0.875)),  # the texts are those of the first iteration
    ],
)
async def test_a_later_verdict_counts_against_an_answer_that_it_rewords(
    lists: dict[str, list[int]],
    expected: tuple[int, int, int, float],
    provider: Provider,
    service: ConsortiumService,
) -> None:
    for model, text in {"a": BY_CACHE, "b": BY_INDEX, "c": MEASURE}.items():
        provider.on(model, text)
    provider.on("arbiter", judging_twice(lists))

    run = await consulted(service, "a", "b", "c", min_iterations=2, max_iterations=2, check_order=False)

    trust = run.iterations[1].trust
    assert trust and (trust.same, trust.different, trust.later, round(trust.confidence or 0, 3)) == expected


async def test_a_later_verdict_does_not_count_members_that_changed_their_text(
    provider: Provider, service: ConsortiumService
) -> None:
    script(provider, (BY_CACHE, BY_INDEX, MEASURE), BY_INDEX_TOO)
    provider.on("arbiter", judging_twice({"agreeing_responses": [1, 2, 3]}, first=MEASURE.replace("pays", "works")))

    run = await consulted(service, "a", "b", "c", min_iterations=2, max_iterations=2, check_order=False)

    trust = run.iterations[1].trust
    assert trust and (trust.compared, trust.later, trust.confidence) == (0, 3, 0.375)  # one vote: (1 + 1/2) / (3 + 1)


async def test_a_copied_agreement_ends_a_run_without_converging(provider: Provider, service: ConsortiumService) -> None:
    script(provider, ("Answer: 4", "Answer: 5", "Answer: 6"), "Answer: 6")

    run = await consulted(service, "a", "b", "c", **{**TWO, "max_iterations": 5}, stop_on="agreement")

    assert (run.status, len(run.iterations)) == ("exhausted", 2)
    assert (
        "the threshold of 0.80 was not reached by what the members gave before they saw other responses, though it was "
        "by the agreement, 1.00"
    ) in short_report(run)


@pytest.mark.parametrize(
    ("answer", "one", "other"),
    [
        ("Paris", "Paris, France", "Paris, Texas"),
        ("Roosevelt", "Franklin Roosevelt", "Theodore Roosevelt"),
        ("5", "5 km", "5 miles"),
        ("3:00", "3:00 am", "3:00 pm"),
    ],
)
async def test_members_that_contradict_each_other_do_not_both_give_the_answer(
    answer: str, one: str, other: str, provider: Provider, service: ConsortiumService
) -> None:
    provider.on("a", f"Answer: {one}")
    provider.on("b", f"Answer: {other}")
    provider.on("arbiter", verdict(f"Answer: {answer}", confidence=0.97))

    run = await consulted(service, "a", "b", max_iterations=1, check_order=False)

    assert trusted(run) == (1, 1, 0, 0.5)  # (1 + 1/2) / (2 + 1)


async def test_an_arbiter_that_lists_contradicting_answers_as_agreeing_counts_one_of_them(
    provider: Provider, service: ConsortiumService
) -> None:
    provider.on("a", "Answer: 4")
    provider.on("b", "Answer: 5")
    lists = {"agreeing_responses": [1, 2], "contradicting_responses": []}
    provider.on("arbiter", json.dumps(json.loads(verdict(ANSWER, confidence=0.99)) | lists))

    run = await consulted(service, "a", "b", max_iterations=1, check_order=False)

    assert trusted(run) == (1, 1, 0, 0.5)


async def test_a_response_that_the_arbiter_does_not_list_as_agreeing_does_not_give_the_answer(
    provider: Provider, service: ConsortiumService
) -> None:
    texts = (BY_CACHE, BY_INDEX, BY_INDEX_TOO, MEASURE)
    for model, text in zip("abcd", texts, strict=True):
        provider.on(model, text)

    def judge(request: Request) -> str:
        agreeing = [number_of(request, text) for text in texts[:3]]
        return json.dumps(json.loads(verdict(ANSWER, confidence=0.99)) | {"agreeing_responses": agreeing})

    provider.on("arbiter", judge)

    run = await consulted(service, *"abcd", stop_on="agreement", max_iterations=1, check_order=False)

    measures = run.iterations[0].measures
    assert trusted(run) == (3, 1, 0, 0.7)  # (3 + 1/2) / (4 + 1)
    # 3 of 6 pairs agree, and the unlisted response differs from each of the other three
    assert measures and (measures.agreement_across, measures.compared) == (0.5, 6) and run.status == "exhausted"


async def test_votes_that_no_rule_can_compare_are_no_tie(provider: Provider, service: ConsortiumService) -> None:
    provider.on("a", BY_INDEX)
    provider.on("b", BY_INDEX_TOO)

    run = await consulted(service, "a", "b", judging_method="vote", max_iterations=1)

    found, trust = run.iterations[0].verdict, trust_of(run)
    assert trust and found and trusted(run) == (1, 0, 0, 0.5) and not trust.tied and trust.different_by == ()
    assert (
        found.analysis.startswith("No rule can compare the first answer with the others") and "tie" not in run.dissent
    )
    assert (trust_line(run) or "").endswith("1 of 2 members gave this answer independently, and 1 cannot be compared.")


async def test_a_callers_own_answer_is_no_member_and_states_no_figure_for_one(
    provider: Provider, service: ConsortiumService
) -> None:
    for model in "ab":
        provider.on(model, "Answer: 4\nConfidence: 60%")

    run = await consulted(
        service, "a", "b", judging_method="vote", own_answer="Answer: 5\nConfidence: 100%", max_iterations=1
    )
    provider.on("a", "Answer: 4\nConfidence: 20%")
    provider.on("b", "Answer: 5\nConfidence: 20%")
    other = await consulted(
        service, "a", "b", judging_method="vote", own_answer="Answer: 4\nConfidence: 100%", max_iterations=1
    )

    trust = trust_of(other)
    assert "2 of 2 members gave this answer independently, and your own answer is another" in (trust_line(run) or "")
    assert trust and (trust.stated_by_members, trust.confidence) == (0.2, 0.2)


async def test_a_member_that_judges_does_not_confirm_its_own_response(
    provider: Provider, service: ConsortiumService
) -> None:
    texts = {"a": BY_CACHE, "b": BY_INDEX, "c": MEASURE}

    def reply(request: Request) -> str:
        if not is_judging(request):
            return texts[request.model]
        return json.dumps(json.loads(verdict(ANSWER, confidence=0.99)) | {"agreeing_responses": [1, 2, 3]})

    for model in texts:
        provider.on(model, reply)
    provider.on("arbiter", Fault.wrong_key())

    run = await consulted(service, *texts, max_iterations=1, check_order=False)

    trust, judge = trust_of(run), run.iterations[0].judged_by
    assert trust and judge and (trust.same, trust.by_arbiter) == (2, 2) and judge not in trust.same_by
    assert f"{judge}, which judged in the arbiter's place, compared 2 responses" in (trust_line(run) or "")


async def test_instances_that_were_not_asked_are_said(provider: Provider, service: ConsortiumService) -> None:
    for model in "abcde":
        provider.on(model, "Answer: 4")

    run = await consulted(service, *"abcde", ask="adaptive", max_iterations=1, confidence_threshold=0.8)

    assert "3 of 3 members gave this answer independently; 2 instances were not asked" in (trust_line(run) or "")


def test_the_order_of_equal_parts_is_no_other_verdict() -> None:
    one, other = Verdict(synthesis="Paris and Rome"), Verdict(synthesis="Rome and Paris")

    assert order_held(one, other) is True


@pytest.mark.parametrize(("stated", "threshold", "calls"), [(0.99, 0.85, 1), (0.85, 0.85, 2), (0.99, 0.95, 2)])
async def test_the_order_is_checked_where_the_stated_confidence_is_near_the_threshold(
    stated: float, threshold: float, calls: int, provider: Provider, service: ConsortiumService
) -> None:
    for model in "abc":
        provider.on(model, "Answer: 4")
    provider.on("arbiter", verdict("Answer: 4", confidence=stated))

    await consulted(service, "a", "b", "c", max_iterations=1, confidence_threshold=threshold)

    assert provider.count("arbiter") == calls


async def test_a_ballot_that_does_not_rank_the_winner_is_not_said_to_earn(
    provider: Provider, service: ConsortiumService
) -> None:
    def reply(request: Request) -> str:
        if not is_judging(request):
            return {"a": BY_CACHE, "b": BY_INDEX, "c": MEASURE}[request.model]
        best = BY_CACHE if request.model == "b" else BY_INDEX
        first = number_of(request, best)
        return json.dumps({"ranking": [first, 3 - first]})

    for model in "abc":
        provider.on(model, reply)

    run = await consulted(service, "a", "b", "c", judging_method="peer_rank", max_iterations=1)

    trust = trust_of(run)
    assert trust and (run.answer, trust.stated) == (BY_INDEX, 1.0)
    assert trust.bounded_by == "2 ballots about the winner can earn 0.83."  # (2 + 1/2) / (2 + 1)
