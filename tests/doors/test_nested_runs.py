"""A consortium that is a member of another one: its run belongs to the outer call, and is paid for once."""

import hashlib
import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from consortium_mcp._util.iterating import iterate
from consortium_mcp._util.threads import in_thread
from consortium_mcp.errors import BusyError
from consortium_mcp.records import CallId, Parent
from consortium_mcp.records.consortium import define
from consortium_mcp.records.outer_call import OuterCall, outer_call, within_call
from consortium_mcp.service.replay import open_replay
from consortium_mcp.service.service import ConsortiumService
from tests.doors.test_cli import run_command
from tests.doors.test_serving import until
from tests.provider import Provider, verdict
from tests.scripted import asking
from tests.server_process import http_client, http_server, structured

OUTER: dict[str, Any] = {"consortium": "outer", "prompt": "Capital?"}
EACH_ONCE = {"a": 1, "b": 1, "c": 1, "arbiter": 1, "plain-arbiter": 1}
"""The number of calls to each model in one consult."""

TOKEN = "ann's token, which is long"


@pytest.fixture(autouse=True)
def saved(provider: Provider, service: ConsortiumService) -> None:
    """`inner`, and `outer` of which it is a member."""
    inner = define(members=[{"model": "b"}, {"model": "c"}], arbiter="arbiter", max_iterations=1)
    outer = define(members=[{"model": "a"}, {"model": "inner"}], arbiter="plain-arbiter", max_iterations=1)
    service.store.consortiums.save.sync("inner", inner)
    service.store.consortiums.save.sync("outer", outer)
    provider.on("arbiter", verdict("inner says Paris"))
    provider.on("plain-arbiter", verdict("Paris"))


def start(*arguments: str) -> "subprocess.Popen[str]":
    pipe = subprocess.PIPE
    command = [sys.executable, "-m", "consortium_mcp", *arguments]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True)


def output(process: "subprocess.Popen[str]") -> str:
    return process.communicate(timeout=60)[0]


def rows(service: ConsortiumService, sql: str) -> list[tuple[Any, ...]]:
    """What another program reads in the database."""
    with closing(sqlite3.connect(service.store.database.path, isolation_level=None)) as connection:
        return connection.execute(sql).fetchall()


def statuses(service: ConsortiumService) -> dict[str | None, str]:
    return {run.consortium_name: run.status for run in service.store.runs.find.sync()}


def run_id_of(service: ConsortiumService, name: str) -> str:
    (run,) = service.store.runs.find.sync(consortium=name)
    return run.run_id


def answered(provider: Provider) -> dict[str, int]:
    return {model: len(provider.answered(model)) for model in EACH_ONCE}


def stored(service: ConsortiumService) -> set[str]:
    return {model for (model,) in rows(service, "SELECT model FROM calls WHERE state = 'done'")}


def killed(provider: Provider, service: ConsortiumService, held: str, done: set[str]) -> None:
    """A consult whose process was killed while one model had not answered and the others' responses were stored."""
    gate = provider.gate(held)
    process = start("consult", "Capital?", "--consortium", "outer")
    gate.wait_for(1)
    while not done <= stored(service):
        assert process.poll() is None
    process.kill()
    output(process)
    gate.open()


MOMENTS = [("c", {"a", "b"}), ("arbiter", {"a", "b", "c"}), ("plain-arbiter", {"a", "b", "c", "arbiter", "inner"})]
"""The model without an answer, and the stored responses, when the process is killed."""


@pytest.mark.parametrize(("held", "done"), MOMENTS, ids=[held for held, _ in MOMENTS])
def test_after_kill_9_a_resumed_run_goes_on_with_the_run_inside_it_and_pays_for_nothing_twice(
    provider: Provider, service: ConsortiumService, held: str, done: set[str]
) -> None:
    killed(provider, service, held, done)
    rows(service, "UPDATE runs SET lease_until = 1 WHERE consortium_name = 'outer'")  # the inner one's is not over

    resumed = run_command("runs", "resume", run_id_of(service, "outer")).stdout

    asked = {model: provider.count(model) for model in EACH_ONCE}
    assert (resumed, asked) == ("Paris\n", EACH_ONCE | {held: 2})
    assert statuses(service) == {"outer": "converged", "inner": "converged"}


def test_after_kill_9_the_answer_of_a_run_that_had_ended_inside_is_used(
    provider: Provider, service: ConsortiumService
) -> None:
    killed(provider, service, "plain-arbiter", {"inner"})
    inner = run_id_of(service, "inner")
    # as if the process had been killed between the inner run's end and the note of it in the outer one
    rows(service, "UPDATE calls SET state = 'begun', text = NULL WHERE model = 'inner'")
    rows(service, "UPDATE runs SET lease_until = 1 WHERE status = 'running'")

    assert run_command("runs", "resume", run_id_of(service, "outer")).stdout == "Paris\n"
    assert run_id_of(service, "inner") == inner and answered(provider)["arbiter"] == 1


async def test_a_server_that_starts_resumes_the_outer_run_alone(
    provider: Provider, service: ConsortiumService, tmp_path: Path
) -> None:
    await anyio.to_thread.run_sync(killed, provider, service, "c", {"a", "b"})
    rows(service, "UPDATE runs SET lease_until = 1 WHERE status = 'running'")
    listed = service.store.leases.list_interrupted.sync(10)
    outer = run_id_of(service, "outer")

    with http_server(tmp_path / "stderr") as (_, url):
        async with http_client(url, "auto") as client:
            result = structured(await client.call_tool("get_run", {"run_id": outer, "wait_seconds": 60}))

    assert (listed, result["answer"]) == ([outer], "Paris")
    assert {model: provider.count(model) for model in EACH_ONCE} == EACH_ONCE | {"c": 2}


