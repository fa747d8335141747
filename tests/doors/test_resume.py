"""Killed runs are resumed from their stored state: no finished call is repeated, and one process has each run."""

import json
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from consortium_mcp._util.timing import Timing
from consortium_mcp.errors import NotFoundError
from consortium_mcp.records import Budget, CallResult, Run, Usage
from consortium_mcp.service.runner import Runner
from consortium_mcp.service.service import ConsortiumService
from consortium_mcp.store import Store
from tests.consulted import performed
from tests.doors.test_cli import run_command
from tests.in_process import in_process
from tests.provider import Provider, Request, verdict
from tests.scripted import asking
from tests.server_process import connected, read, said, structured

pytestmark = pytest.mark.timeout(300)  # twenty stories are told before the first test; a busy machine takes two minutes

MEMBERS = ("a", "b", "c", "d")
ITERATIONS = 3
CALLS = (len(MEMBERS) + 1) * ITERATIONS

MOMENTS = [(event, number) for event in ("asked", "answered", "stored") for number in range(1, CALLS + 1)]
"""When a process is killed: as a request arrives, as the last byte of an answer is sent, as an answer is stored."""

KILLED = sorted(random.Random(20).sample(MOMENTS, 20), key=MOMENTS.index)

WAYS = ("resume", "resume", "resume", "get_run", "auto")
"""The ways to resume a run, in turn: `runs resume`, a server's get_run, a server with CONSORTIUM_RESUME=auto."""

ONCE: dict[str, Any] = {"max_iterations": 1, "arbiter": "arbiter"}


def start(*arguments: str, program: Sequence[str] = ("-m", "consortium_mcp")) -> "subprocess.Popen[str]":
    """`consortium-mcp …` in a process of its own, with this test's environment."""
    pipe = subprocess.PIPE
    command = [sys.executable, *program, *arguments]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True)


def ran(*arguments: str) -> tuple[int, str, str]:
    """`consortium-mcp …`, once it has ended."""
    done = run_command(*arguments)
    return done.returncode, done.stdout, done.stderr


