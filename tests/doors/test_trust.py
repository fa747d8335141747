"""Trust through the doors: the effect of ratings, the notes when saving and planning, and the curve of `stats`."""

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from click.testing import CliRunner
from mcp import Client

from consortium_mcp.cli import main
from consortium_mcp.engine.trust import with_trust
from consortium_mcp.records import Rating, Run, TrackRecord
from consortium_mcp.reports.markdown import short_report
from consortium_mcp.reports.trust import trust_line, trust_of
from consortium_mcp.server import build_server
from consortium_mcp.service.runner import Runner
from consortium_mcp.service.service import ConsortiumService
from tests.consulted import consulted, is_judging
from tests.provider import Fault, Provider, Request, verdict
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
    assert "the 2 compared answers count as 1.3 independent votes" in short_report(run)


async def test_how_two_models_err_together_is_known_from_any_consortium(
    provider: Provider, service: ConsortiumService
) -> None:
    await rated_runs(service, provider, right=8, wrong=2)

    run = await consulted(service, "a", "b", prompt="What is next?", max_iterations=1, check_order=False)

    trust = trust_of(run)
    # another consortium by its judging: phi = 1, shrunk by 10 of 20 runs, so 2 votes count as 2 / 1.5
    assert trust and trust.rated is None and trust.independent_votes == pytest.approx(4 / 3)
    assert "the 2 compared answers count as 1.3 independent votes" in short_report(run)
    text = CliRunner().invoke(main, ["stats"]).output
    assert "a and b: errors are correlated with 0.50 (10 runs)" in text


@pytest.mark.parametrize(
    ("right", "rules", "confidence", "status", "says"),
    [
        # one answer alone earns 0.75; (20 + 4 * 0.75) / 24 = 0.9583
        (20, {"stop_on": "ratings"}, 23 / 24, "converged", "0.96, by arbiter in iteration 1 of 1; the threshold of"),
        (20, {"stop_on": "arbiter"}, 0.75, "exhausted", "Trust: 0.75, bounded by the agreement"),
        (
            3,
            {"stop_on": "ratings"},
            0.75,
            "exhausted",
            "because of the 10 rated answers that it takes at this level, there are 3",
        ),
        (
            0,
            {"stop_on": "ratings"},
            0.75,
            "exhausted",
            "because of the 10 rated answers that it takes at this level, there are 0",
        ),
    ],
    ids=["many", "not asked for", "few", "none"],
)
async def test_a_threshold_can_be_for_what_ratings_say(
    right: int,
    rules: dict[str, Any],
    confidence: float,
    status: str,
    says: str,
    provider: Provider,
    service: ConsortiumService,
) -> None:
    provider.on("a", "Answer: 4")
    provider.on("arbiter", verdict("Answer: 4", confidence=0.99))
    given = {"max_iterations": 1, "confidence_threshold": 0.9, "check_order": False, **rules}
    for number in range(right):
        run = await consulted(service, "a", prompt=f"What is {number}?", **given)
        service.store.ratings.save.sync(Rating(run_id=run.run_id, score=1.0))

    run = await consulted(service, "a", prompt="What is next?", **given)

    assert run.confidence == pytest.approx(confidence) and str(run.status) == status
    assert says in short_report(run)
    assert ("raised by the ratings, stated as 0.99" in short_report(run)) == (confidence > 0.9)


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

    assert page.count("<circle") == 1 and "confidence 0.8-0.9: true 0.67 (3)" in page
    assert "confidence 0.8-0.9: true 0.67 (3) #############" in text


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
    assert "the threshold of 0.80 was not reached, and a further iteration could not reach it" in short_report(run)


@pytest.mark.parametrize(
    ("members", "confidence"),
    [
        (["Answer: 4\nConfidence: 60%", "Answer: 4\nConfidence: 70%", "Answer: 4"], 0.65),
        (["Answer: 4\nConfidence: 95%", "Answer: 4\nConfidence: 95%", "Answer: 4\nConfidence: 95%"], 0.875),
        (["Answer: 4\nConfidence: 60%", "Answer: 4\nConfidence: 60%", "Answer: 5\nConfidence: 1%"], 0.6),
        (["Answer: 4", "Answer: 4", "Answer: 5\nConfidence: 1%"], 0.625),
    ],
    ids=["unsure", "sure", "the unsure one gave another answer", "none states one"],
)
async def test_agreement_claims_no_more_than_the_members_do(
    members: list[str], confidence: float, provider: Provider, service: ConsortiumService
) -> None:
    """The mean of those that gave the answer; of three equal answers at most 3.5 / 4, of two of three 2.5 / 4."""
    for model, response in zip("abc", members, strict=True):
        provider.on(model, response)
    provider.on("arbiter", verdict("Answer: 4", confidence=0.99))

    run = await consulted(service, *"abc", check_order=False)

    assert run.confidence == pytest.approx(confidence)
    line = f"Trust: {confidence:.2f}, bounded by the members' own confidence, stated as 0.99."
    assert (line in short_report(run)) == (confidence in (0.65, 0.6))


