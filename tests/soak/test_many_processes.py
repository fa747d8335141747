"""Two servers, the command line and the Python API on one database file at once: nothing is lost, nothing is locked."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest

from consortium_mcp.service.service import ConsortiumService
from consortium_mcp.store import Store
from tests.provider import Provider, verdict
from tests.scripted import asking
from tests.server_process import connected, structured

SERVERS, RUNS_OF_A_SERVER = 2, 200
API_PROCESSES, RUNS_OF_AN_API_PROCESS = 2, 48
COMMANDS = 4
RUNS = SERVERS * RUNS_OF_A_SERVER + API_PROCESSES * RUNS_OF_AN_API_PROCESS + COMMANDS
CALLS_OF_A_RUN = 3

API = f"""
import asyncio, sys
from consortium_mcp import consult
async def main():
    for number in range({RUNS_OF_AN_API_PROCESS}):
        run = await consult(f"{{sys.argv[1]}} {{number}}", models=["a", "b"], arbiter="arbiter")
        assert (run.answer, run.degraded) == ("Paris", ()), run
asyncio.run(main())
"""
"""A program that consults through the Python API, one consult after the other."""


@dataclass(frozen=True)
class Crowd:
    """What was left when all had ended."""

    path: Path
    """The database."""

    stderr: str
    """What every process wrote there."""

    statuses: list[int]
    """The exit statuses of commands and programs."""

    asked: int
    """Requests that the provider counted."""

    finished: int
    """Those that it answered."""


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crowd]:
    folder = tmp_path_factory.mktemp("crowd")
    with pytest.MonkeyPatch.context() as environment, Provider(keep_alive=True) as provider:
        home = provider.write_llm_config(folder / "llm", ["a", "b"], schema=["arbiter"])
        environment.setenv("LLM_USER_PATH", str(home))
        provider.on("arbiter", verdict("Paris"))
        others = [_start("-c", API, f"program {number}") for number in range(API_PROCESSES)]
        command = ("-m", "a", "-m", "b", "--arbiter", "arbiter")
        others += [_start("-m", "consortium_mcp", "consult", f"command {n}", *command) for n in range(COMMANDS)]
        anyio.run(_serve_all, folder)
        errors = [process.communicate()[1] for process in others]
        errors += [(folder / f"server {number}").read_text() for number in range(SERVERS)]
        statuses = [process.returncode for process in others]
        yield Crowd(home / "consortium.db", "".join(errors), statuses, provider.count(), provider.finished())


def _start(*arguments: str) -> "subprocess.Popen[str]":
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, *arguments], stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True)


async def _serve_all(folder: Path) -> None:
    async with anyio.create_task_group() as group:
        for number in range(SERVERS):
            group.start_soon(_serve, folder, f"server {number}")


async def _serve(folder: Path, name: str) -> None:
    """A client that makes all its calls at once."""
    async with connected("auto", folder / name) as client:

        async def consult(number: int) -> None:
            arguments = {"prompt": f"{name} {number}", "models": ["a", "b"], "arbiter": "arbiter", "wait_seconds": 300}
            result = structured(await client.call_tool("consult_consortium", arguments, read_timeout_seconds=300))
            assert (result["answer"], result["degraded"]) == ("Paris", []), result

        async with anyio.create_task_group() as group:
            for number in range(RUNS_OF_A_SERVER):
                group.start_soon(consult, number)


def counted(path: Path, sql: str) -> tuple[object, ...]:
    with closing(sqlite3.connect(path)) as connection:
        return tuple(connection.execute(sql).fetchone())


def test_each_of_500_runs_is_there_with_its_answer(crowd: Crowd) -> None:
    sql = (
        "SELECT count(*), count(DISTINCT prompt), sum(status = 'converged'), sum(answer = 'Paris'), "
        "sum(degraded = '[]'), sum(received_utc IS NOT NULL), (SELECT count(*) FROM iterations WHERE verdict > '') "
        "FROM runs"
    )

    assert counted(crowd.path, sql) == (RUNS,) * 7


def test_calls_attempts_and_spending_are_what_the_provider_counted(crowd: Crowd) -> None:
    calls = "(SELECT count(*) FROM calls WHERE state = 'done' AND text > '' AND attempts = 1)"
    attempts = "(SELECT count(*) FROM attempts WHERE tokens > 0 AND error_kind IS NULL)"
    spent = "(SELECT sum(calls) FROM spending WHERE scope LIKE 'run:%')"
    today = "(SELECT sum(calls) FROM spending WHERE scope LIKE 'day:%')"
    seen = counted(crowd.path, f"SELECT {calls}, {attempts}, {spent}, {today}")

    assert (*seen, crowd.asked, crowd.finished) == (RUNS * CALLS_OF_A_RUN,) * 6


def test_what_was_spent_is_what_the_attempts_used(crowd: Crowd) -> None:
    used = "(SELECT sum(tokens) FROM attempts)"
    spent = "(SELECT sum(tokens) FROM spending WHERE scope LIKE 'run:%')"
    today = "(SELECT sum(tokens) FROM spending WHERE scope LIKE 'day:%')"
    used_tokens, *others = counted(crowd.path, f"SELECT {used}, {spent}, {today}")

    assert others == [used_tokens] * 2


def test_no_process_met_a_lock_or_any_other_error(crowd: Crowd) -> None:
    said = [line for line in crowd.stderr.splitlines() if "lock" in line or "rror" in line or "Traceback" in line]

    assert (said, set(crowd.statuses)) == ([], {0})


def test_the_file_is_whole(crowd: Crowd) -> None:
    with closing(sqlite3.connect(crowd.path)) as connection:
        checks = [
            connection.execute(f"PRAGMA {check}").fetchall() for check in ("integrity_check", "foreign_key_check")
        ]
        connection.execute("INSERT INTO runs_fts (runs_fts, rank) VALUES ('integrity-check', 1)")

    assert checks == [[("ok",)], []]


def test_each_run_is_found_by_its_prompt(crowd: Crowd) -> None:
    with closing(Store(crowd.path)) as store:
        found = [run.prompt for run in store.runs.find.sync(query="command", limit=RUNS)]

    assert sorted(found) == [f"command {number}" for number in range(COMMANDS)]


# one process, one file, opened twice


def test_opening_the_database_again_in_a_process_costs_it_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "consortium.db"
    write = (
        "import sys, pathlib; from consortium_mcp.store import Store\n"
        "store = Store(pathlib.Path(sys.argv[1])); store.consortiums.save_takeover.sync(sys.argv[2]); store.close()"
    )
    with closing(Store(path)) as store:
        store.consortiums.save_takeover.sync("first")
        Store(path).close()  # as llm's plugin does at each look-up of models
        subprocess.run([sys.executable, "-c", write, str(path), "second"], check=True)
        store.consortiums.save_takeover.sync("third")
        taken = counted(path, "SELECT group_concat(path) FROM (SELECT path FROM takeovers ORDER BY path)")

    assert taken == ("first,second,third",)


def test_looking_up_models_costs_a_service_no_lock(provider: Provider, service: ConsortiumService) -> None:
    provider.on("arbiter", verdict("Paris"))
    service.opener.open_run(asking("Capital?", models=["a"], arbiter="arbiter"))
    done = subprocess.run(
        [sys.executable, "-m", "consortium_mcp", "save", "panel", "-m", "a"], capture_output=True, check=True
    )

    assert done.returncode == 0 and service.store.database.path.with_name("consortium.db-wal").exists()
