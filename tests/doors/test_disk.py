"""Disk failures: found before the first paid call if possible; otherwise the answer arrives with a note."""

import ctypes
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from sqlite_utils import Database

from consortium_mcp import consult as consult_function
from consortium_mcp._util.caller import calling
from consortium_mcp.errors import NotFoundError, StoreUnusableError
from consortium_mcp.records import Budget, Run
from consortium_mcp.service.runner import Runner
from consortium_mcp.service.service import ConsortiumService
from consortium_mcp.settings import load_settings
from consortium_mcp.store import Store, database
from consortium_mcp.store.part import writes
from consortium_mcp.store.runs import Runs
from tests.permissions import read_only, shared_folder
from tests.provider import Provider, verdict
from tests.scripted import asking
from tests.server_process import connected, said, structured
from tests.store_methods import replace_method

ASK = ("consult", "Capital?", "-m", "a", "-m", "b", "--arbiter", "arbiter")
LONG = "At length. " * 40_000
"""More than fits into the log of writes, whose space is used again and again."""

DEFINITION: dict[str, Any] = {"models": ["a", "b"], "arbiter": "arbiter"}


@pytest.fixture
def models(provider: Provider) -> Provider:
    """A provider whose arbiter answers Paris, with more text than fits on a full disk."""
    provider.on("arbiter", verdict("Paris", confidence=0.9, analysis=LONG))
    return provider


def start(*arguments: str) -> "subprocess.Popen[str]":
    """`consortium-mcp …` in a process of its own, with this test's environment."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-m", "consortium_mcp", *arguments]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True)


def ended(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    """Its exit status, stdout and stderr, once it has ended."""
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def rows(path: Path, sql: str) -> list[tuple[object, ...]]:
    """What another program reads in the database."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return connection.execute(sql).fetchall()


# before the first paid call


def shopping_list(path: Path) -> None:
    path.write_text("a shopping list\n" * 1000)


def damaged(path: Path) -> None:
    Store(path).close()
    path.write_bytes(path.read_bytes()[:4096] + random.Random(1).randbytes(path.stat().st_size - 4096))


def newer(path: Path) -> None:
    Store(path).close()
    with Database(path) as db:
        row = {"migration_set": "consortium_mcp", "name": "m999_later", "applied_at": "2030"}
        db.table("_sqlite_migrations").insert(row)


def another_programs(path: Path) -> None:
    with Database(path) as db:
        db.table("recipes").insert({"name": "soup"})


def another_programs_with_migrations(path: Path) -> None:
    """As sqlite-utils keeps them: under the same table name as ours."""
    with Database(path) as db:
        db.table("recipes").insert({"name": "soup"})
        db.table("_sqlite_migrations").insert({"migration_set": "recipes", "name": "m001", "applied_at": "2026"})


BROKEN: dict[Callable[[Path], None], str] = {
    shopping_list: "it is damaged or no SQLite file: move it away or name another one with CONSORTIUM_DATABASE.",
    damaged: "it is damaged or no SQLite file: move it away or name another one with CONSORTIUM_DATABASE.",
    newer: "Update with `pip install -U consortium-mcp`, or name another file with CONSORTIUM_DATABASE.",
    another_programs: "nothing was changed. Name another file with CONSORTIUM_DATABASE.",
    another_programs_with_migrations: "nothing was changed. Name another file with CONSORTIUM_DATABASE.",
}
"""Files that cannot be our database, and the end of the sentence about each."""


@pytest.mark.parametrize("make", BROKEN, ids=[make.__name__ for make in BROKEN])
def test_a_file_that_cannot_be_used_is_one_sentence_before_anything_is_asked_and_stays_as_it_is(
    models: Provider, path: Path, make: Callable[[Path], None]
) -> None:
    make(path)
    before = path.read_bytes()
    status, out, err = ended(start(*ASK))

    assert (status, out, err.count("\n"), models.count()) == (1, "", 1, 0)
    assert err.startswith(f"Error: The database {path} ") and err.rstrip().endswith(BROKEN[make])
    assert path.read_bytes() == before


