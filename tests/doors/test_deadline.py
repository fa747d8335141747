"""Time: a hung member delays no other, a late response joins the next iteration, a deadline gives an answer."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio

from consortium_mcp._util.timing import Timing
from consortium_mcp.models.catalogue import load_catalogue
from consortium_mcp.records import Run
from consortium_mcp.service.service import ConsortiumService
from consortium_mcp.service.stats import load_stats
from consortium_mcp.store import run_scope
from tests.consulted import WITHOUT_WAITS, consulted, interrupt, kinds, member, performed
from tests.provider import Answer, Fault, Provider, Request, verdict
from tests.scripted import asking

OpenService = Callable[..., ConsortiumService]

HOUR = 3600.0

QUICK: dict[str, Any] = {"patience_seconds": 0.3}
"""A short limit of silence after the quorum."""


# quorum and patience


async def test_B23_a_hung_member_delays_no_other_and_the_answer_names_it(
    provider: Provider, open_service: OpenService
) -> None:
    service = open_service(call_timeout_seconds=HOUR, deadline_seconds=HOUR)
    provider.on("c", Fault.hang())
    provider.on("arbiter", verdict("of a and b"))

    run = await consulted(service, "a", "b", "c", **QUICK)

    assert (run.answer, run.status, run.iterations[0].responses[2].late) == ("of a and b", "converged", True)
    assert run.degraded == ("Late and not judged, after a long silence: c#1.",)
    assert "answer of c" not in provider.requests_to("arbiter")[0].prompt
    shown = {call.label: call for call in service.store.progress.load.sync(run.run_id).calls}
    assert shown["c#1"].state == "late" and (shown["c#1"].duration_ms or 0) > 0


async def test_a_call_that_is_no_longer_needed_is_cut_when_the_run_ends(
    provider: Provider, open_service: OpenService
) -> None:
    service = open_service(call_timeout_seconds=HOUR, deadline_seconds=HOUR)
    provider.on("c", Fault.hang())
    provider.on("arbiter", verdict())

    run = await consulted(service, "a", "b", "c", **QUICK)
    await provider.wait_until_async(lambda: provider.disconnects == 1)

    assert kinds(service, run, "i1/m3") == ["cancelled"]


async def test_without_a_quorum_the_others_are_waited_for(provider: Provider, service: ConsortiumService) -> None:
    provider.on("arbiter", verdict())
    gate = provider.gate("b")

    async def open_when_the_other_is_there() -> None:
        await provider.wait_until_async(lambda: provider.finished("a") == 1)
        await gate.wait_for_async(1)
        gate.open()

    async with anyio.create_task_group() as group:
        group.start_soon(open_when_the_other_is_there)
        run = await consulted(service, "a", "b", patience_seconds=0.001)

    assert run.degraded == () and [one.late for one in run.iterations[0].responses] == [False, False]


async def test_a_late_response_is_stored_and_stands_for_its_instance_in_the_next_iteration(
    provider: Provider, open_service: OpenService
) -> None:
    service = open_service(call_timeout_seconds=HOUR, deadline_seconds=HOUR)
    gate = provider.gate("c")

    def judge(request: Request) -> Answer:
        gate.open()
        return verdict("of three" if "answer of c" in request.prompt else "of two", confidence=0.1)

    provider.on("arbiter", judge)

    run = await consulted(service, "a", "b", "c", max_iterations=2, **QUICK)

    first, second = (iteration.responses[2] for iteration in run.iterations)
    assert run.answer == "of three" and run.degraded == ()
    assert (first.response_id, first.late, first.text) == ("i1/m3", True, "answer of c")
    assert (second.response_id, second.late, second.text) == ("i1/m3", False, "answer of c")
    assert (provider.count("c"), provider.count("a")) == (1, 2)


async def test_a_member_that_hangs_through_all_iterations_is_asked_once_and_missing_in_each(
    provider: Provider, open_service: OpenService
) -> None:
    service = open_service(call_timeout_seconds=HOUR, deadline_seconds=HOUR)
    provider.on("c", Fault.hang())
    provider.on("arbiter", lambda request: verdict(f"draft {request.model_number}", confidence=0.1))

    run = await consulted(service, "a", "b", "c", max_iterations=3, **QUICK)

    stored = service.store.runs.load.sync(run.run_id)
    (members,) = [one for one in load_stats(service.store).members if one.model == "c"]
    assert [one.responses[2].late for one in run.iterations] == [True, True, True]
    assert provider.count("c") == 1
    assert (members.responses, members.error_rate) == (1, 1.0)
    assert all(one.responses[2].duration_ms > 0 for one in (*run.iterations, *stored.iterations))
    assert run.degraded[0] == "Late and not judged, after a long silence: c#1."


# the deadline


async def test_B23_at_the_deadline_an_arbiter_that_hangs_is_not_waited_for(
    provider: Provider, service: ConsortiumService
) -> None:
    provider.on("arbiter", Fault.hang())

    run = await consulted(service, "a", "b", deadline_seconds=3)

    assert (run.status, run.answer, run.confidence) == ("deadline", "answer of a", None)
    assert run.degraded[0].startswith("The arbiter arbiter gave no verdict (No full reply within ")
    assert run.degraded[1] == "The run ended at its deadline, in iteration 1 of 3."
    assert (provider.count("arbiter"), provider.count("a")) == (1, 1)


async def test_the_status_is_deadline_also_without_a_possible_stand_in(
    provider: Provider, service: ConsortiumService
) -> None:
    provider.on("a", member("Blue.", judging=Fault.hang()))

    run = await consulted(service, "a", arbiter="a", deadline_seconds=3)

    assert (run.status, run.answer) == ("deadline", "Blue.")


async def test_where_members_hang_the_arbiter_judges_what_is_there_before_the_deadline(
    provider: Provider, service: ConsortiumService
) -> None:
    provider.on("b", Fault.hang())
    provider.on("arbiter", verdict("of a alone"))

    run = await consulted(service, "a", "b", deadline_seconds=3)

    assert (run.answer, run.confidence) == ("of a alone", 0.9)
    assert run.degraded[0].startswith("1 of 2 instances gave no response (b#1: timeout, No full reply within 2.")


async def test_a_deadline_that_comes_between_iterations_returns_the_best_so_far(
    provider: Provider, service: ConsortiumService
) -> None:
    service.timing = timing = Timing()  # of this test alone: it changes during the run
    replies = [verdict("good", confidence=0.7), verdict("worse", confidence=0.2)]

    def judge(request: Request) -> Answer:
        if request.model_number == 2:  # what is left is the arbiter's: no member can be asked again
            object.__setattr__(timing, "arbiter_share", 2.0)
            object.__setattr__(timing, "most_for_arbiter", HOUR)
        return replies[request.model_number - 1]

    provider.on("arbiter", judge)

    run = await consulted(service, "a", "b", max_iterations=5)

    assert (run.status, run.answer, run.confidence, len(run.iterations)) == ("deadline", "good", 0.7, 2)
    assert run.degraded == ("The run ended at its deadline, in iteration 2 of 5.",)
    assert provider.count("a") == 2


async def test_B23_a_deadline_before_any_response_is_a_failure_that_says_so(
    provider: Provider, service: ConsortiumService
) -> None:
    provider.on("a", Fault.hang())

    run = await consulted(service, "a", deadline_seconds=1)

    assert run.answer is None and run.status == "failed"
    assert "a#1: timeout, No full reply within 0." in (run.error or "")


async def test_a_member_cut_at_the_deadline_does_not_keep_the_arbiters_backup_from_judging(
    provider: Provider, service: ConsortiumService
) -> None:
    provider.on("b", Fault.hang())
    provider.on("arbiter", Fault.wrong_key())
    provider.on("c", verdict("judged by c"))

    run = await consulted(service, "a", "b", arbiter="arbiter|c", deadline_seconds=4)

    assert run.answer == "judged by c"


async def test_nothing_is_waited_for_beyond_the_deadline_before_a_further_attempt(
    provider: Provider, service: ConsortiumService
) -> None:
    service.timing = WITHOUT_WAITS
    provider.on("arbiter", Fault.rate_limit(30))

    run = await consulted(service, "a", "b", deadline_seconds=25)

    assert provider.count("arbiter") == 1
    assert "Try again in 30 seconds" in run.degraded[0]


async def test_a_run_that_waits_for_a_free_place_ends_at_its_deadline_all_the_same(
    provider: Provider, open_service: OpenService
) -> None:
    service = open_service(max_concurrent_calls=1)
    provider.on("arbiter", verdict())
    ended: list[Run] = []

    async with anyio.create_task_group() as group:
        gate = provider.gate("a")
        group.start_soon(consulted, service, "a")
        await gate.wait_for_async(1)
        ended.append(await consulted(service, "b", deadline_seconds=1, prompt="And this?"))
        gate.open()

    assert "b#1: timeout, The call was still queued when the run reached its deadline" in (ended[0].error or "")
    assert provider.count("b") == 0
    assert ended[0].usage.calls == 0 and service.store.journal.load_spending.sync(run_scope(ended[0].run_id)) == (
        0,
        0,
        0.0,
    )


async def test_what_a_call_waits_for_its_turn_costs_it_no_further_attempt(
    provider: Provider, open_service: OpenService
) -> None:
    service = open_service(max_concurrent_calls=1, call_timeout_seconds=1)
    service.timing = WITHOUT_WAITS
    provider.on("a", [Fault.rate_limit(), "Blue."])
    provider.on("arbiter", verdict())
    ended: list[Run] = []

    async def consult() -> None:
        ended.append(await consulted(service, "a"))

    async with anyio.create_task_group() as group:
        async with service.limits.of(load_catalogue().usable("a"))[0]:
            group.start_soon(consult)
            await anyio.sleep(1.2)  # longer than a call may take

    assert kinds(service, ended[0], "i1/m1") == ["rate_limit", None]


async def test_a_run_that_waits_for_its_turn_among_runs_ends_at_its_deadline_all_the_same(
    provider: Provider, open_service: OpenService
) -> None:
    service = open_service(max_concurrent_runs=1)
    provider.on("arbiter", verdict())
    ended: list[Run] = []

    async with anyio.create_task_group() as group:
        gate = provider.gate("a")
        group.start_soon(consulted, service, "a")
        await gate.wait_for_async(1)
        ended.append(await consulted(service, "b", deadline_seconds=0.5, prompt="And this?"))
        gate.open()

    assert ended[0].error == "The run ended at its deadline before a model could be asked."
    assert provider.count("b") == 0


async def test_a_run_that_is_resumed_days_later_has_its_whole_time_again(
    provider: Provider, service: ConsortiumService
) -> None:
    run = service.opener.open_run(asking("Why?", models=["a"], arbiter="arbiter", deadline_seconds=30))
    interrupt(service, run)
    opened = datetime.now(UTC) - timedelta(days=3)
    times = [opened.isoformat(), (opened + timedelta(seconds=30)).isoformat(), run.run_id]
    sql = "UPDATE runs SET created_utc = ?, deadline_utc = ? WHERE run_id = ?"
    service.store.database.write(lambda connection: connection.execute(sql, times) and None)
    provider.on("a", "answer of a")
    provider.on("arbiter", verdict("at last"))

    resumed = await performed(service, run.run_id)

    assert (resumed.status, resumed.answer) == ("converged", "at last")
