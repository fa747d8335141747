"""Replay judges stored responses again: the same reply gives the same verdict, under other rules, without members."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import anyio.to_thread
import pytest
from click.testing import CliRunner
from mcp import Client

from consortium_mcp._util.timing import Timing
from consortium_mcp.cli import main
from consortium_mcp.errors import ConsortiumError, InvalidConsortiumError, NotFoundError
from consortium_mcp.records import Budget, Run, Usage
from consortium_mcp.reports.markdown import usage_text
from consortium_mcp.server import build_server
from consortium_mcp.service.replay import open_replay
from consortium_mcp.service.runner import Runner
from consortium_mcp.service.service import ConsortiumService
from tests.consulted import WITHOUT_WAITS, consulted, is_judging, performed
from tests.provider import Fault, Provider, Reply, Request
from tests.scripted import asking, verdict_text
from tests.server_process import read

pytestmark = pytest.mark.anyio

MEMBERS = ("a", "b", "c", "d", "e", "llama3:8b")


@pytest.fixture
def timing() -> Timing:
    """Further attempts follow at once, unless a provider asks for a wait."""
    return WITHOUT_WAITS


@pytest.fixture(autouse=True)
def honest_arbiters(provider: Provider) -> None:
    """Arbiters whose verdict depends only on the question, with a higher confidence in each iteration."""
    provider.on("arbiter", lambda request: judgement(request, "arbiter"))
    provider.on("plain-arbiter", lambda request: judgement(request, "plain-arbiter"))


def judgement(request: Request, name: str) -> str:
    """A verdict in every form: the responses in the order in which they are shown."""
    number = request.prompt.count("--- answer after iteration") + 1
    shown = request.prompt.count("--- end of response")
    fields: dict[str, Any] = {"best": 1, "ranking": list(range(1, shown + 1))}
    return verdict_text(f"{name} in {number} of {shown} responses", number / 4, **fields)


async def replayed(service: ConsortiumService, run: Run, **rules: Any) -> Run:
    """The replay of a run, when it has ended."""
    opened = await anyio.to_thread.run_sync(lambda: open_replay(service, run.run_id, **rules))
    return await performed(service, opened.run_id)


def asked_of_members(provider: Provider) -> int:
    """How many requests came to members that are not asked to judge."""
    return sum(not is_judging(request) for model in MEMBERS for request in provider.requests_to(model))


def outcome(run: Run) -> dict[str, Any]:
    """The part of a run that its replay must repeat."""
    judged = [one.model_dump(exclude={"responses"}) for one in run.iterations]
    heard = [[(one.response_id, one.label, one.text, one.late) for one in each.responses] for each in run.iterations]
    fields = {"status", "answer", "confidence", "dissent", "degraded", "selected_iteration"}
    return {"judged": judged, "heard": heard, **run.model_dump(include=fields)}


def script_failed(provider: Provider) -> None:
    provider.on("b", Fault.wrong_key())


def script_truncated(provider: Provider) -> None:
    provider.on("b", Reply("half of", finish_reason="length"))


def script_lost_later(provider: Provider) -> None:
    provider.on("c", ["once", Fault.wrong_key()])


def script_repeating(provider: Provider) -> None:
    provider.on("arbiter", verdict_text("the same words as before", 0.3))


def script_nothing(provider: Provider) -> None:
    """All models answer."""


CASES: dict[str, tuple[Callable[[Provider], None], dict[str, Any]]] = {
    "one iteration": (script_nothing, {"max_iterations": 1}),
    "several iterations": (script_nothing, {"max_iterations": 3}),
    "a minimum of iterations": (script_nothing, {"min_iterations": 3, "confidence_threshold": 0.2}),
    "converged": (script_nothing, {"confidence_threshold": 0.5}),
    "its order checked": (script_nothing, {"confidence_threshold": 0.26, "max_iterations": 1}),
    "a failed member": (script_failed, {"max_iterations": 2}),
    "a truncated response": (script_truncated, {"max_iterations": 1}),
    "a member lost later": (script_lost_later, {"max_iterations": 2}),
    "debate": (script_nothing, {"strategy": "debate", "max_iterations": 2}),
    "eliminate": (script_nothing, {"strategy": "eliminate", "judging_method": "rank", "max_iterations": 2}),
    "eliminate with a failed member": (
        script_failed,
        {"strategy": "eliminate", "judging_method": "rank", "max_iterations": 2},
    ),
    "nothing new": (script_repeating, {"max_iterations": 3}),
    "pick": (script_nothing, {"judging_method": "pick", "max_iterations": 2}),
    "vote": (script_nothing, {"judging_method": "vote", "max_iterations": 2}),
    "no schema": (script_nothing, {"arbiter": "plain-arbiter", "max_iterations": 2}),
}


@pytest.mark.parametrize("case", CASES)
async def test_a_replay_gives_the_identical_verdicts_from_identical_replies_and_asks_no_member(
    provider: Provider, service: ConsortiumService, case: str
) -> None:
    script, rules = CASES[case]
    script(provider)
    run = await consulted(service, "a:2", "b", "c", **rules)
    asked, judged = asked_of_members(provider), provider.count("arbiter") + provider.count("plain-arbiter")

    again = await replayed(service, run)

    assert outcome(again) == outcome(run)
    assert (asked_of_members(provider), again.replay_of) == (asked, run.run_id)
    bodies = [request.body for name in ("arbiter", "plain-arbiter") for request in provider.requests_to(name)]
    assert bodies[judged:] == bodies[:judged]


async def test_a_late_response_stays_late_in_a_replay(provider: Provider, service: ConsortiumService) -> None:
    for model in "ab":
        provider.on(model, "Answer: 7")
    gate = provider.gate("c")
    run = await consulted(service, "a", "b", "c", judging_method="vote", confidence_threshold=0.6)
    gate.open()

    again = await replayed(service, run)

    assert outcome(again) == outcome(run)
    assert [one.late for one in again.iterations[0].responses] == [False, False, True]
    assert provider.count("c") == 1


async def test_a_replay_asks_peers_to_rank_again_and_nothing_else(
    provider: Provider, service: ConsortiumService
) -> None:
    for model in "abc":
        provider.on(model, lambda request: '{"ranking": [1, 2]}' if is_judging(request) else f"of {request.model}")
    run = await consulted(service, "a", "b", "c", judging_method="peer_rank", max_iterations=1)

    again = await replayed(service, run)

    assert (outcome(again), asked_of_members(provider)) == (outcome(run), 3)


async def test_another_arbiter_judges_the_same_responses(provider: Provider, service: ConsortiumService) -> None:
    run = await consulted(service, "a:2", "b", max_iterations=1)

    again = await replayed(service, run, arbiter="plain-arbiter")

    assert (run.answer, again.answer) == ("arbiter in 1 of 3 responses", "plain-arbiter in 1 of 3 responses")
    assert again.consortium.arbiter == "plain-arbiter" and asked_of_members(provider) == 3
    assert again.iterations[0].shown_order == run.iterations[0].shown_order


@pytest.mark.parametrize("method", ["synthesize", "pick", "rank", "peer_rank", "vote"])
async def test_another_judging_method_judges_the_responses_of_an_elimination(
    provider: Provider, service: ConsortiumService, method: str
) -> None:
    for model in "abcd":
        provider.on(model, lambda request: '{"ranking": [1, 2]}' if is_judging(request) else f"of {request.model}")
    run = await consulted(service, *"abcd", strategy="eliminate", judging_method="rank", max_iterations=2)

    again = await replayed(service, run, judging_method=method)

    labels = [[one.label for one in iteration.responses] for iteration in run.iterations]
    heard = [[one.label for one in iteration.responses] for iteration in again.iterations]
    assert heard == labels[: len(heard)] and (len(heard) == 2 or again.status == "converged")
    assert (again.consortium.judging_method, asked_of_members(provider)) == (method, 7)


async def test_an_elimination_is_replayed_as_it_was_though_the_new_arbiter_ranks_otherwise(
    provider: Provider, service: ConsortiumService
) -> None:
    run = await consulted(service, *"abcd", strategy="eliminate", judging_method="rank", max_iterations=2)
    provider.on("plain-arbiter", lambda request: otherwise(request))

    again = await replayed(service, run, arbiter="plain-arbiter")

    assert outcome(again)["heard"] == outcome(run)["heard"]
    assert not any(one.error for iteration in again.iterations for one in iteration.responses)


def otherwise(request: Request) -> str:
    """A ranking, the last response first."""
    shown = request.prompt.count("--- end of response")
    return verdict_text(confidence=0.1, ranking=list(range(shown, 0, -1)))


@pytest.mark.parametrize(
    ("without", "labels"),
    [
        ("b", ["a#1", "a#2", "c#1"]),
        ("a#1", ["a#2", "b#1", "c#1"]),
        ("a", ["b#1", "c#1"]),
        ("c#1", ["a#1", "a#2", "b#1"]),
        ("a#2 b", ["a#1", "c#1"]),
    ],
)
async def test_a_model_or_an_instance_can_be_left_out(
    provider: Provider, service: ConsortiumService, without: str, labels: list[str]
) -> None:
    run = await consulted(service, "a:2", "b", "c", max_iterations=2)

    again = await replayed(service, run, without=without.split())

    assert [[one.label for one in iteration.responses] for iteration in again.iterations] == [labels, labels]
    assert again.answer == f"arbiter in 2 of {len(labels)} responses"
    assert again.consortium.instance_count == len(labels) and again.degraded == ()
    kept = {one.response_id: one.text for one in run.iterations[1].responses}
    assert all(kept[one.response_id] == one.text for one in again.iterations[1].responses)


async def test_a_lower_threshold_ends_a_replay_earlier_and_a_higher_one_asks_no_member(
    provider: Provider, service: ConsortiumService
) -> None:
    run = await consulted(service, "a", "b", confidence_threshold=0.5)

    lower = await replayed(service, run, confidence_threshold=0.2)
    higher = await replayed(service, run, confidence_threshold=99)

    assert [(len(one.iterations), one.status) for one in (run, lower, higher)] == [
        (2, "converged"),
        (1, "converged"),
        (2, "exhausted"),
    ]
    assert higher.consortium.confidence_threshold == 0.99 and asked_of_members(provider) == 4


async def test_a_budget_that_paid_for_the_members_lets_them_be_judged_again(
    provider: Provider, service: ConsortiumService
) -> None:
    run = await consulted(service, "a", "b", max_iterations=2, budget=Budget(max_calls=6))

    again = await replayed(service, run)

    assert (outcome(again), again.usage.calls) == (outcome(run), 2)


async def test_an_opened_replay_has_no_answer_yet(service: ConsortiumService) -> None:
    run = await consulted(service, "a", "b", max_iterations=1)

    opened = open_replay(service, run.run_id)

    assert (opened.status, opened.answer, opened.ended_utc, opened.replay_of) == ("running", None, None, run.run_id)


async def test_a_replay_can_be_replayed(provider: Provider, service: ConsortiumService) -> None:
    run = await consulted(service, "a", "b", max_iterations=2)
    first = await replayed(service, run)

    second = await replayed(service, first)

    assert (outcome(second), second.replay_of, asked_of_members(provider)) == (outcome(run), first.run_id, 4)


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        ({"without": ["x"]}, "did not ask 'x'"),
        ({"without": ["a#1", "a#3"]}, "it asked: a#1, b#1"),
        ({"judging_method": "best"}, "no judging method 'best'"),
        ({"judging_method": "peer_rank"}, "at least 3 instances"),
        ({"confidence_threshold": 101}, "must be between 0 and 1"),
    ],
)
async def test_what_cannot_be_replayed_is_refused_with_the_reason(
    provider: Provider, service: ConsortiumService, rules: dict[str, Any], reason: str
) -> None:
    run = await consulted(service, "a", "b", max_iterations=1)
    asked = provider.count()

    with pytest.raises(InvalidConsortiumError, match=reason):
        open_replay(service, run.run_id, **rules)

    assert provider.count() == asked and len(service.store.runs.find.sync()) == 1


async def test_leaving_out_everybody_is_refused(service: ConsortiumService) -> None:
    run = await consulted(service, "a:2", max_iterations=1)

    with pytest.raises(InvalidConsortiumError, match="Without 'a' no response is left"):
        open_replay(service, run.run_id, without=["a"])


async def test_a_run_without_responses_is_not_replayed(provider: Provider, service: ConsortiumService) -> None:
    provider.on("a", Fault.wrong_key())
    run = await consulted(service, "a")

    with pytest.raises(ConsortiumError, match="no response that could be judged again"):
        open_replay(service, run.run_id)


def test_an_unknown_run_is_not_replayed(service: ConsortiumService) -> None:
    with pytest.raises(NotFoundError, match="No run 'nope'"):
        open_replay(service, "nope")


async def test_a_run_that_has_not_ended_is_not_replayed(service: ConsortiumService) -> None:
    run = service.opener.open_run(asking("Why?", models=["a"], arbiter="arbiter"))

    with pytest.raises(ConsortiumError, match="can be replayed after its end"):
        open_replay(service, run.run_id)


async def test_a_replay_says_too_that_an_iteration_brought_nothing_new(
    provider: Provider, service: ConsortiumService
) -> None:
    script_repeating(provider)
    run = await consulted(service, "a", "b", max_iterations=3)

    again = await replayed(service, run)

    assert again.degraded == ("The run ended below its threshold: iteration 2 brought nothing new.",)


# the command and the resource


@pytest.fixture
def command() -> Iterator[Callable[..., str]]:
    """Runs a command in this process, and returns its stdout."""

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(main, list(arguments), catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    yield run


def test_the_command_replays_a_run_under_every_rule(provider: Provider, command: Callable[..., str]) -> None:
    asked = ["Why?", "-m", "a:2", "-m", "b", "--arbiter", "arbiter", "--max-iterations", "1", "--json"]
    run = json.loads(command("consult", *asked))
    rules = ["--arbiter", "plain-arbiter", "--without", "a#2", "--threshold", "20", "--judging-method", "pick"]

    again = json.loads(command("runs", "replay", run["run_id"], *rules, "--json"))

    consortium = again["consortium"]
    assert (again["replay_of"], again["answer"], again["status"]) == (run["run_id"], again["answer"], "converged")
    assert (consortium["arbiter"], consortium["judging_method"]) == ("plain-arbiter", "pick")
    assert consortium["confidence_threshold"] == 0.2
    assert [one["label"] for one in again["iterations"][0]["responses"]] == ["a#1", "b#1"]
    assert asked_of_members(provider) == 3


async def test_the_resource_says_of_which_run_it_is_a_replay(service: ConsortiumService) -> None:
    run = await consulted(service, "a", "b", max_iterations=1)
    again = await replayed(service, run)

    async with Runner(service) as runner, Client(build_server(runner)) as client:
        record = json.loads(await read(client, again.uri))
        transcript = await read(client, again.transcript_uri)

    assert record["replay_of"] == run.run_id
    assert f"replay of: {run.run_id}" in transcript


async def test_a_replay_without_an_arbiter_used_nothing_and_one_with_it_what_that_used(
    provider: Provider, service: ConsortiumService
) -> None:
    run = await consulted(service, "a", "b", arbiter="arbiter", max_iterations=1)
    voted = await replayed(service, run, judging_method="vote")
    judged = await replayed(service, run)

    assert voted.usage == Usage(calls=0, input_tokens=0, output_tokens=0, cost_usd=0.0)
    assert usage_text(voted.usage) == "calls: 0, tokens in: 0, out: 0, cost: $0.0000"
    assert judged.usage.calls == 1
    assert 0 < (judged.usage.output_tokens or 0) < (run.usage.output_tokens or 0)