def test_a_server_says_the_same_sentence_and_ends(models: Provider, path: Path) -> None:
    newer(path)
    status, out, err = ended(start())

    assert (status, out) == (1, "") and "was written by a newer release of consortium-mcp (m999_later)" in err


async def test_a_read_only_folder_is_found_before_anything_is_asked(models: Provider) -> None:
    with shared_folder() as folder:
        path = folder / "consortium.db"
        Store(path).close()
        path.chmod(0o444)
        before = path.read_bytes()
        with read_only(folder), pytest.raises(StoreUnusableError, match="it cannot be written: check the permissions"):
            await consult_function("Capital?", settings=load_settings(None, database=path), **DEFINITION)

        assert (path.read_bytes(), models.count()) == (before, 0)


def test_a_table_that_is_damaged_is_found_before_anything_is_asked(
    models: Provider, path: Path, service: ConsortiumService
) -> None:
    root = rows(path, "SELECT rootpage FROM sqlite_master WHERE name = 'runs'")[0][0]
    service.close()
    with path.open("r+b") as file:
        file.seek((int(str(root)) - 1) * 4096)
        file.write(random.Random(2).randbytes(4096))
    status, out, err = ended(start(*ASK))

    assert (status, out, models.count()) == (1, "", 0) and "it is damaged" in err


# the write-ahead log after a crash

KILLED = """
import os, pathlib, signal, sys
from consortium_mcp.store import Store
store = Store(pathlib.Path(sys.argv[1]))
for number in range(100): store.consortiums.save_takeover.sync(f"{number:03}")
os.kill(os.getpid(), signal.SIGKILL)
"""
"""A process that is killed and leaves 100 transactions in the log."""


@pytest.fixture
def log(path: Path) -> Path:
    """The log of a database whose process was killed; the file itself holds the schema and one row."""
    with closing(Store(path)) as store:
        store.consortiums.save_takeover.sync("first")
    assert subprocess.run([sys.executable, "-c", KILLED, str(path)]).returncode == -signal.SIGKILL
    return path.with_name("consortium.db-wal")


def taken_over(path: Path) -> list[str]:
    with closing(Store(path)) as store:
        return sorted(store.consortiums.list_takeovers.sync())


def test_after_a_crash_everything_that_was_written_is_there(path: Path, log: Path) -> None:
    assert taken_over(path) == [*(f"{number:03}" for number in range(100)), "first"]


def test_a_truncated_log_loses_only_what_it_lacks(path: Path, log: Path) -> None:
    os.truncate(log, log.stat().st_size // 2 + 1234)
    *kept, first = taken_over(path)

    assert first == "first" and 20 < len(kept) < 80 and kept == [f"{number:03}" for number in range(len(kept))]
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]


def test_a_log_of_garbage_costs_nothing_that_is_in_the_file(path: Path, log: Path, models: Provider) -> None:
    log.write_bytes(random.Random(3).randbytes(log.stat().st_size))
    status, out, _ = ended(start(*ASK))

    assert (status, out, taken_over(path)) == (0, "Paris\n", ["first"])
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]


# a full disk

MNT_DETACH = 2


class SmallDisk:
    """A disk of 16 megabytes, which can be filled up and freed again: a tmpfs, where this user may mount one.

    Elsewhere it is a limit on the size of files in this process and those that it started, which fails the same writes.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "consortium.db"
        self._folder = folder
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._is_mounted = self._libc.mount(b"none", os.fsencode(folder), b"tmpfs", 0, b"size=16m") == 0

    def fill(self) -> None:
        """Leave no byte."""
        if not self._is_mounted:
            self._limit(0)
            return
        with (self._folder / "ballast").open("wb", buffering=0) as file:
            for size in (4096, 1):
                with suppress(OSError):
                    while file.write(b"x" * size):
                        pass

    def free(self) -> None:
        """Give back what was filled."""
        (self._folder / "ballast").unlink(missing_ok=True)
        if not self._is_mounted:
            self._limit(resource.RLIM_INFINITY)

    def close(self) -> None:
        """Remove it, even if it is in use."""
        self.free()
        if self._is_mounted:
            self._libc.umount2(os.fsencode(self._folder), MNT_DETACH)

    def _limit(self, size: int) -> None:
        started = [pid for file in Path("/proc/self/task").glob("*/children") for pid in file.read_text().split()]
        for pid in (0, *map(int, started)):
            with suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallDisk]:
    """A small disk, which holds the database of this test's processes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    small = SmallDisk(folder)
    monkeypatch.setenv("CONSORTIUM_DATABASE", str(small.path))
    yield small
    small.close()


