"""Every call is in our store and in llm's own log, as `llm logs` reads it; a failure of that log affects no run."""

import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlite_utils
from llm.migrations import migrate

from consortium_mcp.models import llm_log
from consortium_mcp.models.llm_log import LlmLog
from consortium_mcp.records import Run
from consortium_mcp.service.service import ConsortiumService
from consortium_mcp.store import Store
from tests.consulted import consulted, performed
from tests.provider import Fault, Provider, verdict
from tests.scripted import asking

OpenService = Callable[..., ConsortiumService]

KILLED_WHILE_MIGRATING = """
import functools, os, signal, sys
from llm.migrations import MIGRATIONS
from consortium_mcp.cli import main

@functools.wraps(MIGRATIONS[-1])
def migrate_and_die(db, last=MIGRATIONS[-1]):
    last(db)
    os.kill(os.getpid(), signal.SIGKILL)

MIGRATIONS[-1] = migrate_and_die
main(sys.argv[1:])
"""

CONSULT = [sys.executable, "-m", "consortium_mcp", "consult", "why?", "-m", "a", "-m", "b", "--arbiter", "arbiter"]


def logged() -> list[dict[str, Any]]:
    """What the real command `llm logs` shows, in a process of its own."""
    command = [sys.executable, "-m", "llm", "logs", "list", "-n", "0", "--json"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    rows: list[dict[str, Any]] = json.loads(shown.stdout)
    return rows


async def consult(service: ConsortiumService, **definition: Any) -> Run:
    """One consult from opening to the end of all writing."""
    opened = service.opener.open_run(asking("why?", **{"models": ["a", "b"], "arbiter": "arbiter"} | definition))
    run = await performed(service, opened.run_id)
    service.close()
    return run


def calls_in(path: Path) -> int:
    connection = sqlite3.connect(path)
    try:
        done = "SELECT count(*) FROM calls WHERE state = 'done' AND text IS NOT NULL AND error_kind IS NULL"
        return int(connection.execute(done).fetchone()[0])
    finally:
        connection.close()


@pytest.fixture
def locked_log(llm_home: Path) -> sqlite3.Connection:
    """llm's log, locked until the connection is closed; our own database exists already."""
    Store(llm_home / "consortium.db").close()
    connection = sqlite3.connect(llm_home / "logs.db", isolation_level=None)
    connection.execute("CREATE TABLE mine (id)")
    connection.execute("BEGIN EXCLUSIVE")
    return connection


@pytest.mark.parametrize("databases", ["fresh", "migrated"])
async def test_B15_fifty_one_of_fifty_one_calls_are_in_our_store_and_in_llms_log(
    provider: Provider, llm_home: Path, open_service: OpenService, databases: str
) -> None:
    if databases == "migrated":
        Store(llm_home / "consortium.db").close()
        with sqlite_utils.Database(llm_home / "logs.db") as db:
            migrate(db)
    provider.on("arbiter", [verdict(f"draft {n}", confidence=0.1, needs_iteration=True) for n in (1, 2, 3)])

    run = await consult(open_service(), models=["a:6", "b:5", "c:5"], max_iterations=3)

    counts = (run.usage.calls, calls_in(llm_home / "consortium.db"), len(logged()), provider.finished())
    assert counts == (51, 51, 51, 51)


async def test_llms_log_shows_what_was_asked_and_answered(provider: Provider, open_service: OpenService) -> None:
    provider.on("arbiter", verdict("so"))
    await consult(open_service(), models=["a"], system_prompt="Be brief.")

    by_model = {row["model"]: row for row in logged()}
    row = by_model["a"]
    assert (row["prompt"], row["response"], row["output_tokens"]) == ("why?", "answer of a", 3)
    assert row["system"].startswith("Be brief.\n\n")


async def test_llms_log_and_ours_are_their_owners_alone(
    provider: Provider, llm_home: Path, open_service: OpenService
) -> None:
    provider.on("arbiter", verdict("so"))
    service = open_service()
    run = await consulted(service, "a")
    service.llm_log.close()
    modes = modes_in(llm_home)
    service.close()

    assert {"consortium.db", "consortium.db-wal", "logs.db"} <= {*modes} and run.answer == "so"
    assert {*modes.values()} == {0o600}


def modes_in(folder: Path) -> dict[str, int]:
    """The rights of each database in a folder, by its name."""
    return {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.glob("*.db*")}


@pytest.mark.parametrize(
    ("transport", "llm_log", "is_written"), [("http", None, False), ("http", "on", True), ("stdio", "off", False)]
)
async def test_the_log_of_llm_has_the_calls_of_a_team_only_when_that_is_asked_for(
    transport: str, llm_log: str | None, is_written: bool, provider: Provider, llm_home: Path, open_service: OpenService
) -> None:
    provider.on("arbiter", verdict("so"))
    await consult(open_service(transport=transport, llm_log=llm_log), models=["a"])

    assert (llm_home / "logs.db").exists() == is_written


async def test_each_call_is_a_conversation_of_its_own_in_llms_log(
    provider: Provider, open_service: OpenService
) -> None:
    provider.on("arbiter", verdict("so"))
    await consult(open_service(), models=["a:3"])

    assert len({row["conversation_id"] for row in logged()}) == 4


def test_a_process_that_is_killed_while_it_makes_llms_log_leaves_none_that_llm_cannot_open(provider: Provider) -> None:
    provider.on("arbiter", verdict("so"))
    killed = subprocess.run([sys.executable, "-c", KILLED_WHILE_MIGRATING, *CONSULT[3:]])
    subprocess.run(CONSULT, check=True)

    assert (killed.returncode, len(logged())) == (-signal.SIGKILL, 3)


@pytest.fixture
def logs_off(llm_home: Path) -> None:
    subprocess.run([sys.executable, "-m", "llm", "logs", "off"], check=True)


@pytest.mark.usefixtures("logs_off")
async def test_llm_logs_off_is_respected(provider: Provider, llm_home: Path, open_service: OpenService) -> None:
    provider.on("arbiter", verdict("so"))
    await consult(open_service())

    assert not (llm_home / "logs.db").exists()


async def test_calls_that_failed_are_in_our_store_only(
    provider: Provider, llm_home: Path, open_service: OpenService
) -> None:
    provider.on("arbiter", verdict("so"))
    provider.on("a", Fault.wrong_key())
    await consult(open_service())

    assert sorted(row["model"] for row in logged()) == ["arbiter", "b"]


async def test_a_log_that_cannot_be_written_fails_no_run_and_is_said_once(
    provider: Provider,
    llm_home: Path,
    open_service: OpenService,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (llm_home / "logs.db").mkdir()
    provider.on("arbiter", verdict("so"))

    run = await consult(open_service())

    said = [message for message in caplog.messages if "own log" in message]
    assert (run.answer, capfd.readouterr().out) == ("so", "")
    assert said == ["llm's own log could not be written (unable to open database file); the run is not affected."]


def test_a_locked_log_does_not_hold_up_the_end_of_a_process(provider: Provider, locked_log: sqlite3.Connection) -> None:
    provider.on("arbiter", verdict("so"))

    # The lock is never let go: whoever waited for it would still be waiting when this time is up.
    ended = subprocess.run(CONSULT, capture_output=True, text=True, timeout=25, stdin=subprocess.DEVNULL)

    locked_log.close()
    assert (ended.returncode, ended.stdout.strip()) == (0, "so")
    assert "llm's own log could not be written in 3 seconds; the last calls may be missing from it." in ended.stderr


async def test_a_log_that_falls_too_far_behind_misses_what_comes_on_top_and_says_so_once(
    provider: Provider,
    open_service: OpenService,
    locked_log: sqlite3.Connection,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(llm_log, "MOST_BEHIND", 3)
    provider.on("arbiter", verdict("so"))
    service = open_service()
    for prompt in ("why?", "how?"):
        await consulted(service, "a", "b", prompt=prompt)
    locked_log.close()
    service.close()

    assert len(logged()) == 3
    assert [one.getMessage() for one in caplog.records if "could not be written" in one.getMessage()] == [
        "llm's own log could not be written (3 calls wait for it already); the run is not affected."
    ]


async def test_long_questions_wait_for_the_log_only_as_far_as_memory_allows(
    provider: Provider,
    open_service: OpenService,
    locked_log: sqlite3.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(llm_log, "MOST_CHARS_BEHIND", 100_000)
    provider.on("arbiter", verdict("so"))
    service = open_service()
    await consulted(service, "a", prompt="x" * 100_000)
    locked_log.close()
    service.close()

    assert len(logged()) == 1  # the member's; the arbiter's came on top


async def test_a_process_that_can_start_no_further_thread_loses_no_answer_and_logs_again_when_it_can(
    provider: Provider, service: ConsortiumService, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def cannot_start(self: threading.Timer) -> None:
        raise RuntimeError("can't start new thread")

    provider.on("arbiter", verdict("Paris"))
    with monkeypatch.context() as crowded:
        crowded.setattr(threading.Timer, "start", cannot_start)
        first = await consulted(service, "a")
    await consult(service)

    assert first.answer == "Paris" and first.degraded == () and len(logged()) == 3
    assert caplog.text.count("llm's own log could not be written (can't start new thread)") == 1


async def test_a_log_that_was_locked_for_a_while_misses_nothing(
    provider: Provider, open_service: OpenService, locked_log: sqlite3.Connection
) -> None:
    provider.on("arbiter", verdict("so"))
    service = open_service()
    opened = service.opener.open_run(asking("why?", models=["a", "b"], arbiter="arbiter"))
    run = await performed(service, opened.run_id)
    locked_log.close()
    service.close()

    assert (run.answer, len(logged())) == ("so", 3)


def test_stdout_has_the_answer_and_nothing_else(provider: Provider) -> None:
    provider.on("arbiter", verdict("so"))

    ended = subprocess.run(CONSULT, capture_output=True, text=True, stdin=subprocess.DEVNULL)

    assert ended.stdout == "so\n"


def test_a_response_that_comes_after_the_end_is_no_error() -> None:
    log = LlmLog()
    log.close()
    log.write(object())

    assert not (Path(os.environ["LLM_USER_PATH"]) / "logs.db").exists()


def test_processes_that_open_a_new_log_together_all_write_to_it(provider: Provider) -> None:
    provider.on("arbiter", verdict("Paris"))
    command = [sys.executable, "-m", "consortium_mcp", "consult", "-m", "a", "--arbiter", "arbiter"]
    gate = provider.gate("a")
    running = [subprocess.Popen([*command, f"Question {n}?"], stderr=subprocess.DEVNULL) for n in range(3)]
    gate.wait_for(3)
    gate.open()

    assert [process.wait(60) for process in running] == [0, 0, 0]
    assert len(logged()) == 6
