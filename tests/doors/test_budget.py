"""Money: limits include calls in flight, unknown prices stay unknown, a plan costs nothing, a replay pays nothing."""

import json
import os
import random
import re
import subprocess
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import llm
import pytest
from mcp_types import CallToolResult

from consortium_mcp._util.timing import Timing
from consortium_mcp.errors import InvalidConsortiumError
from consortium_mcp.models.catalogue import ModelEntry, load_catalogue
from consortium_mcp.models.local import LOCAL_MODEL_ID
from consortium_mcp.models.prices import price_usd
from consortium_mcp.records import Budget, Run
from consortium_mcp.records.consortium import define
from consortium_mcp.service.service import ConsortiumService
from consortium_mcp.service.spending import ASSUMED_OUTPUT_TOKENS
from consortium_mcp.service.stats import load_stats
from consortium_mcp.store import day_scope, run_scope
from tests.consulted import WITHOUT_WAITS, consulted, interrupt, is_judging, kinds, member, performed
from tests.provider import Answer, Fault, Provider, Reply, Request, verdict
from tests.ready import python
from tests.scripted import asking
from tests.server_process import connected, said, structured

OpenService = Callable[..., ConsortiumService]

PRICED = "gpt-4o-mini"
"""A model that the price lists know."""


@pytest.fixture
def timing() -> Timing:
    """Further attempts follow at once, unless a provider asks for a wait."""
    return WITHOUT_WAITS


