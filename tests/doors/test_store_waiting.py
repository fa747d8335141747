"""Waiting for the store: a write needs no thread, and is soon on the disk."""

import os
import sqlite3
import threading
from contextlib import closing
from itertools import count
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import anyio
import pytest

from consortium_mcp._util.caller import calling, current_caller
from consortium_mcp.store import Store
from tests.store_methods import replace_method


def found_after_a_power_cut(path: Path, synced: int, copy: Path) -> list[str]:
    """The rows that a reader finds if only this many bytes of the log are on the disk."""
    copy.write_bytes(path.read_bytes())
    copy.with_name(f"{copy.name}-wal").write_bytes(path.with_name(f"{path.name}-wal").read_bytes()[:synced])
    with closing(sqlite3.connect(copy)) as connection:
        return [row[0] for row in connection.execute("SELECT path FROM takeovers")]


def hold_until_submitted(store: Store, jobs: int) -> None:
    """Keep the writing thread busy until so many further jobs wait for it."""
    writer, enough = store.database._writer, threading.Event()
    submit, waiting = writer.submit, count(1)
    submit(lambda connection: enough.wait(30))

    def counted(job: Any) -> Any:
        future = submit(job)
        if next(waiting) == jobs:
            enough.set()
        return future

    writer.submit = counted  # type: ignore[method-assign]


def test_what_is_committed_is_soon_on_the_disk_without_an_end_of_the_process(
    path: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: SimpleQueue[int] = SimpleQueue()
    fsync = os.fsync

    def sync_and_tell(file: int) -> None:
        fsync(file)
        if os.path.samestat(os.fstat(file), os.stat(f"{path}-wal")):
            synced.put(os.fstat(file).st_size)

    monkeypatch.setattr(os, "fsync", sync_and_tell)
    store.consortiums.save_takeover.sync("here")
    found = found_after_a_power_cut(path, synced.get(timeout=30), tmp_path / "copy.db")

    assert found == ["here"]


async def test_what_is_written_at_once_is_one_transaction_for_its_caller_and_needs_no_thread_each(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    callers: list[str | None] = []
    threads: set[int] = set()
    begun: list[str] = []
    store.database._writer.write(lambda connection: connection.set_trace_callback(begun.append))

    takeover = store.consortiums.save_takeover.sync

    def note(name: str) -> None:
        callers.append(current_caller())
        threads.add(threading.get_ident())
        takeover(name)

    replace_method(monkeypatch, store.consortiums, "save_takeover", note)

    async def save(name: str) -> None:
        with calling(name):
            await store.consortiums.save_takeover(name)

    hold_until_submitted(store, 50)
    async with anyio.create_task_group() as group:
        for number in range(50):
            group.start_soon(save, str(number))
    saved = store.consortiums.list_takeovers.sync()

    assert sorted(saved) == sorted(map(str, range(50))) and callers == [str(number) for number in range(50)]
    assert len(threads) == 1
    assert sum(statement.startswith("BEGIN") for statement in begun) <= 2  # the holding job's, and that of all others


async def test_what_a_cancelled_task_was_writing_is_written(store: Store) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await store.consortiums.save_takeover("kept")

    assert list(store.consortiums.list_takeovers.sync()) == ["kept"]