def ended(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    """Its exit status, stdout and stderr, once it has ended."""
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def consult_command(prompt: str, *options: str) -> list[str]:
    named = [part for model in MEMBERS for part in ("-m", model)]
    return ["consult", prompt, *named, "--arbiter", "arbiter", *options]


def rows(path: Path, sql: str, *values: object) -> list[sqlite3.Row]:
    """What another program reads in the database."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.row_factory = sqlite3.Row
        return connection.execute(sql, values).fetchall()


def let_time_pass(path: Path, run_id: str | None = None) -> None:
    """Let the leases of killed processes expire, by a write to the file instead of a wait of 30 s."""
    which = "run_id = ?" if run_id else "?1 IS NULL"
    rows(path, f"UPDATE runs SET lease_until = 1 WHERE status = 'running' AND {which}", run_id)


def run_of(path: Path, prompt: str) -> str:
    (row,) = rows(path, "SELECT run_id FROM runs WHERE prompt = ?", prompt)
    return str(row["run_id"])


# kill -9 at 20 moments


@dataclass(frozen=True)
class Story:
    """One run that was killed and resumed."""

    done_before: dict[str, str]
    """The text of each call whose answer was stored when the process was killed."""

    asked_before: list[tuple[str, Request]]
    """The provider's requests up to then, with the call's id."""

    asked_after: list[tuple[str, Request]]
    """The provider's requests after that."""

    questions: dict[str, str]
    """The prompt of each call in the journal, at the end."""

    record: Run
    """The run, at the end."""


def iteration_of(request: Request) -> int:
    """The iteration of a question: members read the last synthesis, the arbiter the members' responses."""
    said_before = re.findall(r"synthesis (\d)", request.prompt)
    if request.model == "arbiter":
        return max(map(int, re.findall(r"says in iteration (\d)", request.prompt)))
    return max(map(int, said_before), default=0) + 1


def call_id(request: Request) -> str:
    place = f"m{MEMBERS.index(request.model) + 1}" if request.model in MEMBERS else "arbiter"
    return f"i{iteration_of(request)}/{place}"


def answer(request: Request) -> str:
    """The answer, which depends only on the question."""
    number = iteration_of(request)
    if request.model in MEMBERS:
        return f"{request.model} says in iteration {number}"
    return verdict(f"synthesis {number}", confidence=0.4 + number / 10, needs_iteration=True)


def prompt_of(moment: tuple[str, int]) -> str:
    return f"Why, when {moment[1]:02} were {moment[0]}?"


class Killing:
    """Starts runs, kills them at their moments, and resumes them."""

    def __init__(self, provider: Provider, folder: Path) -> None:
        self.provider = provider
        self.path = folder / "llm" / "consortium.db"
        self.errors = folder / "stderr"

    def requests(self, prompt: str) -> list[tuple[str, Request]]:
        return [(call_id(request), request) for request in self.provider.requests if prompt in request.prompt]

    def has_come(self, moment: tuple[str, int]) -> bool:
        event, number = moment
        seen = self.provider.requests if event == "asked" else self.provider.answered()
        return sum(prompt_of(moment) in request.prompt for request in seen) >= number

    def kill(self, moment: tuple[str, int]) -> None:
        process = start(*consult_command(prompt_of(moment)))
        if moment[0] == "stored":
            self.provider.wait_until(lambda: bool(self.requests(prompt_of(moment))), timeout=60)
            while len(self.stored(prompt_of(moment))) < moment[1]:
                assert process.poll() is None
        else:
            self.provider.wait_until(lambda: self.has_come(moment), timeout=60)
        process.kill()
        ended(process)

    def stored(self, prompt: str) -> dict[str, str]:
        sql = "SELECT call_id, text FROM calls JOIN runs USING (run_id) WHERE prompt = ? AND state = 'done'"
        return {row["call_id"]: row["text"] for row in rows(self.path, sql, prompt)}

    def questions(self, prompt: str) -> dict[str, str]:
        sql = (
            "SELECT call_id, questions.prompt AS asked FROM calls JOIN runs USING (run_id) "
            "JOIN questions USING (question_id) WHERE runs.prompt = ?"
        )
        return {row["call_id"]: row["asked"] for row in rows(self.path, sql, prompt)}

    def go_on(self, moments: dict[str, list[tuple[str, int]]]) -> None:
        let_time_pass(self.path)
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(self._by_command, moments["resume"]))
        anyio.run(self._by_get_run, moments["get_run"])
        anyio.run(self._by_auto, moments["auto"])

    def _by_command(self, moment: tuple[str, int]) -> None:
        assert ran("runs", "resume", run_of(self.path, prompt_of(moment)))[:2] == (0, "synthesis 3\n")

    async def _by_get_run(self, moments: list[tuple[str, int]]) -> None:
        async with connected("auto", self.errors) as client:
            for moment in moments:
                run_id = run_of(self.path, prompt_of(moment))
                result = await client.call_tool("get_run", {"run_id": run_id, "wait_seconds": 60})
                assert structured(result)["answer"] == "synthesis 3"

    async def _by_auto(self, moments: list[tuple[str, int]]) -> None:
        last = f"i{ITERATIONS}/arbiter"

        def all_are_asked() -> bool:
            return all(last in dict(self.requests(prompt_of(moment))) for moment in moments)

        async with connected("auto", self.errors, CONSORTIUM_RESUME="auto") as client:
            await self.provider.wait_until_async(all_are_asked)  # without any get_run, which goes on with runs too
            for moment in moments:
                run_id = run_of(self.path, prompt_of(moment))
                result = await client.call_tool("get_run", {"run_id": run_id, "wait_seconds": 60})
                assert structured(result)["answer"] == "synthesis 3"


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[str, int], Story]]:
    """Each killed run, and under ("never", 0) one that was not killed."""
    folder = tmp_path_factory.mktemp("killed")
    with pytest.MonkeyPatch.context() as environment, Provider() as provider:
        environment.setenv("LLM_USER_PATH", str(provider.write_llm_config(folder / "llm", MEMBERS, schema=["arbiter"])))
        for model in (*MEMBERS, "arbiter"):
            provider.on(model, answer)
        killing = Killing(provider, folder)
        never = ("never", 0)
        assert ended(start(*consult_command(prompt_of(never))))[0] == 0
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(killing.kill, KILLED))
        before = {moment: (killing.stored(prompt_of(moment)), killing.requests(prompt_of(moment))) for moment in KILLED}
        killing.go_on({way: [one for n, one in enumerate(KILLED) if WAYS[n % len(WAYS)] == way] for way in WAYS})
        yield {moment: _story(killing, moment, *before.get(moment, ({}, []))) for moment in (never, *KILLED)}