@pytest.fixture
def priced(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> Provider:
    """A provider that OpenAI's own models reach, too."""
    monkeypatch.setenv("OPENAI_API_KEY", "key-of-the-tests")
    monkeypatch.setenv("OPENAI_BASE_URL", provider.url)
    provider.on(PRICED, member(Reply("Blue.", input_tokens=1_000, output_tokens=100), verdict()))
    return provider


def entry(model: str) -> ModelEntry:
    """A model as llm offers it here."""
    found = load_catalogue().find(model)
    assert found is not None
    return found


def drafts(request: Request) -> Answer:
    """An arbiter that always asks for another iteration, with a new answer each time."""
    return verdict(f"draft {request.model_number}", confidence=0.1 + request.model_number / 100)


# the day's calls


@pytest.mark.parametrize("faults", [(), (Fault.server_error(503), Fault.rate_limit())], ids=["healthy", "retried"])
async def test_200_consults_at_once_never_make_more_calls_than_the_day_allows(
    provider: Provider, open_service: OpenService, faults: tuple[Fault, ...]
) -> None:
    service = open_service(max_calls=150, max_concurrent_runs=200)
    answers: list[Answer] = [*faults, "Blue."]
    provider.on("a", lambda request: answers[request.model_number % len(answers)])
    provider.on("arbiter", verdict())
    gate = provider.gate("a", "arbiter")
    runs = [service.opener.open_run(asking(f"Question {n}", models=["a"], arbiter="arbiter")) for n in range(200)]

    async def open_when_many_are_in_flight() -> None:
        await gate.wait_for_async(service.settings.max_concurrent_calls)
        gate.open()

    async with anyio.create_task_group() as group:
        group.start_soon(open_when_many_are_in_flight)
        async with anyio.create_task_group() as consults:
            for run in runs:
                consults.start_soon(service.perform, run.run_id)
    await service.clients.aclose()

    ended = [service.store.runs.load.sync(run.run_id) for run in runs]
    calls, _, _ = service.store.journal.load_spending.sync(day_scope())
    assert (provider.count(), calls, sum(run.usage.calls for run in ended)) == (150, 150, 150)
    assert {run.status for run in ended} <= {"converged", "budget", "failed"}
    assert any("this server's budget for the day of 150 calls is used up" in str(run.error) for run in ended)


async def test_a_day_without_enough_calls_left_refuses_a_consult_before_any_call(
    provider: Provider, open_service: OpenService
) -> None:
    service = open_service(max_calls=4)
    provider.on("arbiter", verdict())
    await consulted(service, "a", "b")

    with pytest.raises(
        InvalidConsortiumError, match=r"max_calls=4 \(this server's budget for the day\), of which 1 are left"
    ):
        await consulted(service, "a", "b", prompt="And this?")

    assert provider.count() == 3 and len(service.store.runs.find.sync()) == 1


async def test_a_run_that_is_under_way_can_be_joined_when_the_day_has_no_calls_left(
    provider: Provider, open_service: OpenService
) -> None:
    service = open_service(max_calls=2)
    provider.on("arbiter", verdict())
    run = await consulted(service, "a")

    joined = service.opener.open_run(asking("Why?", models=["a"], arbiter="arbiter"), join=True)

    assert joined.run_id == run.run_id


# a run's own calls


async def test_at_its_max_calls_a_run_ends_with_the_best_answer_so_far(
    provider: Provider, service: ConsortiumService
) -> None:
    provider.on("arbiter", [verdict("good", confidence=0.7), verdict("worse", confidence=0.2)])

    run = await consulted(service, "a", "b", max_iterations=9, budget=Budget(max_calls=8))

    assert (run.status, run.answer, run.confidence) == ("budget", "good", 0.7)
    assert run.degraded == ("The run ended at its budget, in iteration 2 of 9.",)
    assert provider.count() == run.usage.calls == 6


async def test_retries_count_and_what_is_missing_for_want_of_calls_is_said(
    provider: Provider, service: ConsortiumService
) -> None:
    provider.on("a", Fault.server_error())
    provider.on("arbiter", verdict())

    run = await consulted(service, "a", "b", budget=Budget(max_calls=3))

    assert (run.status, run.answer) == ("budget", "answer of b")
    assert "Not asked: the run's budget of 3 calls is used up." in " ".join(run.degraded)
    assert provider.count() == run.usage.calls == 3


async def test_max_calls_that_cannot_pay_for_one_iteration_are_refused_before_any_call(
    provider: Provider, service: ConsortiumService
) -> None:
    with pytest.raises(InvalidConsortiumError, match=r"max_calls=2 .* 2 responses and their judging are 3 calls"):
        await consulted(service, "a", "b", budget=Budget(max_calls=2))

    assert provider.count() == 0 and service.store.runs.find.sync() == []


# tokens


async def test_max_tokens_are_never_passed_by_calls_in_flight(provider: Provider, service: ConsortiumService) -> None:
    provider.on("a", Reply("Blue.", input_tokens=50, output_tokens=5))
    provider.on("arbiter", drafts)

    run = await consulted(service, "a:4", max_iterations=50, budget=Budget(max_tokens=30_000))

    _, tokens, _ = service.store.journal.load_spending.sync(run_scope(run.run_id))
    used = (run.usage.input_tokens or 0) + (run.usage.output_tokens or 0)
    assert run.status == "budget" and run.answer is not None
    assert used == tokens <= 30_000


async def test_what_was_reserved_is_given_back_when_the_use_is_known(
    provider: Provider, service: ConsortiumService
) -> None:
    provider.on("a", [Fault.rate_limit(), Fault.server_error(), Reply("Blue.", input_tokens=10, output_tokens=2)])
    provider.on("arbiter", Reply(verdict(), input_tokens=30, output_tokens=8))

    run = await consulted(service, "a")

    assert service.store.journal.load_spending.sync(run_scope(run.run_id))[:2] == (4, 50)
    assert service.store.journal.load_spending.sync(day_scope())[:2] == (4, 50)


async def test_a_reservation_stays_spent_if_the_usage_is_unknown(
    provider: Provider, service: ConsortiumService
) -> None:
    provider.on("a", Reply("Blue.", reports_usage=False))
    provider.on("arbiter", Reply(verdict(), input_tokens=30, output_tokens=8))

    run = await consulted(service, "a")

    assert service.store.journal.load_spending.sync(run_scope(run.run_id))[1] > 4_096


async def test_a_check_of_the_order_that_the_budget_refuses_takes_nothing_from_the_verdict(
    provider: Provider, service: ConsortiumService
) -> None:
    provider.on("arbiter", verdict("Blue.", confidence=0.78))

    run = await consulted(service, "a", "b", max_iterations=1, budget=Budget(max_calls=3))

    assert (run.status, run.answer, run.degraded, run.usage.calls) == ("exhausted", "Blue.", (), 3)
    assert run.iterations[0].measures and run.iterations[0].measures.order_held is None


# dollars


async def test_a_known_price_is_charged_and_the_limit_in_dollars_holds(
    priced: Provider, service: ConsortiumService
) -> None:
    priced.on(PRICED, member(Reply("Blue.", "stop", 1_000, 100), drafts))
    limit = 0.01

    run = await consulted(service, PRICED, arbiter=PRICED, max_iterations=50, budget=Budget(max_cost_usd=limit))

    _, _, spent = service.store.journal.load_spending.sync(run_scope(run.run_id))
    assert run.status == "budget" and run.answer is not None
    assert run.usage.cost_usd == pytest.approx(spent) and 0 < spent <= limit


async def test_a_limit_in_dollars_below_one_call_is_refused_before_anything_is_opened(
    priced: Provider, service: ConsortiumService
) -> None:
    least = price_usd(entry(PRICED), 50 + len("Why?") // 2, 4_096)
    assert least is not None

    with pytest.raises(InvalidConsortiumError, match="cannot pay for one response"):
        await consulted(service, PRICED, arbiter=PRICED, budget=Budget(max_cost_usd=least * 0.99))
    assert (priced.count(PRICED), service.store.runs.find.sync()) == (0, [])


async def test_the_cost_of_a_run_is_that_of_its_tokens(priced: Provider, service: ConsortiumService) -> None:
    priced.on(PRICED, member(Reply("Blue.", "stop", 1_000, 100), Reply(verdict(), "stop", 500, 50)))

    run = await consulted(service, PRICED, arbiter=PRICED)

    assert run.usage.cost_usd == pytest.approx(price_usd(entry(PRICED), 1_500, 150))


async def test_a_request_that_was_refused_costs_nothing(priced: Provider, service: ConsortiumService) -> None:
    asked: Iterator[Answer] = iter([Fault.rate_limit(), Fault.server_error(), Reply("Blue.", "stop", 1_000, 100)])
    priced.on(PRICED, member(lambda request: next(asked), Reply(verdict(), "stop", 500, 50)))

    run = await consulted(service, PRICED, arbiter=PRICED)

    assert run.usage.calls == 4
    assert run.usage.cost_usd == pytest.approx(price_usd(entry(PRICED), 1_500, 150))


async def test_the_cost_is_unknown_when_a_call_was_cut_that_may_have_cost_something(
    priced: Provider, service: ConsortiumService
) -> None:
    asked: Iterator[Answer] = iter([Fault.reset_mid_stream(), Reply("Blue.", "stop", 1_000, 100)])
    priced.on(PRICED, member(lambda request: next(asked), verdict()))

    run = await consulted(service, PRICED, arbiter=PRICED)

    assert (kinds(service, run, "i1/m1"), run.usage.cost_usd) == (["network", None], None)


async def test_what_a_failed_attempt_used_counts_in_every_figure(priced: Provider, service: ConsortiumService) -> None:
    priced.on(PRICED, member(Reply("No.", "content_filter", 1_000, 500), Reply(verdict(), "stop", 20, 10)))
    priced.on("a", Reply("Blue.", "stop", 10, 5))

    run = await consulted(service, f"{PRICED}|a", arbiter=PRICED, max_iterations=1)

    assert kinds(service, run, "i1/m1") == ["content_filter", None]
    assert (run.usage.calls, run.usage.input_tokens, run.usage.output_tokens) == (3, 1_030, 515)


async def test_an_unknown_price_is_unknown_and_not_nothing(priced: Provider, service: ConsortiumService) -> None:
    priced.on("arbiter", verdict())

    run = await consulted(service, PRICED, "a")

    assert run.usage.cost_usd is None and service.store.runs.load.sync(run.run_id).usage.cost_usd is None


async def test_statistics_say_what_each_member_cost_without_the_judging(
    priced: Provider, service: ConsortiumService
) -> None:
    asked: Iterator[Answer] = iter([Fault.reset_mid_stream(), "Blue.", Reply("Blue.", "stop", 1_000, 100)])
    priced.on(PRICED, member(lambda request: next(asked), Reply(verdict(), "stop", 500, 50)))
    for _ in range(2):
        await consulted(service, PRICED, "a", arbiter=PRICED)

    found = {one.model: (one.cost_usd, one.unpriced) for one in load_stats(service.store).members}

    assert found == {PRICED: (pytest.approx(price_usd(entry(PRICED), 1_000, 100)), 1), "a": (None, 2)}


async def test_a_limit_in_dollars_with_an_unknown_price_asks_for_max_calls_before_any_call(
    priced: Provider, service: ConsortiumService
) -> None:
    with pytest.raises(InvalidConsortiumError, match=r"price of a, arbiter is unknown. Limit max_calls instead"):
        await consulted(service, PRICED, "a", budget=Budget(max_cost_usd=1))

    assert priced.count() == 0 and service.store.runs.find.sync() == []


async def test_a_days_limit_in_dollars_with_an_unknown_price_is_refused_before_any_call(
    provider: Provider, open_service: OpenService
) -> None:
    with pytest.raises(InvalidConsortiumError, match=r"budget for the day.*price of a, arbiter is unknown"):
        await consulted(open_service(max_cost_usd=1), "a")

    assert provider.count() == 0


def test_the_embedded_model_costs_nothing() -> None:
    assert price_usd(entry(LOCAL_MODEL_ID), 1_000, 1_000) == 0


# plans


async def test_a_plan_makes_no_call_and_writes_no_run(priced: Provider, service: ConsortiumService) -> None:
    plan = service.opener.plan(asking("Why?", models=[f"{PRICED}:2"], arbiter=PRICED, max_iterations=2))

    assert plan.problems == () and (plan.min_calls, plan.max_calls) == (3, 12)
    assert plan.cost_usd is not None and 0 < plan.cost_usd[0] < plan.cost_usd[1]
    assert plan.tokens[0] < plan.tokens[1]
    assert priced.count() == 0 and service.store.runs.find.sync() == []


class Talkative(llm.AsyncModel):
    """A model whose option for the longest reply has a name of its own."""

    model_id = "talkative"

    class Options(llm.Options):
        num_predict: int | None = None

    async def execute(self, prompt: Any, stream: bool, response: Any, conversation: Any) -> AsyncGenerator[str, None]:
        yield "Blue."


@pytest.mark.parametrize(("longest", "is_asked"), [(20_000, False), (2_000, True), (None, True)])
async def test_the_reply_that_a_call_may_have_is_reserved_whatever_the_option_for_it_is_called(
    provider: Provider, service: ConsortiumService, add_model: Callable[..., None], longest: int | None, is_asked: bool
) -> None:
    add_model(None, Talkative())
    provider.on("arbiter", verdict())
    options = {} if longest is None else {"num_predict": longest}
    asked = define(members=[{"model": "talkative", "options": options}, {"model": "a"}])

    run = await consulted(service, consortium=asked, budget=Budget(max_tokens=20_000), max_iterations=1)

    assert run.iterations[0].responses[0].ok is is_asked


@pytest.mark.usefixtures("priced")
@pytest.mark.parametrize(
    ("text", "heard_by"), [("system_prompt", 2), ("own_answer", 1)], ids=["member and arbiter", "arbiter"]
)
async def test_a_plan_counts_every_text_that_is_paid_for(text: str, heard_by: int, service: ConsortiumService) -> None:
    asked: dict[str, Any] = {"models": [PRICED], "arbiter": PRICED, "max_iterations": 1}
    terms: dict[str, Any] = {text: "four" * 10_000}

    bare, with_text = service.opener.plan(asking("?", **asked)), service.opener.plan(asking("?", **asked, **terms))

    assert with_text.cost_usd is not None and bare.cost_usd is not None
    for least_or_most in (0, 1):
        assert with_text.tokens[least_or_most] - bare.tokens[least_or_most] > heard_by * 9_900
        assert with_text.cost_usd[least_or_most] > bare.cost_usd[least_or_most]


async def test_a_plans_upper_bound_has_every_question_to_the_arbiter(
    provider: Provider, service: ConsortiumService
) -> None:
    unreadable, close = verdict("Paris", confidence="?"), verdict("Paris", confidence=0.8)
    provider.on("arbiter", [unreadable, close, unreadable, close])
    asked: dict[str, Any] = {"models": ["a", "b"], "arbiter": "arbiter", "max_iterations": 1}

    plan = service.opener.plan(asking("?", **asked))
    await consulted(service, "a", "b", prompt="?", max_iterations=1)

    assert provider.count("arbiter") == 4 and provider.count() == plan.max_calls == 6


@pytest.mark.usefixtures("priced", "local_weights")
async def test_a_plans_upper_bound_has_the_dearest_backup(service: ConsortiumService) -> None:
    alone, with_backup = [
        service.opener.plan(asking("?", models=[models], arbiter=PRICED, max_iterations=1))
        for models in ("consortium-local", f"consortium-local|{PRICED}")
    ]

    assert alone.cost_usd is not None and with_backup.cost_usd is not None
    assert with_backup.cost_usd[0] == alone.cost_usd[0] and with_backup.cost_usd[1] > alone.cost_usd[1]


@pytest.mark.parametrize(
    ("limit", "spent", "says"),
    [
        ({"max_tokens": 1_000}, {"tokens": 1_000}, "max_tokens=1000 (this server's budget for the day) is used up"),
        ({"max_cost_usd": 0.5}, {"cost_usd": 0.6}, "max_cost_usd=0.50 (this server's budget for the day) is used up"),
    ],
)
def test_a_budget_of_the_day_that_is_used_up_is_said_before_a_run_is_opened(
    priced: Provider, open_service: OpenService, limit: dict[str, Any], spent: dict[str, Any], says: str
) -> None:
    service = open_service(**limit)
    row = {"scope": day_scope(), "calls": 1, "tokens": 0, "cost_usd": 0.0, "unpriced": 0, **spent}
    insert = f"INSERT INTO spending ({', '.join(row)}) VALUES ({', '.join(f':{name}' for name in row)})"
    service.store.database.write(lambda connection: connection.execute(insert, row) and None)

    with pytest.raises(InvalidConsortiumError, match=re.escape(says)):
        service.opener.open_run(asking("?", models=[PRICED], arbiter=PRICED))

    assert service.store.runs.find.sync() == [] and priced.count() == 0


@pytest.mark.usefixtures("priced")
async def test_a_plans_upper_bound_has_the_arbiter_read_long_responses(service: ConsortiumService) -> None:
    one, two = [
        service.opener.plan(asking("?", models=[f"{PRICED}:{count}"], arbiter=PRICED, max_iterations=1))
        for count in (1, 2)
    ]

    assert two.tokens[1] - one.tokens[1] >= 2 * ASSUMED_OUTPUT_TOKENS  # written, and read by the arbiter


@pytest.mark.usefixtures("provider")
async def test_a_plan_lists_everything_that_would_stop_it(open_service: OpenService) -> None:
    service = open_service(max_calls=1, allowed_models="a,b,nobody")
    budget = Budget(max_calls=2, max_cost_usd=1)

    plan = service.opener.plan(asking(" ", budget=budget, models=["nobody", "b", "c"], arbiter="arbiter"))

    shown = "\n".join(plan.problems)
    for problem in (
        "no model 'nobody'",
        "'c' is not allowed here",
        "'arbiter' is not allowed here",
        "The prompt is empty.",
        "max_calls=2 (the run's budget)",
        "max_calls=1 (this server's budget for the day)",
    ):
        assert problem in shown


async def test_a_plan_says_that_a_price_is_unknown(provider: Provider, service: ConsortiumService) -> None:
    plan = service.opener.plan(asking("Why?", budget=Budget(max_cost_usd=1), models=["a"], arbiter="arbiter"))

    assert plan.cost_usd is None and [row.priced for row in plan.calls] == [False, False]
    assert "Limit max_calls instead" in plan.problems[0]


async def test_a_client_gets_the_plan_and_the_limits(priced: Provider, tmp_path: Path) -> None:
    refused: CallToolResult
    arguments = {"prompt": "?", "models": [PRICED, "a"], "arbiter": PRICED}
    async with connected("auto", tmp_path / "stderr") as client:
        dry = await client.call_tool("consult_consortium", {**arguments, "dry_run": True, "max_cost_usd": 1})
        refused = await client.call_tool("consult_consortium", {**arguments, "max_cost_usd": 1})
        listed = structured(await client.call_tool("list_runs", {}))

    assert structured(dry)["run_id"] is None and "price of a is unknown" in structured(dry)["plan"]["problems"][0]
    assert "It cannot run: max_cost_usd" in said(dry)
    assert refused.is_error and "Limit max_calls instead" in said(refused)
    assert (priced.count(), listed["runs"]) == (0, [])


def test_the_command_prints_the_plan(priced: Provider, service: ConsortiumService) -> None:
    arguments = ["consult", "?", "-m", f"{PRICED}:2", "--arbiter", PRICED, "--max-calls", "2", "--dry-run", "--json"]

    done = subprocess.run(
        python("-m", "consortium_mcp", *arguments), capture_output=True, text=True, env=dict(os.environ)
    )

    plan = json.loads(done.stdout)
    assert (plan["min_calls"], len(plan["problems"])) == (3, 1)
    assert priced.count() == 0 and service.store.runs.find.sync() == []


# whatever happens


FAULTS = (
    Fault.rate_limit(),
    Fault.server_error(503),
    Fault.wrong_key(),
    Fault.empty(),
    Fault.garbage(),
    Fault.reset_mid_stream(),
    Fault.truncated(),
    Fault.context_length(),
)


def chance(seed: int, name: str) -> Callable[[Request], Answer]:
    """A model whose answers are faults half of the time; the same seed gives the same ones."""

    def answer(request: Request) -> Answer:
        dice = random.Random(f"{seed}/{name}/{request.model_number}")
        if dice.random() < 0.5:
            return dice.choice(FAULTS)
        judged = verdict(f"draft {request.model_number} of {name}", confidence=dice.random())
        return judged if is_judging(request) else f"answer {request.model_number} of {name}"

    return answer


async def outcome(service: ConsortiumService, run: Run) -> tuple[Run, str]:
    """The ended run, and the part of it that a replay must repeat."""
    ended = await performed(service, run.run_id)
    same = ended.model_dump_json(exclude={"ended_utc", "deadline_utc"})
    return ended, same


@pytest.mark.parametrize("seed", range(12))
async def test_limits_hold_and_a_replay_of_the_journal_asks_no_model_and_gives_the_same_answer(
    provider: Provider, service: ConsortiumService, seed: int
) -> None:
    dice = random.Random(seed)
    for name in ("a", "b", "c", "arbiter"):
        provider.on(name, chance(seed, name))
    budget = Budget(max_calls=dice.choice([None, 4, 5, 7, 11]))
    models = dice.choice([["a", "b", "c"], ["a|b", "b|c", "c"], ["a:2", "b|a"]])
    arbiter = dice.choice(["arbiter", "arbiter|c"])
    run = service.opener.open_run(asking("Why?", models=models, arbiter=arbiter, max_iterations=3, budget=budget))

    first, said_first = await outcome(service, run)
    asked = provider.count()
    interrupt(service, first)
    _, said_again = await outcome(service, run)

    calls, _, _ = service.store.journal.load_spending.sync(run_scope(run.run_id))
    assert asked == calls == first.usage.calls <= (budget.max_calls or asked)
    assert provider.count() == asked
    assert said_again == said_first
