"""Removes old runs with all their rows, and frees their space, in short steps.

Other writers can write between two steps: each step is short and followed by a pause.
"""

import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any

from consortium_mcp.errors import StoreUnusableError
from consortium_mcp.store.database import why_unusable
from consortium_mcp.store.journal import run_scope
from consortium_mcp.store.part import Part

STEP_SECONDS = 0.03
"""The length of a step: about as long as SQLite's pauses while another process waits for the lock."""

PAUSE_SECONDS = 0.03
"""The pause after a step: longer than SQLite's pauses at the beginning of a wait."""

_PAGES = 500
"""The number of the file's pages that a step frees."""

_NOT_HELD = "NOT (status = 'running' AND lease_of(lease_until, owner) >= ?)"
"""The condition that no process works on a run; its one parameter is the current time."""


class Pruning(Part):
    """Removes runs that no process works on."""

    def list_prunable(self, before_utc: str | None, keep: int | None) -> dict[str, str]:
        """The opening time of each run that may be removed, by id, oldest first; a run must meet both conditions.

        Args:
            before_utc: the run was opened before that, ISO 8601 in UTC; None means any time.
            keep: the run is not among this many newest ones; None means any run.
        """
        sql = f"SELECT run_id, created_utc FROM runs WHERE {_NOT_HELD}"
        values: list[Any] = [time.time()]
        if before_utc is not None:
            sql += " AND created_utc < ?"
            values.append(before_utc)
        if keep is not None:
            sql += " AND run_id <= (SELECT run_id FROM runs ORDER BY run_id DESC LIMIT 1 OFFSET ?)"
            values.append(keep)
        order = "run_id" if before_utc is None else "created_utc"
        return {row["run_id"]: row["created_utc"] for row in self.database.read(f"{sql} ORDER BY {order}", values)}

    def delete_runs(self, run_ids: Iterable[str]) -> Iterator[list[str]]:
        """Remove these runs, except those that a process has begun to work on; yields the removed ids, by step."""
        left = iter(run_ids)
        while step := self.database.write(lambda connection: _delete(connection, left)):
            yield [run_id for run_id, is_gone in step.items() if is_gone]
            time.sleep(PAUSE_SECONDS)

    def give_back_space(self) -> int:
        """Free the space of removed rows on the disk; returns the number of freed bytes.

        A file from an earlier release is rewritten for this, once, while no other process writes.

        Raises StoreUnusableError if another process prevents it; it can be repeated later.
        """
        before = self._size_bytes()
        try:
            with closing(self.database.connect()) as connection:
                if connection.execute("PRAGMA auto_vacuum").fetchone()[0] == 0:
                    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
                    connection.execute("VACUUM")
                while _give_back(connection):
                    time.sleep(PAUSE_SECONDS)
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            raise StoreUnusableError(why_unusable(self.database.path, error)) from error
        return max(0, before - self._size_bytes())

    def _size_bytes(self) -> int:
        files = (self.database.path, self.database.path.with_name(self.database.path.name + "-wal"))
        return sum(file.stat().st_size for file in files if file.exists())


def _delete(connection: sqlite3.Connection, left: Iterator[str]) -> dict[str, bool]:
    """Remove runs, with all their rows, until the step's time is over; whether each one was removed."""
    ends = time.monotonic() + STEP_SECONDS
    gone: dict[str, bool] = {}
    for run_id in left:
        sql = f"DELETE FROM runs WHERE run_id = ? AND {_NOT_HELD}"
        gone[run_id] = bool(connection.execute(sql, [run_id, time.time()]).rowcount)
        if gone[run_id]:
            connection.execute("DELETE FROM spending WHERE scope = ?", [run_scope(run_id)])
        if time.monotonic() >= ends:
            break
    return gone


def _give_back(connection: sqlite3.Connection) -> bool:
    """Free some pages; returns whether any are left."""
    connection.executescript(f"PRAGMA incremental_vacuum({_PAGES})")  # `execute` would stop after the first page
    return bool(connection.execute("PRAGMA freelist_count").fetchone()[0])