NOT_SAVED = "Incomplete: The run could not be saved in full: The database"


def test_a_disk_that_is_full_before_there_is_a_database_is_one_sentence(models: Provider, disk: SmallDisk) -> None:
    disk.fill()
    status, out, err = ended(start(*ASK))

    assert (status, out, err.count("\n"), models.count()) == (1, "", 1, 0)
    assert "the disk is full" in err


def test_a_disk_that_is_full_is_found_before_anything_is_asked_and_nothing_is_lost(
    models: Provider, disk: SmallDisk
) -> None:
    with closing(Store(disk.path)) as store:
        store.consortiums.save_takeover.sync("first")
    before = disk.path.read_bytes()
    disk.fill()
    status, out, err = ended(start(*ASK))
    disk.free()

    assert (status, out, err.count("\n"), models.count()) == (1, "", 1, 0) and "the disk is full or has failed" in err
    assert (disk.path.read_bytes(), taken_over(disk.path)) == (before, ["first"])


def test_a_command_whose_disk_becomes_full_prints_the_answer_and_that_it_is_not_saved(
    models: Provider, disk: SmallDisk
) -> None:
    models.on("b", LONG)
    gate = models.gate("b")
    process = start(*ASK)
    gate.wait_for(1)
    models.wait_until(lambda: models.finished("a") == 1)
    disk.fill()
    gate.open()
    status, out, _ = ended(process)

    first, *_, last = out.splitlines()
    assert status == 0 and first.startswith(NOT_SAVED) and last == "Paris"


def test_what_was_stored_before_the_disk_became_full_is_not_asked_again(models: Provider, disk: SmallDisk) -> None:
    models.on("arbiter", verdict(LONG, confidence=0.9))  # else there is room for the end of the run
    gate = models.gate("arbiter")
    process = start(*ASK)
    gate.wait_for(1)
    disk.fill()
    gate.open()
    ended(process)
    disk.free()
    (run_id,) = rows(disk.path, "SELECT run_id FROM runs")[0]
    rows(disk.path, "UPDATE runs SET lease_until = 1")  # as when 30 s have passed
    status, out, _ = ended(start("runs", "resume", str(run_id)))

    assert (status, out.strip()) == (0, LONG.strip()) and rows(disk.path, "PRAGMA integrity_check") == [("ok",)]
    assert [models.count(model) for model in ("a", "b", "arbiter")] == [1, 1, 2]


async def test_a_tool_whose_disk_becomes_full_returns_the_answer_and_that_it_is_not_saved(
    models: Provider, disk: SmallDisk, tmp_path: Path, service: ConsortiumService
) -> None:
    gate = models.gate("arbiter")
    async with connected("auto", tmp_path / "stderr") as client:
        call = {"prompt": "Capital?", **DEFINITION}
        running = structured(await client.call_tool("consult_consortium", {**call, "wait_seconds": 0}))
        await gate.wait_for_async(1)
        disk.fill()
        gate.open()
        result = await client.call_tool("get_run", {"run_id": running["run_id"], "wait_seconds": 60})

    assert said(result).startswith(NOT_SAVED)
    assert (structured(result)["answer"], structured(result)["status"]) == ("Paris", "converged")


