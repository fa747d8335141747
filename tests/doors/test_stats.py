"""Ratings and their use: the tool and the command that rate, the reliability table, and the figures of members."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from click.testing import CliRunner
from mcp import Client

from consortium_mcp.cli import main
from consortium_mcp.records import Iteration, Rating, Run, Verdict
from consortium_mcp.reports.stats import stats_text
from consortium_mcp.server import build_server
from consortium_mcp.service.runner import Runner
from consortium_mcp.service.service import ConsortiumService
from consortium_mcp.service.stats import MemberStats, Stats, make_stats
from tests.consulted import consulted
from tests.provider import Fault, Provider, verdict
from tests.scripted import new_run, panel, response
from tests.server_process import read, said, structured

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client(provider: Provider, service: ConsortiumService) -> AsyncIterator[Client]:
    """A client of a server in this process; its arbiter is 0.9 sure of itself."""
    provider.on("arbiter", verdict("Paris", confidence=0.9))
    async with Runner(service) as runner, Client(build_server(runner)) as client:
        yield client


async def ended_run(service: ConsortiumService, provider: Provider) -> str:
    """The id of a run that has ended."""
    provider.on("arbiter", verdict("Paris", confidence=0.9))
    return (await consulted(service, "a", "b", max_iterations=1)).run_id


def command(*arguments: str) -> tuple[int, str]:
    """The exit status of a command in this process, and what it printed."""
    done = CliRunner().invoke(main, list(arguments))
    return done.exit_code, done.output


# rating


@pytest.mark.parametrize(
    ("given", "score"),
    [({"verdict": "correct"}, 1.0), ({"verdict": "wrong"}, 0.0), ({"score": 0.25}, 0.25), ({"score": 0}, 0.0)],
)
async def test_the_tool_rates_a_run(
    client: Client, provider: Provider, service: ConsortiumService, given: dict[str, Any], score: float
) -> None:
    run_id = await ended_run(service, provider)
    rated = structured(await client.call_tool("rate_run", {"run_id": run_id, "note": "So I heard.", **given}))

    assert rated == {"run_id": run_id, "score": score, "note": "So I heard."}
    assert service.store.ratings.list_newest.sync() == [Rating(run_id=run_id, score=score, note="So I heard.")]


@pytest.mark.parametrize(
    "given", [{}, {"verdict": "correct", "score": 1.0}, {"score": 1.1}, {"score": -0.1}, {"verdict": "maybe"}]
)
async def test_the_tool_refuses_a_rating_that_says_nothing_or_too_much(
    client: Client, provider: Provider, service: ConsortiumService, given: dict[str, Any]
) -> None:
    run_id = await ended_run(service, provider)
    result = await client.call_tool("rate_run", {"run_id": run_id, **given})

    assert result.is_error and service.store.ratings.list_newest.sync() == []


async def test_an_unknown_run_is_not_rated(client: Client) -> None:
    result = await client.call_tool("rate_run", {"run_id": "nope", "verdict": "correct"})

    assert result.is_error and "No run 'nope'" in said(result)


async def test_a_later_rating_replaces_the_earlier_one(
    client: Client, provider: Provider, service: ConsortiumService
) -> None:
    run_id = await ended_run(service, provider)
    for given in ("correct", "wrong"):
        await client.call_tool("rate_run", {"run_id": run_id, "verdict": given})

    assert [rating.score for rating in service.store.ratings.list_newest.sync()] == [0.0]


@pytest.mark.parametrize(("options", "score"), [(["--correct"], 1.0), (["--wrong"], 0.0), (["--score", "0.25"], 0.25)])
async def test_the_command_rates_a_run(
    provider: Provider, service: ConsortiumService, options: list[str], score: float
) -> None:
    run_id = await ended_run(service, provider)

    assert command("runs", "rate", run_id, *options, "--note", "So I heard.")[0] == 0
    assert service.store.ratings.list_newest.sync() == [Rating(run_id=run_id, score=score, note="So I heard.")]


@pytest.mark.parametrize(
    "options", [[], ["--score", "2"], ["--score", "x"], ["--correct", "--wrong"], ["--wrong", "--score", "1"]]
)
async def test_the_command_refuses_a_rating_that_says_nothing_or_too_much(
    provider: Provider, service: ConsortiumService, options: list[str]
) -> None:
    run_id = await ended_run(service, provider)

    assert command("runs", "rate", run_id, *options)[0] == 2
    assert service.store.ratings.list_newest.sync() == []


def test_the_command_says_that_there_is_no_such_run() -> None:
    status, output = command("runs", "rate", "nope", "--correct")

    assert status == 1 and "No run 'nope'" in output


# the reliability table


def rated_run(number: int, confidence: float | None, **fields: Any) -> Run:
    """An ended run."""
    iteration = Iteration(
        number=1, responses=(response(1, "x"), response(2, "x")), verdict=Verdict(synthesis="x", confidence=confidence)
    )
    ended = {"status": "converged", "answer": "x", "confidence": confidence, "selected_iteration": 1}
    return new_run(run_id=f"run{number}", iterations=[iteration], **{**ended, **fields})


def stats_of(*rated: tuple[float | None, float], **fields: Any) -> Stats:
    """The statistics of runs with these confidences and scores."""
    runs = [rated_run(number, confidence, **fields) for number, (confidence, _) in enumerate(rated)]
    return make_stats(runs, [Rating(run_id=f"run{number}", score=score) for number, (_, score) in enumerate(rated)])


def test_brier_score_and_reliability_are_as_computed_by_hand() -> None:
    (found,) = stats_of((0.95, 1), (0.95, 0), (0.8, 1), (0.6, 0.5), (0.4, 0), (1.0, 1), (0.0, 0)).calibration

    # 0.05² + 0.95² + 0.2² + 0.1² + 0.4² + 0 + 0 = 0.0025 + 0.9025 + 0.04 + 0.01 + 0.16 = 1.115
    assert found.brier == pytest.approx(1.115 / 7) and found.rated == 7
    table = [(row.confidence, row.runs, round(row.true, 3)) for row in found.reliability]
    assert table == [("0.0-0.5", 2, 0.0), ("0.5-0.7", 1, 0.5), ("0.8-0.9", 1, 1.0), ("0.9-1.0", 3, 0.667)]


def test_the_bounds_of_a_band_belong_to_the_upper_one() -> None:
    (found,) = stats_of((0.5, 1), (0.7, 1), (0.8, 1), (0.9, 1)).calibration
    assert [row.confidence for row in found.reliability] == ["0.5-0.7", "0.7-0.8", "0.8-0.9", "0.9-1.0"]


def test_a_run_without_confidence_or_rating_says_nothing_of_calibration() -> None:
    assert stats_of((None, 1)).calibration == () and make_stats([rated_run(1, 0.9)], []).calibration == ()


def test_calibration_is_told_apart_by_consortium_and_by_who_judged() -> None:
    runs = [
        rated_run(0, 0.9, consortium_name="panel"),
        rated_run(1, 0.9, consortium_name="panel"),
        rated_run(2, 0.9),
        rated_run(3, 0.9, consortium=panel(judging_method="vote")),
        rated_run(4, 0.9, consortium=panel(arbiter="other")),
    ]
    stood_in = runs[2].iterations[0].model_copy(update={"judged_by": "stand-in"})
    runs.append(rated_run(5, 0.9).model_copy(update={"iterations": (stood_in,)}))
    ratings = [Rating(run_id=run.run_id, score=1) for run in runs]

    found = [(one.consortium, one.arbiter, one.rated) for one in make_stats(runs, ratings).calibration]

    inline = "a:1, b:1"
    assert found[0] == ("panel", "judge", 2)
    assert sorted(found[1:]) == [
        (inline, "judge", 1),
        (inline, "other", 1),
        (inline, "stand-in", 1),
        (inline, "vote", 1),
    ]


# how members did


def member_run(run_id: str, *texts: str | None, answer: str, chosen: int | None = None, **fields: Any) -> Run:
    """A run in which model1, model2 … said these texts, None for a failure."""
    responses = tuple(response(place, text, duration_ms=place * 100) for place, text in enumerate(texts, start=1))
    verdict = Verdict(synthesis=answer, confidence=0.9, chosen=f"i1/m{chosen}" if chosen else None)
    ended = {"status": "converged", "answer": answer, "confidence": 0.9, "selected_iteration": 1}
    iterations = [Iteration(number=1, responses=responses, verdict=verdict)]
    return new_run(run_id=run_id, iterations=iterations, **{**ended, **fields})


def by_model(stats: Stats) -> dict[str, MemberStats]:
    return {one.model: one for one in stats.members}


def test_chosen_alone_and_wrong_are_as_counted_by_hand() -> None:
    runs = [
        member_run("right", "Answer: 7", "Answer: 7", "Answer: 8", answer="7", chosen=1),  # model3 alone and wrong
        member_run("wrong", "Answer: 7", "Answer: 8", "Answer: 8", answer="8", chosen=2),  # model2, 3 wrong; 1 alone
        member_run("unrated", "Answer: 1", "Answer: 2", "Answer: 3", answer="1", chosen=1),  # none alone
        member_run("failed", None, "Answer: 7", "Answer: 7", answer="7", chosen=2),
        member_run("two", "Answer: 7", "Answer: 8", answer="7"),  # two cannot be alone
    ]
    ratings = [Rating(run_id="right", score=1), Rating(run_id="wrong", score=0.2), Rating(run_id="two", score=0.5)]

    found = by_model(make_stats(runs, ratings))

    counts = {model: (one.responses, one.chosen, one.alone, one.wrong) for model, one in found.items()}
    assert counts == {"model1": (5, 2, 1, 0), "model2": (5, 2, 0, 2), "model3": (4, 0, 1, 2)}
    assert [found[model].error_rate for model in ("model1", "model2")] == [pytest.approx(0.2), 0.0]
    assert [found[model].mean_duration_ms for model in counts] == [100, 200, 300]


def test_a_choice_counts_only_where_it_became_the_answer() -> None:
    run = member_run("x", "Answer: 7", "Answer: 8", "Answer: 8", answer="8", chosen=1)
    other = run.iterations[0].model_copy(update={"number": 2})
    found = by_model(make_stats([run.model_copy(update={"iterations": (*run.iterations, other)})], []))
    assert found["model1"].chosen == 1


def test_late_responses_and_replays_count_for_no_member() -> None:
    run = member_run("x", "Answer: 7", "Answer: 8", answer="7", chosen=1)
    late = response(3, "Answer: 9", late=True)
    judged = run.iterations[0].model_copy(update={"responses": (*run.iterations[0].responses, late)})
    runs = [run.model_copy(update={"iterations": (judged,)}), run.model_copy(update={"run_id": "y", "replay_of": "x"})]
    counts = {model: one.responses for model, one in by_model(make_stats(runs, [])).items()}
    assert counts == {"model1": 1, "model2": 1, "model3": 0}


def test_costs_and_stated_confidence_are_as_counted_by_hand() -> None:
    late = response(1, "Answer: 7", late=True, cost_usd=0.25)
    heard = late.model_copy(update={"late": False, "stated_confidence": 0.5})
    others = (response(2, "Answer: 7", cost_usd=0.5), response(3, None), response(4, "Answer: 7", late=True))
    first = Iteration(number=1, responses=(late, *others))
    second = Iteration(number=2, responses=(heard, response(2, "Answer: 7", response_id="i2/m2", stated_confidence=1)))

    found = by_model(make_stats([new_run(iterations=[first, second])], []))

    costs = {model: (one.responses, one.cost_usd, one.unpriced) for model, one in found.items()}
    assert costs == {"model1": (1, 0.25, 0), "model2": (2, 0.5, 1), "model3": (1, None, 1), "model4": (0, None, 1)}
    assert [found[model].stated_confidence for model in costs] == [1, 0.5, None, None]
    assert list(found) == ["model2", "model1", "model3", "model4"]  # most asked first
    assert (found["model4"].error_rate, found["model4"].mean_duration_ms) == (None, None)


def test_members_are_described_with_what_is_known_of_them_and_no_more() -> None:
    first = member_run("x", "Answer: 7", None, answer="7")
    one, other = first.iterations[0].responses
    paid = one.model_copy(update={"cost_usd": 0.01234, "stated_confidence": 0.7})
    again = Iteration(number=2, responses=(one.model_copy(update={"response_id": "i2/m1"}),))
    judged = first.iterations[0].model_copy(update={"responses": (paid, other)})

    text = stats_text(make_stats([first.model_copy(update={"iterations": (judged, again)})], []))

    assert (
        "model1: 2 responses, 0% failed, 0.1 s, $0.0123 and 1 call of unknown cost, own confidence 0.70, chosen 0"
        in text
    )
    assert "model2: 1 response, 100% failed, duration unknown, cost unknown, chosen 0" in text


# through the doors


async def test_the_resource_and_the_command_tell_the_same(
    client: Client, provider: Provider, service: ConsortiumService
) -> None:
    provider.on("b", Fault.wrong_key())
    run_id = await ended_run(service, provider)
    await client.call_tool("rate_run", {"run_id": run_id, "verdict": "wrong"})

    resource = json.loads(await read(client, "consortium://stats"))
    printed = json.loads(command("stats", "--json")[1])
    text = command("stats")[1]

    assert printed == {"schema_version": 1} | resource
    (calibration,) = resource["calibration"]
    assert (calibration["arbiter"], calibration["rated"], calibration["brier"]) == ("arbiter", 1, pytest.approx(0.81))
    assert calibration["reliability"] == [{"confidence": "0.9-1.0", "runs": 1, "true": 0.0}]
    assert {one["model"]: one["error_rate"] for one in resource["members"]} == {"a": 0.0, "b": 1.0}
    assert "a:1, b:1, judged by arbiter: 1 rated, Brier score 0.810" in text
    assert "confidence 0.9-1.0: true 0.00 (1)" in text and "b: 1 response, 100% failed" in text


def test_without_ratings_the_command_says_how_to_rate() -> None:
    status, output = command("stats")

    assert status == 0 and "no run is rated yet; `consortium-mcp runs rate" in output