async def test_members_whose_correlation_is_known_may_earn_more_than_each_claims(
    provider: Provider, service: ConsortiumService
) -> None:
    for model in "ab":
        provider.on(model, "Answer: 4\nConfidence: 60%")
    provider.on("arbiter", verdict("Answer: 4", confidence=0.99))
    known = TrackRecord(correlation=0.0)

    run = await consulted(service, "a", "b", check_order=False)
    trust = with_trust(run.model_copy(update={"iterations": ()}), run.iterations[0], known).trust

    assert run.confidence == 0.6 and trust and trust.confidence == pytest.approx(2.5 / 3)


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


async def test_another_response_with_the_same_answer_holds_the_verdict_in_reversed_order(
    provider: Provider, service: ConsortiumService
) -> None:
    provider.on("a", "Answer: 4")
    provider.on("b", "Two and two.\nAnswer: 4")
    provider.on("arbiter", json.dumps({"best": 1, "confidence": 0.82}))

    run = await consulted(service, "a", "b", judging_method="pick", max_iterations=1)

    assert run.status == "converged" and "in reversed order the verdict was the same" in (trust_line(run) or "")


@pytest.mark.parametrize("first", ["A", "B", "?"])
async def test_ballots_for_an_option_that_members_were_shown_are_not_their_own(
    provider: Provider, service: ConsortiumService, first: str
) -> None:
    for model, option in {"a": "A", "b": first, "c": first}.items():
        provider.on(model, [f"Answer: {option}", "Answer: A"])
    rules: dict[str, Any] = {"judging_method": "choose", "choices": ["Alpha", "Beta"], "min_iterations": 2}

    run = await consulted(service, "a", "b", "c", max_iterations=2, **rules)

    trust = run.iterations[1].trust
    same, different = {"A": (3, 0), "B": (1, 2), "?": (1, 0)}[first]
    assert trust and (trust.same, trust.different, trust.stated) == (same, different, 1.0)
    # (3 + 1/2) / (3 + 1), then (1 + 1/2) / (3 + 1): two cast their ballot only after they had seen the others
    assert trust.confidence == {"A": 0.875, "B": 0.375, "?": 0.375}[first]


async def test_members_that_decline_alike_do_not_agree(provider: Provider, service: ConsortiumService) -> None:
    provider.on("a", "Answer: 4")
    for model in "bc":
        provider.on(model, "I'm sorry, but I can't help with that.")

    run = await consulted(service, "a", "b", "c", stop_on="agreement", max_iterations=1)

    measures = run.iterations[0].measures
    assert measures and (measures.agreement_across, run.status) == (None, "exhausted")


async def test_a_run_in_which_all_decline_does_not_converge(provider: Provider, service: ConsortiumService) -> None:
    decline = "I'm sorry, but I can't help with that."
    for model in "ab":
        provider.on(model, decline)
    provider.on("arbiter", verdict(decline, confidence=0.97))

    run = await consulted(service, "a", "b", max_iterations=1)

    assert (run.status, run.answer) == ("exhausted", decline)
    assert "All 2 that responded declined to answer." in (trust_line(run) or "")
    assert "the threshold of 0.80 was not applied, because every member declined to answer" in short_report(run)


async def test_one_pair_of_many_that_agrees_does_not_end_a_run(provider: Provider, service: ConsortiumService) -> None:
    prose = "Each of these depends on the load at night, on the size of the queue, and on who reads the results of {}."
    for model in "ab":
        provider.on(model, "Answer: 4")
    for model in "cde":
        provider.on(model, prose.format(model) + " So it should be measured before it is decided, again and again.")

    run = await consulted(service, *"abcde", judging_method="vote", stop_on="agreement", max_iterations=1)

    assert run.status == "exhausted"
    assert "was not reached by the agreement, 1.00 from only 1 of 10 pairs" in short_report(run)


async def test_who_failed_in_the_first_iteration_alone_is_said_to_have_failed_there(
    provider: Provider, service: ConsortiumService
) -> None:
    provider.on("a", "Answer: 4")
    provider.on("b", [Fault.wrong_key(), "Answer: 4"])

    run = await consulted(service, "a", "b", judging_method="vote", max_iterations=2, min_iterations=2)

    assert (trust_line(run) or "").endswith(
        "Only one member answered in the first iteration, and no other confirms it; "
        "missing in the first iteration: b#1."
    )


async def test_an_answer_that_the_caller_alone_gave_is_not_said_to_be_a_members(
    provider: Provider, service: ConsortiumService
) -> None:
    provider.on("a", "Answer: 5")
    provider.on("b", "Answer: 6")
    provider.on("arbiter", verdict("Answer: 4", confidence=0.99))

    run = await consulted(service, "a", "b", own_answer="Answer: 4", max_iterations=1)

    assert "0 of 2 members gave this answer independently, and your own answer is the same" in (trust_line(run) or "")