async def test_the_api_returns_an_answer_that_is_not_saved_as_degraded(models: Provider, disk: SmallDisk) -> None:
    gate = models.gate("arbiter")
    runs: list[Run] = []

    async def ask() -> None:
        runs.append(await consult_function("Capital?", **DEFINITION))

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        await gate.wait_for_async(1)
        disk.fill()
        gate.open()
        await models.wait_until_async(lambda: models.finished("arbiter") == 1)
    disk.free()

    (run,) = runs
    assert (run.answer, run.status, len(run.iterations[0].responses)) == ("Paris", "converged", 2)
    assert [sentence.partition(": The database")[0] for sentence in run.degraded] == [
        "The run could not be saved in full"
    ]


# another process locks the file


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for other processes' locks a tenth of a second, and not 30."""
    monkeypatch.setattr(database, "_BUSY_SECONDS", 0.1)


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Another connection holds the write lock."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


@asynccontextmanager
async def under_way(service: ConsortiumService, **arguments: Any) -> AsyncIterator[list[Run | Exception]]:
    """A run is worked on; its result is in the list after the block."""
    run = service.opener.open_run(asking("Capital?", **DEFINITION, **arguments))
    came_to: list[Run | Exception] = []

    async def perform() -> None:
        try:
            await service.perform(run.run_id)
            came_to.append(await service.load(run.run_id))
        finally:
            await service.clients.aclose()

    async with anyio.create_task_group() as group:
        group.start_soon(perform)
        yield came_to


def test_a_lock_that_is_never_released_is_found_before_any_model_call(
    impatient: None, models: Provider, path: Path, service: ConsortiumService
) -> None:
    with held(path), pytest.raises(StoreUnusableError, match=r"another process has held it for too long: end that"):
        service.opener.open_run(asking("Capital?", **DEFINITION))

    assert models.count() == 0


async def test_an_answer_comes_although_another_process_holds_the_file_until_after_its_end(
    impatient: None, models: Provider, path: Path, service: ConsortiumService
) -> None:
    gate = models.gate("a", "b")
    async with under_way(service) as came_to:
        await gate.wait_for_async(2)
        with held(path):
            gate.open()
            while not came_to:
                await anyio.lowlevel.checkpoint()

    (run,) = came_to
    assert isinstance(run, Run) and (run.answer, run.status) == ("Paris", "converged")
    assert "another process has held it" in run.degraded[-1] and models.count() == 3
    assert run.usage.calls == 3 and run.usage.output_tokens
    assert run.usage.cost_usd is None  # of models without a price