async def test_a_server_that_leaves_leaves_the_run_inside_to_be_gone_on_with_too(
    provider: Provider, service: ConsortiumService, tmp_path: Path
) -> None:
    gate = provider.gate("c")
    with http_server(tmp_path / "stderr", CONSORTIUM_GRACE_SECONDS="0.1") as (process, url):
        async with http_client(url, "auto") as client:
            outer = structured(await client.call_tool("consult_consortium", {**OUTER, "wait_seconds": 0}))["run_id"]
            await gate.wait_for_async(1)
            await anyio.to_thread.run_sync(lambda: until(lambda: {"a", "b"} <= stored(service)))
            process.send_signal(signal.SIGTERM)
            await anyio.to_thread.run_sync(lambda: process.wait(timeout=30))
    left = statuses(service)
    gate.open()
    resumed = await anyio.to_thread.run_sync(lambda: run_command("runs", "resume", outer).stdout)

    assert left == {"outer": "interrupted", "inner": "interrupted"}
    assert (resumed, answered(provider)) == ("Paris\n", EACH_ONCE)


def test_a_run_that_is_interrupted_leaves_the_one_inside_it_open(
    provider: Provider, service: ConsortiumService
) -> None:
    gate = provider.gate("c")
    process = start("consult", "Capital?", "--consortium", "outer")
    gate.wait_for(1)
    process.send_signal(signal.SIGINT)
    output(process)
    gate.open()

    assert statuses(service) == {"outer": "interrupted", "inner": "interrupted"}


def test_an_interrupted_run_that_is_cancelled_takes_the_run_inside_it_along(
    provider: Provider, service: ConsortiumService
) -> None:
    killed(provider, service, "c", {"b"})
    rows(service, "UPDATE runs SET lease_until = 1 WHERE consortium_name = 'outer'")

    run_command("runs", "cancel", run_id_of(service, "outer"))

    assert statuses(service) == {"outer": "cancelled", "inner": "cancelled"}


def test_the_record_says_in_which_call_a_run_was_opened(provider: Provider, service: ConsortiumService) -> None:
    outer = json.loads(run_command("consult", "Capital?", "--consortium", "outer", "--json").stdout)

    inner = service.store.runs.load.sync(run_id_of(service, "inner"))
    assert (outer["parent"], inner.parent) == (None, Parent(run_id=outer["run_id"], call_id=CallId("i1/m2")))
    assert outer["answer"] == "Paris" and answered(provider) == EACH_ONCE
    assert open_replay(service, inner.run_id).parent is None


async def test_a_run_inside_another_is_none_of_its_callers_runs(
    provider: Provider, service: ConsortiumService, tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(f"ann:{hashlib.sha256(TOKEN.encode()).hexdigest()}\n")
    gate = provider.gate("c")
    limits = {"CONSORTIUM_MAX_RUNS_PER_CALLER": "2", "CONSORTIUM_TOKEN_FILE": str(tokens)}
    with http_server(tmp_path / "stderr", **limits) as (_, url):
        async with http_client(url, "auto", token=TOKEN) as client:
            await client.call_tool("consult_consortium", {**OUTER, "wait_seconds": 0})
            await gate.wait_for_async(1)
            second = await client.call_tool("consult_consortium", {**OUTER, "prompt": "And?", "wait_seconds": 0})
            third = await client.call_tool("consult_consortium", {**OUTER, "prompt": "No?", "wait_seconds": 0})
            gate.open()

    assert (second.is_error, third.is_error) == (False, True)


def test_a_process_that_lost_the_outer_run_opens_nothing_inside_it(service: ConsortiumService) -> None:
    outer = service.opener.open_run(asking(**OUTER))

    with within_call(OuterCall(Parent(run_id=outer.run_id, call_id=CallId("i1/m2")), "another process")):
        with pytest.raises(BusyError, match="has ended, or another process holds it"):
            service.opener.open_run(asking("Capital?", consortium="inner"))


def test_the_same_call_gets_the_same_run_and_another_question_in_it_one_of_its_own(service: ConsortiumService) -> None:
    outer = service.opener.open_run(asking(**OUTER))

    with within_call(OuterCall(Parent(run_id=outer.run_id, call_id=CallId("i1/m2")), service.owner)):
        first, same = (service.opener.open_run(asking("Capital?", consortium="inner")).run_id for _ in range(2))
        other = service.opener.open_run(asking("River?", consortium="inner")).run_id

    assert first == same != other


async def test_the_call_is_known_in_the_thread_of_a_synchronous_model_and_in_the_loop_that_it_starts() -> None:
    async def consult() -> AsyncIterator[OuterCall | None]:
        yield outer_call()

    call = OuterCall(Parent(run_id="outer", call_id=CallId("i1/m2")), "this process")
    with within_call(call):
        known = await in_thread(lambda: list(iterate(consult)))

    assert known == [call]


def test_a_budget_of_calls_is_refused_where_a_consortium_asks_inside_and_a_plan_says_so(provider: Provider) -> None:
    asked = ("consult", "Capital?", "--consortium", "outer")
    plan = run_command(*asked, "--dry-run")
    refused = run_command(*asked, "--max-calls", "100")

    assert (
        "inner (consortium) 1x" in plan.stdout
        and ("Not counted: the calls of the nested consortium inner.") in plan.stdout
    )
    assert (
        refused.returncode == 1 and "what the consortium inner asks inside counts in runs of its own" in refused.stderr
    )
    assert provider.count() == 0