async def test_members_that_contradict_each_other_are_said_to_where_the_answer_cannot_be_compared(
    provider: Provider, service: ConsortiumService
) -> None:
    for model, number in {"a": 4, "b": 5, "c": 6}.items():
        provider.on(model, f"Answer: {number}")
    prose = "It depends on how the parts are counted, and on who counts them, so read the rules first, and then count."
    provider.on("arbiter", verdict(f"{prose} Do it twice, so that you see it.", confidence=0.99))

    run = await consulted(service, "a", "b", "c", max_iterations=1)

    line = trust_line(run) or ""
    assert "of the responses that can be compared with each other, 0% of pairs agree" in line
    assert line.endswith("Check it before use.")


async def test_a_share_of_votes_is_not_said_to_be_stated(provider: Provider, service: ConsortiumService) -> None:
    for model, number in {"a": 4, "b": 4, "c": 5}.items():
        provider.on(model, f"Answer: {number}")

    run = await consulted(service, "a", "b", "c", judging_method="vote", max_iterations=1)

    assert (trust_line(run) or "").startswith("Trust: 0.62, bounded by the agreement, counted as 0.67.")


async def test_votes_of_members_that_err_together_are_told_from_those_for_the_answer(
    provider: Provider, service: ConsortiumService
) -> None:
    await rated_runs(service, provider, right=8, wrong=2)
    provider.on("b", "Answer: 5")

    run = await next_run(service)

    assert "1 of 2 members gave this answer independently; the 2 compared answers count as 1.3 independent votes" in (
        trust_line(run) or ""
    )


async def test_a_response_that_declines_is_not_the_answer_where_no_verdict_was_given(
    provider: Provider, service: ConsortiumService
) -> None:
    provider.on("a", "Answer: 4")
    for model in ("b", "c"):
        provider.on(model, "I'm sorry, but I can't help with that.")
    provider.on("arbiter", "")

    run = await consulted(service, "a", "b", "c", judging_method="pick", max_iterations=1)

    assert run.answer == "Answer: 4" and "this is the response of a#1, which" in run.degraded[0]


async def test_a_run_without_an_answer_cannot_be_rated(
    client: Client, provider: Provider, service: ConsortiumService
) -> None:
    provider.on("a", Fault.wrong_key())
    run = await consulted(service, "a")

    by_tool = await client.call_tool("rate_run", {"run_id": run.run_id, "verdict": "correct"})
    by_command = CliRunner().invoke(main, ["runs", "rate", run.run_id, "--correct"])

    sentence = f"The run {run.run_id} is failed and has no answer to rate."
    assert by_tool.is_error and said(by_tool).startswith(f"{sentence} Call list_runs")
    assert by_command.exit_code == 1 and sentence in by_command.stderr


async def test_models_are_told_the_confidence_that_was_measured_and_not_the_stated_one(
    provider: Provider, service: ConsortiumService
) -> None:
    for model, number in {"a": 4, "b": 5}.items():
        provider.on(model, f"Answer: {number}")
    provider.on("arbiter", verdict("Answer: 9", confidence=0.99))

    await consulted(service, "a", "b", max_iterations=2, min_iterations=2)

    member, arbiter = provider.requests_to("a")[-1].prompt, provider.requests_to("arbiter")[-1].prompt
    assert "Confidence in that answer: 0.17" in member  # (0 + 1/2) / (2 + 1)
    assert "Confidence in it: 0.17" in arbiter


async def test_members_are_told_that_ballots_decided_where_they_did(
    provider: Provider, service: ConsortiumService
) -> None:
    for model in "ab":
        provider.on(model, "Answer: A")
    rules: dict[str, Any] = {"judging_method": "choose", "choices": ["Alpha", "Beta"], "min_iterations": 2}

    await consulted(service, "a", "b", max_iterations=2, **rules)

    assert "No option got more ballots than the one below." in provider.requests_to("a")[-1].prompt


async def test_a_response_with_the_same_answer_is_no_tie(provider: Provider, service: ConsortiumService) -> None:
    answers = {"a": "4", "b": "four", "c": "5"}

    def reply(request: Request) -> str:
        if not is_judging(request):
            return f"Answer: {answers[request.model]}"
        shown = re.findall(r"^--- response (\d+) \w+ ---\nAnswer: (\w+)", request.prompt, re.MULTILINE)
        order = [number for number, text in sorted(shown, key=lambda one: one[1] == "5")]
        return "I cannot rank them." if request.model == "c" else f"<ranking>{', '.join(order)}</ranking>"

    for model in answers:
        provider.on(model, reply)

    run = await consulted(service, *answers, judging_method="peer_rank", max_iterations=1)

    found = run.iterations[0].verdict
    # a puts b before c, and b puts a before c: both have 1.0, and both say 4
    assert found and found.ballots and (found.confidence, found.ballots.tied) == (1.0, False)