async def test_a_run_is_saved_although_another_process_held_the_file_for_a_while(
    impatient: None, models: Provider, path: Path, service: ConsortiumService, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, failures = service.store.journal.begin_attempt.sync, iter([True, True])

    def cannot_begin(*arguments: object) -> object:
        if next(failures, False):
            with held(path):
                return begin(*arguments)  # type: ignore[arg-type]
        return begin(*arguments)  # type: ignore[arg-type]

    replace_method(monkeypatch, service.store.journal, "begin_attempt", cannot_begin)
    async with under_way(service) as came_to:
        pass

    (run,) = came_to
    record = service.store.runs.load.sync(run.run_id) if isinstance(run, Run) else None
    assert record and (record.answer, record.status, record.usage.calls) == ("Paris", "converged", 3)
    assert [one.text for one in record.iterations[0].responses] == ["answer of a", "answer of b"]
    assert len(record.degraded) == 1 and "another process has held it" in record.degraded[0]


async def test_without_a_journal_nothing_is_asked_that_a_budget_limits(
    impatient: None, models: Provider, path: Path, service: ConsortiumService
) -> None:
    gate = models.gate("a", "b")
    async with under_way(service, budget=Budget(max_calls=9)) as came_to:
        await gate.wait_for_async(2)
        with held(path):
            gate.open()
            while not came_to:
                await anyio.lowlevel.checkpoint()

    (run,) = came_to
    assert isinstance(run, Run) and run.answer in ("answer of a", "answer of b")
    assert "the budget cannot be checked" in run.degraded[0] and models.count("arbiter") == 0


async def test_a_run_that_cannot_be_begun_says_why_and_can_be_gone_on_with(
    impatient: None, models: Provider, path: Path, service: ConsortiumService
) -> None:
    run_id = service.opener.open_run(asking("Capital?", **DEFINITION)).run_id
    async with Runner(service) as runner:
        with held(path):
            runner.submit(run_id)
            async for _ in runner.follow(run_id, 60):
                pass
            refused = await runner.load(run_id)
        asked = models.count()
        runner.submit(run_id)
        async for _ in runner.follow(run_id, 60):
            pass
        answered = await runner.load(run_id)

    assert refused.status == "interrupted" and "another process has held it" in (refused.error or "")
    assert (asked, answered.answer) == (0, "Paris")


@pytest.mark.parametrize("way", ["read", "gone on with"])
async def test_an_answer_that_could_not_be_saved_is_saved_later_and_paid_for_once(
    way: str, impatient: None, models: Provider, path: Path, service: ConsortiumService
) -> None:
    gate = models.gate("a", "b")
    run_id = service.opener.open_run(asking("Capital?", **DEFINITION)).run_id
    async with Runner(service) as runner:
        runner.submit(run_id)
        await gate.wait_for_async(2)
        with held(path):
            gate.open()
            async for _ in runner.follow(run_id, 60):
                pass
        if way == "read":
            await runner.load(run_id)
        else:
            runner.submit(run_id)
            async for _ in runner.follow(run_id, 60):
                pass

    record = service.store.runs.load.sync(run_id)
    assert (record.answer, record.status, models.count()) == ("Paris", "converged", 3) and not list(service.live_runs)
    assert "could not be saved in full" in record.degraded[-1]


async def test_a_run_that_could_not_be_saved_is_its_callers_alone(
    impatient: None, models: Provider, path: Path, service: ConsortiumService
) -> None:
    with calling("ann"):
        run_id = service.opener.open_run(asking("Capital?", **DEFINITION)).run_id
        async with Runner(service) as runner:
            with held(path):
                runner.submit(run_id)
                async for _ in runner.follow(run_id, 60):
                    pass
            own = await runner.load(run_id)
            with calling("bob"), pytest.raises(NotFoundError):
                await runner.load(run_id)
            with calling(None):
                of_all = await runner.load(run_id)

    assert own == of_all and "another process has held it" in (own.error or "")


async def test_a_run_that_is_removed_while_it_is_worked_on_ends_no_other(
    models: Provider, path: Path, service: ConsortiumService
) -> None:
    gate = models.gate("a", "b")
    removed, other = [service.opener.open_run(asking(f"Capital {number}?", **DEFINITION)).run_id for number in range(2)]
    async with Runner(service) as runner:
        for run_id in (removed, other):
            runner.submit(run_id)
        await gate.wait_for_async(4)
        with closing(service.store.database.connect()) as connection:
            connection.execute("DELETE FROM runs WHERE run_id = ?", [removed])
        gate.open()
        async for _ in runner.follow(other, 60):
            pass
        with pytest.raises(NotFoundError):
            async for _ in runner.follow(removed, 60):
                pass
        await runner.stop()
        answered = await runner.load(other)

    assert answered.answer == "Paris"


async def test_an_answer_is_not_lost_because_its_receipt_cannot_be_noted(
    impatient: None, models: Provider, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = Runs.note_received

    def cannot_note(runs: Runs, run_id: str) -> None:
        with held(path):
            note.__get__(runs, Runs).sync(run_id)

    monkeypatch.setattr(Runs, "note_received", writes(cannot_note))
    run = await consult_function("Capital?", **DEFINITION)

    assert (run.answer, run.degraded) == ("Paris", ())


async def test_a_budget_with_an_unwritable_journal_from_the_first_call_on_asks_no_model(
    impatient: None, models: Provider, path: Path, service: ConsortiumService, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = service.store.journal.begin_attempt.sync

    def cannot_begin(*arguments: object) -> object:
        with held(path):
            return begin(*arguments)  # type: ignore[arg-type]

    replace_method(monkeypatch, service.store.journal, "begin_attempt", cannot_begin)
    async with under_way(service, budget=Budget(max_calls=9)) as came_to:
        pass

    (run,) = came_to
    assert isinstance(run, Run) and run.answer is None and models.count() == 0