def _story(
    killing: Killing, moment: tuple[str, int], done: dict[str, str], asked_before: list[tuple[str, Request]]
) -> Story:
    prompt = prompt_of(moment)
    with closing(Store(killing.path)) as store:
        record = store.runs.load.sync(run_of(killing.path, prompt))
    asked_after = killing.requests(prompt)[len(asked_before) :]
    return Story(done, asked_before, asked_after, killing.questions(prompt), record)


at_each_moment = pytest.mark.parametrize("moment", KILLED, ids=[f"{event}-{number}" for event, number in KILLED])


@at_each_moment
def test_after_kill_9_no_finished_call_is_made_again(
    stories: dict[tuple[str, int], Story], moment: tuple[str, int]
) -> None:
    story = stories[moment]
    again = Counter(call for call, _ in story.asked_after)

    assert (set(again) & set(story.done_before), set(again.values()) - {1}) == (set(), set())


@at_each_moment
def test_after_kill_9_every_stored_response_is_in_the_record(
    stories: dict[tuple[str, int], Story], moment: tuple[str, int]
) -> None:
    story = stories[moment]
    responses: dict[str, str | None] = {
        one.response_id: one.text for each in story.record.iterations for one in each.responses
    }
    verdicts = {f"i{each.number}/arbiter": each.raw_verdict for each in story.record.iterations}

    assert story.done_before.items() <= {**responses, **verdicts}.items()
    assert len(responses) == len(MEMBERS) * ITERATIONS and None not in responses.values()


@at_each_moment
def test_after_kill_9_the_questions_are_the_same(
    stories: dict[tuple[str, int], Story], moment: tuple[str, int]
) -> None:
    story = stories[moment]
    asked = [(call, request.prompt) for call, request in (*story.asked_before, *story.asked_after)]
    never = stories["never", 0].questions
    fences = story.record.fence_token, stories["never", 0].record.fence_token
    as_never = {
        call: question.replace(prompt_of(moment), prompt_of(("never", 0))).replace(*fences)
        for call, question in story.questions.items()
        if not call.endswith("/arbiter")  # the arbiter's fence and order are each run's own
    }

    assert all(story.questions[call] == prompt for call, prompt in asked)
    assert as_never.items() <= never.items() and len(story.questions) == CALLS


@at_each_moment
def test_after_kill_9_the_answer_is_that_of_a_run_that_was_left_alone(
    stories: dict[tuple[str, int], Story], moment: tuple[str, int]
) -> None:
    def outcome(run: Run) -> tuple[object, ...]:
        return run.status, run.answer, run.confidence, run.selected_iteration, run.degraded, run.error

    assert outcome(stories[moment].record) == outcome(stories["never", 0].record)


def test_the_kills_met_calls_in_flight_and_calls_that_were_done(stories: dict[tuple[str, int], Story]) -> None:
    done = [len(stories[moment].done_before) for moment in KILLED]

    assert min(done) < len(MEMBERS) and max(done) >= CALLS - 1 and len(set(done)) >= 5


# one process has each run


@pytest.fixture
def interrupted(provider: Provider, service: ConsortiumService, path: Path) -> str:
    """A run that was opened, and whose process was killed before its first call."""
    provider.on("arbiter", verdict("Paris"))
    opened = service.opener.open_run(asking("Capital?", models=list(MEMBERS), **ONCE))
    let_time_pass(path)
    return opened.run_id


