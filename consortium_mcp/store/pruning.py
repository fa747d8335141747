"""Pruning: old runs are removed with all that belongs to them, and their space is given back, in steps.

Other writers get in between two steps: none takes long, and each is followed by a pause.
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
"""How long a step may go on: about as long as SQLite's pauses while another process waits for the lock."""

PAUSE_SECONDS = 0.03
"""How long other writers have after a step: longer than those pauses in a wait that has just begun."""

_PAGES = 500
"""How many pages of the file a step gives back."""

_NOT_HELD = "NOT (status = 'running' AND lease_of(lease_until, owner) >= ?)"
"""Whether no process works on a run; the one parameter is the time now."""


class Pruning(Part):
    """Removes runs that no process works on."""

    def list_prunable(self, before_utc: str | None, keep: int | None) -> dict[str, str]:
        """When each run that may go was opened, by its id, oldest first; with both conditions, it must meet both.

        Args:
            before_utc: opened before that, ISO 8601 in UTC; None means whenever.
            keep: not among so many newest ones; None means all.
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
        """Remove these runs but those that a process has begun to work on meanwhile; gives which are gone, by steps."""
        left = iter(run_ids)
        while step := self.database.write(lambda connection: _delete(connection, left)):
            yield [run_id for run_id, is_gone in step.items() if is_gone]
            time.sleep(PAUSE_SECONDS)

    def give_back_space(self) -> int:
        """Let go of what removed rows still take of the disk; returns how many bytes that were.

        A file that an earlier release made is written anew for it, once, and no other process writes meanwhile.

        Raises StoreUnusableError where another process does not let us; a later time will do as well.
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
    """Remove the next runs, with what belongs to them, for as long as a step goes on; whether each is gone."""
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
    """Give back some pages; whether any are left."""
    connection.executescript(f"PRAGMA incremental_vacuum({_PAGES})")  # `execute` would stop after the first page
    return bool(connection.execute("PRAGMA freelist_count").fetchone()[0])
