"""Pruning: old runs are removed with all that belongs to them, and their space is given back."""

import sqlite3
import time
from collections.abc import Collection
from contextlib import closing
from typing import Any

from consortium_mcp.errors import StoreUnusable
from consortium_mcp.store.database import DatabaseFile, connect, why_unusable
from consortium_mcp.store.journal import run_scope

_NOT_HELD = "NOT (status = 'running' AND coalesce(lease_until, 0) >= ?)"
"""Whether no process works on a run; the one parameter is the time now."""


class Pruning(DatabaseFile):
    """Removes runs that nobody works on."""

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
            sql += " AND run_id NOT IN (SELECT run_id FROM runs ORDER BY run_id DESC LIMIT ?)"
            values.append(keep)
        return {row["run_id"]: row["created_utc"] for row in self.read(f"{sql} ORDER BY run_id", values)}

    def delete_runs(self, run_ids: Collection[str]) -> list[str]:
        """Remove these runs but those that a process has begun to work on meanwhile; returns which are gone."""

        def delete(connection: sqlite3.Connection) -> list[str]:
            sql = f"DELETE FROM runs WHERE run_id = ? AND {_NOT_HELD}"  # what belongs to it goes with it
            gone = [one for one in run_ids if connection.execute(sql, [one, time.time()]).rowcount]
            scopes = [[run_scope(run_id)] for run_id in gone]
            connection.executemany("DELETE FROM spending WHERE scope = ?", scopes)
            connection.execute("DELETE FROM questions WHERE question_id NOT IN (SELECT question_id FROM calls)")
            return gone

        return self.write(delete)

    def give_back_space(self) -> int:
        """Let go of what removed rows still take of the disk; returns how many bytes that were.

        Raises StoreUnusable where another process does not let us; a later time will do as well.
        """
        before = self._size_bytes()
        try:
            with closing(connect(self.path)) as connection:
                connection.execute("VACUUM")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            raise StoreUnusable(why_unusable(self.path, error)) from error
        return max(0, before - self._size_bytes())

    def _size_bytes(self) -> int:
        files = (self.path, self.path.with_name(self.path.name + "-wal"))
        return sum(file.stat().st_size for file in files if file.exists())