def test_of_many_that_claim_a_run_at_once_exactly_one_gets_it(path: Path, interrupted: str) -> None:
    stores = [Store(path) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        deadline = "2030-01-01T00:00:00.000+00:00"
        claimed = list(pool.map(lambda n: stores[n].leases.claim.sync(interrupted, f"owner {n}", deadline), range(8)))
    for store in stores:
        store.close()

    assert sum(claimed) == 1


def test_two_processes_that_resume_a_run_make_each_call_once(provider: Provider, interrupted: str) -> None:
    gate = provider.gate(*MEMBERS)
    processes = [start("runs", "resume", interrupted) for _ in range(2)]
    gate.wait_for(len(MEMBERS))
    gate.open()

    assert [ended(process)[:2] for process in processes] == [(0, "Paris\n")] * 2
    assert provider.count() == len(MEMBERS) + 1


def test_resuming_a_run_that_another_process_works_on_waits_for_its_answer(
    provider: Provider, path: Path, interrupted: str
) -> None:
    gate = provider.gate(*MEMBERS)
    first = start("runs", "resume", interrupted)
    gate.wait_for(len(MEMBERS))
    second = start("runs", "resume", interrupted)
    while not has_opened(second, path):
        assert second.poll() is None
    gate.open()

    assert [ended(process)[:2] for process in (first, second)] == [(0, "Paris\n")] * 2
    assert provider.count() == len(MEMBERS) + 1


def hold_until(path: Path, run_id: str, moment: float) -> None:
    rows(path, "UPDATE runs SET owner = 'killed', lease_until = ? WHERE run_id = ?", moment, run_id)


def test_a_run_whose_process_died_just_now_is_gone_on_with_when_that_would_have_lost_it(
    provider: Provider, path: Path, interrupted: str
) -> None:
    hold_until(path, interrupted, 9e9)
    process = start("runs", "resume", interrupted)
    assert process.stderr is not None
    told = process.stderr.readline()
    let_time_pass(path)
    status, out, _ = ended(process)

    assert f"Another process works on {interrupted}; this command follows it. " in told
    assert (status, out) == (0, "Paris\n")


def test_cancelling_ends_an_interrupted_run_at_once_and_says_if_it_has_already_ended(
    provider: Provider, interrupted: str
) -> None:
    said = [ended(start("runs", "cancel", interrupted)) for _ in range(2)]

    assert [one[:2] for one in said] == [
        (0, f"{interrupted} has ended (cancelled).\n"),
        (0, f"{interrupted} had already ended (cancelled).\n"),
    ]
    as_json = json.loads(ran("runs", "cancel", interrupted, "--json")[1])
    assert as_json == {"schema_version": 1, "run_id": interrupted, "status": "cancelled", "held_until": None}


def test_cancelling_a_run_that_is_held_says_what_to_do_where_its_process_has_died(path: Path, interrupted: str) -> None:
    hold_until(path, interrupted, time.time() + 1000)

    status, out, _ = ran("runs", "cancel", interrupted)
    as_json = json.loads(ran("runs", "cancel", interrupted, "--json")[1])

    assert (as_json["run_id"], as_json["status"]) == (interrupted, "running") and as_json["held_until"] is not None
    assert (
        status == 0
        and f"Asked {interrupted} to stop; " in out
        and "If that process has died, cancel the run again after " in out
    )


def has_opened(process: "subprocess.Popen[str]", path: Path) -> bool:
    """Whether a process has opened a file."""
    for descriptor in Path(f"/proc/{process.pid}/fd").iterdir():
        with suppress(OSError):  # it has closed this one meanwhile
            if descriptor.readlink() == path:
                return True
    return False


async def test_two_runners_in_one_process_that_resume_a_run_make_each_call_once(
    provider: Provider,
    interrupted: str,
    open_service: Callable[..., ConsortiumService],
) -> None:
    one_service, other_service = open_service(), open_service()
    one_service.timing = other_service.timing = Timing(heartbeat=0.05)  # how soon one process knows of the other's end
    gate = provider.gate(*MEMBERS)
    answers: list[str | None] = []

    async def resume(runner: Runner) -> None:
        runner.submit(interrupted)
        async for _ in runner.follow(interrupted, 60):
            pass
        answers.append((await runner.load(interrupted)).answer)

    async with (
        Runner(one_service) as one,
        Runner(other_service) as other,
        anyio.create_task_group() as group,
    ):
        group.start_soon(resume, one)
        group.start_soon(resume, other)
        await gate.wait_for_async(len(MEMBERS))
        gate.open()

    assert (answers, provider.count()) == (["Paris"] * 2, len(MEMBERS) + 1)


@asynccontextmanager
async def stopped(provider: Provider, path: Path, *held: str) -> AsyncIterator["subprocess.Popen[str]"]:
    """A process that is suspended, as on a laptop, while its requests to some models are answered; then it continues.

    Its lease expires meanwhile. Within the block, the gate before those models is open.
    """
    gate = provider.gate(*held)
    process = start(*consult_command("Capital?", "--max-iterations", "1"))
    await gate.wait_for_async(len(held))
    process.send_signal(signal.SIGSTOP)
    let_time_pass(path)
    gate.open()
    yield process
    process.send_signal(signal.SIGCONT)


def test_a_run_whose_model_is_gone_stays_interrupted_and_says_why_until_it_is_back(
    provider: Provider, interrupted: str, llm_home: Path
) -> None:
    provider.write_llm_config(llm_home, ["arbiter", *MEMBERS[1:]], schema=["arbiter"])
    first = ran("runs", "resume", interrupted)
    provider.write_llm_config(llm_home, ["arbiter", *MEMBERS], schema=["arbiter"])
    second = ran("runs", "resume", interrupted)

    assert first[:2] == (1, "") and "llm knows no model 'a'" in first[2] and "Traceback" not in first[2]
    assert second[:2] == (0, "Paris\n") and provider.count() == len(MEMBERS) + 1


async def test_a_client_is_told_why_a_run_cannot_go_on_and_it_goes_on_when_it_can(
    provider: Provider, interrupted: str, open_service: Callable[..., ConsortiumService], llm_home: Path
) -> None:
    provider.write_llm_config(llm_home, ["arbiter", *MEMBERS[1:]], schema=["arbiter"])
    async with in_process("auto", open_service()) as client:
        first = await client.call_tool("get_run", {"run_id": interrupted, "wait_seconds": 60})
        provider.write_llm_config(llm_home, ["arbiter", *MEMBERS], schema=["arbiter"])
        second = structured(await client.call_tool("get_run", {"run_id": interrupted, "wait_seconds": 60}))

    assert "llm knows no model 'a'" in said(first)
    assert second["answer"] == "Paris"


def without_usage(run: Run) -> Run:
    """The run without its usage, to which a process that lost its lease adds its own requests."""
    return run.model_copy(update={"usage": Usage()})


async def test_a_process_that_lost_its_lease_overwrites_nothing(
    provider: Provider, path: Path, service: ConsortiumService
) -> None:
    provider.on("arbiter", lambda request: verdict(f"verdict {request.model_number}"))
    async with stopped(provider, path, "arbiter") as process:
        record = await performed(service, run_of(path, "Capital?"))
    woken = ended(process)

    assert record.answer == "verdict 2" and woken[:2] == (0, "verdict 2\n")
    assert without_usage(service.store.runs.load.sync(record.run_id)) == without_usage(record)


async def test_a_process_that_lost_its_lease_asks_no_further_model(
    provider: Provider, path: Path, service: ConsortiumService
) -> None:
    provider.on("arbiter", verdict("Paris"))
    for model in MEMBERS:
        provider.on(model, lambda request: f"text {request.model_number}")
    async with stopped(provider, path, *MEMBERS) as process:
        record = await performed(service, run_of(path, "Capital?"))
    woken = ended(process)

    assert woken[:2] == (0, "Paris\n")
    assert without_usage(service.store.runs.load.sync(record.run_id)) == without_usage(record)
    assert provider.count("arbiter") == 1


async def test_what_a_process_without_its_lease_was_answered_first_is_used(
    provider: Provider, path: Path, service: ConsortiumService
) -> None:
    run = service.opener.open_run(asking("Capital?", models=["a"], **ONCE))
    provider.on("arbiter", verdict("Paris"))
    gate = provider.gate("a")
    provider.on("a", "what came second")

    async with anyio.create_task_group() as group:
        group.start_soon(performed, service, run.run_id)
        await gate.wait_for_async(1)
        # as the process that held the run before writes it, when its own request is answered now
        service.store.journal.settle_attempt.sync(
            run.run_id, "i1/m1", 1, CallResult(text="what came first"), None, final=True
        )
        gate.open()

    (response,) = service.store.runs.load.sync(run.run_id).iterations[0].responses
    assert response.text == "what came first" and "what came first" in provider.requests_to("arbiter")[0].prompt


# cancelled from another process


def started_and_held(provider: Provider, path: Path) -> tuple["subprocess.Popen[str]", str, Callable[[], None]]:
    """A process whose members are asked and do not answer yet, its run's id, and a function that lets them answer."""
    gate = provider.gate(*MEMBERS)
    process = start(*consult_command("Capital?"))
    gate.wait_for(len(MEMBERS))
    return process, run_of(path, "Capital?"), gate.open


def test_a_run_that_another_process_cancels_asks_no_further_model(provider: Provider, path: Path) -> None:
    process, run_id, let_answer = started_and_held(provider, path)
    cancelled = ran("runs", "cancel", run_id)
    let_answer()
    status, out, err = ended(process)

    assert cancelled[0] == 0 and (status, out) == (1, "") and "The run was cancelled." in err
    assert provider.count("arbiter") == 0
    (row,) = rows(path, "SELECT status, (SELECT count(*) FROM calls WHERE state = 'done') AS kept FROM runs")
    assert tuple(row) == ("cancelled", len(MEMBERS))


async def test_the_tool_of_another_server_cancels_a_run(provider: Provider, path: Path, tmp_path: Path) -> None:
    process, run_id, let_answer = await anyio.to_thread.run_sync(started_and_held, provider, path)
    async with connected("auto", tmp_path / "stderr") as client:
        result = await client.call_tool("cancel_run", {"run_id": run_id})
    let_answer()
    status, _, err = await anyio.to_thread.run_sync(ended, process)

    assert not result.is_error and status == 1 and "The run was cancelled." in err
    assert provider.count("arbiter") == 0


async def test_calls_in_flight_are_cut_when_the_lease_is_looked_at(
    provider: Provider, service: ConsortiumService
) -> None:
    service.timing = Timing(lease_renewal=0.05)
    gate = provider.gate("a")
    run = service.opener.open_run(asking("Capital?", models=["a"], **ONCE))
    async with anyio.create_task_group() as group:
        group.start_soon(performed, service, run.run_id)
        await gate.wait_for_async(1)
        service.store.leases.request_cancel.sync(run.run_id)
        await provider.wait_until_async(lambda: provider.disconnects == 1)

    assert service.store.runs.load.sync(run.run_id).status == "cancelled"


def test_a_run_whose_process_died_before_its_cancellation_arrived_asks_no_model(provider: Provider, path: Path) -> None:
    process, run_id, let_answer = started_and_held(provider, path)
    ran("runs", "cancel", run_id)
    process.kill()
    ended(process)
    let_answer()
    let_time_pass(path)
    asked = provider.count()
    status, _, err = ran("runs", "resume", run_id)

    assert (status, provider.count()) == (1, asked) and "The run was cancelled." in err


# late responses


def test_who_was_late_is_late_after_a_resume_and_joins_the_next_iteration(provider: Provider, path: Path) -> None:
    provider.on("arbiter", answer)
    for model in MEMBERS:
        provider.on(model, answer)
    hanging, judging = provider.gate("d"), provider.gate("arbiter")
    process = start(*consult_command("Capital?", "--max-iterations", "2", "--patience-seconds", "1"))
    judging.wait_for(1)
    process.kill()
    ended(process)
    before = rows(path, "SELECT responses FROM iterations")[0]["responses"]
    let_time_pass(path)
    hanging.open()
    judging.open()
    status, out, _ = ran("runs", "resume", run_of(path, "Capital?"))

    assert (status, out) == (0, "synthesis 2\n")
    after = rows(path, "SELECT responses, shown_order FROM iterations ORDER BY number")
    late = [[f"i1/m{place}", place == 4] for place in (1, 2, 3, 4)]
    assert json.loads(before) == json.loads(after[0]["responses"]) == late
    assert json.loads(after[1]["responses"]) == [["i2/m1", False], ["i2/m2", False], ["i2/m3", False], ["i1/m4", False]]
    first, again = (one.prompt for one in provider.requests_to("arbiter") if iteration_of(one) == 1)
    assert first == again and "d says" not in first


async def test_an_iteration_that_was_paid_for_counts_although_the_budget_has_no_room_for_a_further_one(
    provider: Provider, path: Path, service: ConsortiumService
) -> None:
    for model in ("a", "arbiter"):
        provider.on(model, answer)
    rules: dict[str, Any] = {"models": ["a"], "arbiter": "arbiter", "max_iterations": 2, "budget": Budget(max_calls=4)}
    run = await performed(service, service.opener.open_run(asking("Capital?", **rules)).run_id)
    rows(path, "UPDATE runs SET status = 'running', answer = NULL, ended_utc = NULL")  # killed before its last line
    let_time_pass(path)
    resumed = await performed(service, run.run_id)

    assert (run.answer, resumed.answer, resumed.status) == ("synthesis 2", "synthesis 2", "exhausted")
    assert provider.count() == 4


# what readers see


async def test_an_interrupted_run_reads_interrupted_wherever_it_is_read(
    provider: Provider, interrupted: str, tmp_path: Path
) -> None:
    async with connected("auto", tmp_path / "stderr") as client:
        listed = structured(await client.call_tool("list_runs", {"status": "interrupted"}))["runs"]
        everything = structured(await client.call_tool("list_runs", {}))["runs"]
        newest = json.loads(await read(client, "consortium://runs"))
        record = json.loads(await read(client, f"consortium://runs/{interrupted}"))
        transcript = await read(client, f"consortium://runs/{interrupted}/transcript.md")

    seen = [one["status"] for one in (*listed, *everything, *newest, record)]
    assert seen == ["interrupted"] * 4 and "- status: interrupted" in transcript
    assert provider.count() == 0


async def test_get_run_goes_on_with_an_interrupted_run_and_says_that_it_runs(
    provider: Provider, interrupted: str, tmp_path: Path
) -> None:
    gate = provider.gate()
    async with connected("auto", tmp_path / "stderr") as client:
        running = await client.call_tool("get_run", {"run_id": interrupted, "wait_seconds": 0})
        await gate.wait_for_async(len(MEMBERS))
        gate.open()
        finished = await client.call_tool("get_run", {"run_id": interrupted, "wait_seconds": 60})

    assert structured(running)["status"] == "running" and said(running).startswith("Still running")
    assert structured(finished)["answer"] == "Paris"


@pytest.fixture(scope="module")
def ended_name() -> str:
    """The name of an ended process of this machine."""
    naming = "from consortium_mcp._util.processes import own_name; print(own_name())"
    return subprocess.run([sys.executable, "-c", naming], capture_output=True, text=True, check=True).stdout.strip()


async def test_a_run_whose_process_is_known_to_have_ended_goes_on_at_once_in_the_same_call(
    provider: Provider, service: ConsortiumService, path: Path, interrupted: str, ended_name: str
) -> None:
    rows(path, "UPDATE runs SET lease_until = 9e9, owner = ? WHERE run_id = ?", ended_name, interrupted)
    listed = [run.run_id for run in service.store.runs.find.sync(status="interrupted")]
    async with in_process("auto", service) as client:
        finished = await client.call_tool("get_run", {"run_id": interrupted, "wait_seconds": 60})

    assert listed == [interrupted] and structured(finished)["answer"] == "Paris"


async def test_a_run_that_another_machines_process_lets_go_of_goes_on_in_the_same_call(
    provider: Provider, service: ConsortiumService, path: Path, interrupted: str
) -> None:
    service.timing = Timing(heartbeat=0.05)
    hold_until(path, interrupted, time.time() + 0.5)
    async with in_process("auto", service) as client:
        finished = await client.call_tool("get_run", {"run_id": interrupted, "wait_seconds": 60})

    assert structured(finished)["answer"] == "Paris"


async def test_a_server_goes_on_with_all_interrupted_runs_and_with_those_that_are_interrupted_later(
    provider: Provider, service: ConsortiumService, path: Path
) -> None:
    service.timing = Timing(recovery=0.05)
    provider.on("arbiter", verdict("Paris"))
    opened = [service.opener.open_run(asking(f"Question {number}", models=["a"], **ONCE)) for number in range(26)]
    still_held = opened[-1].run_id
    let_time_pass(path)
    rows(path, "UPDATE runs SET lease_until = 9e9, owner = 'killed just now' WHERE run_id = ?", still_held)

    async with Runner(service) as runner:
        await runner.recover()
        await provider.wait_until_async(lambda: provider.finished("arbiter") == 25)
        let_time_pass(path, still_held)
        await provider.wait_until_async(lambda: provider.finished("arbiter") == 26)
        for run in opened:
            async for _ in runner.follow(run.run_id, 60):
                pass

    assert {service.store.runs.load.sync(run.run_id).answer for run in opened} == {"Paris"}
    assert provider.count() == 2 * 26


# the same call again


def opened_again(service: ConsortiumService, **changes: Any) -> str:
    """The id of the run for a repetition of the call of `interrupted`."""
    arguments = {"prompt": "Capital?", "models": list(MEMBERS), **ONCE, **changes}
    return service.opener.open_run(asking(**arguments), join=True).run_id


def test_the_same_call_joins_a_run_that_is_under_way(
    provider: Provider, interrupted: str, open_service: Callable[..., ConsortiumService], path: Path
) -> None:
    rows(path, "UPDATE runs SET lease_until = 9e9")

    assert opened_again(open_service()) == interrupted


def test_the_same_call_joins_an_interrupted_run_and_goes_on_with_it(provider: Provider, interrupted: str) -> None:
    done = ended(start(*consult_command("Capital?", "--max-iterations", "1")))

    assert done[:2] == (0, "Paris\n") and interrupted in done[2]
    assert provider.count() == len(MEMBERS) + 1


async def test_the_same_call_joins_a_run_whose_answer_no_caller_has_received(
    provider: Provider, interrupted: str, service: ConsortiumService
) -> None:
    await performed(service, interrupted)

    assert opened_again(service) == interrupted


async def test_the_same_call_asks_anew_once_the_answer_was_received(
    provider: Provider, interrupted: str, service: ConsortiumService
) -> None:
    await performed(service, interrupted)
    await service.note_received(interrupted)

    assert opened_again(service) != interrupted


async def test_the_same_call_asks_anew_when_the_run_was_cancelled(interrupted: str, service: ConsortiumService) -> None:
    service.store.leases.request_cancel.sync(interrupted)

    assert opened_again(service) != interrupted


@pytest.mark.parametrize(
    "change", [{"prompt": "Capital!"}, {"models": ["a"]}, {"max_iterations": 2}, {"budget": Budget(max_calls=9)}]
)
def test_another_call_joins_nothing(interrupted: str, service: ConsortiumService, change: dict[str, Any]) -> None:
    assert opened_again(service, **change) != interrupted


def test_the_same_call_made_many_times_at_once_is_one_run(
    provider: Provider, open_service: Callable[..., ConsortiumService]
) -> None:
    offices = [open_service() for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        opened = set(pool.map(opened_again, offices))

    assert len(opened) == 1


async def test_a_client_that_asks_again_gets_the_same_run(provider: Provider, tmp_path: Path) -> None:
    provider.on("arbiter", verdict("Paris"))
    gate = provider.gate("a")
    arguments = {"prompt": "Capital?", "models": ["a"], "arbiter": "arbiter"}
    async with connected("auto", tmp_path / "stderr") as client:
        first = structured(await client.call_tool("consult_consortium", {**arguments, "wait_seconds": 0}))
        await gate.wait_for_async(1)
        gate.open()
        again = structured(await client.call_tool("consult_consortium", {**arguments, "wait_seconds": 60}))

    assert (again["run_id"], again["answer"], provider.count()) == (first["run_id"], "Paris", 2)


async def test_what_is_not_worked_on_here_leaves_nothing_behind_when_it_is_followed(
    provider: Provider, service: ConsortiumService
) -> None:
    provider.on("arbiter", verdict("Paris"))
    run_id = service.opener.open_run(asking("?", models=["a"], arbiter="arbiter")).run_id
    async with Runner(service) as runner:
        runner.submit(run_id)
        for followed in (run_id, run_id, "nobody-knows-this"):
            with suppress(NotFoundError):
                async for _ in runner.follow(followed, 60):
                    pass
        assert list(service.live_runs) == []
