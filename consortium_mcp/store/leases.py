"""Leases: which process holds a run, whether it is to be cancelled, and which nested runs end with it."""

import sqlite3
import time
from datetime import datetime

from consortium_mcp.records import now_utc
from consortium_mcp.store.part import Part, reads, writes

LEASE_SECONDS = 30
"""The seconds for which a process holds a run without renewing its lease."""

_END_NESTED = """
WITH RECURSIVE inside (run_id) AS (
    SELECT run_id FROM runs WHERE parent_run = ?
    UNION SELECT runs.run_id FROM runs JOIN inside ON runs.parent_run = inside.run_id
)
UPDATE runs SET status = 'cancelled', error = 'The run that asked it has ended.', ended_utc = ?,
    owner = NULL, lease_until = NULL
WHERE run_id IN inside AND status = 'running'
"""


class Leases(Part):
    """The leases of runs."""

    @writes
    def renew(self, run_id: str, owner: str) -> bool:
        """Extend the lease by `LEASE_SECONDS`; False if another process holds the run, or it is to be cancelled."""
        until = time.time() + LEASE_SECONDS
        sql = "UPDATE runs SET lease_until = ? WHERE run_id = ? AND owner = ? AND cancel_requested = 0"
        return self.database.write(lambda c: c.execute(sql, [until, run_id, owner]).rowcount) == 1

    @writes
    def claim(self, run_id: str, owner: str, deadline_utc: str) -> bool:
        """Take over an interrupted run, or keep one's own; of several processes that try, exactly one succeeds.

        Args:
            deadline_utc: the new deadline of the run.
        """
        now = time.time()
        sql = (
            "UPDATE runs SET owner = ?, lease_until = ?, deadline_utc = ? "
            "WHERE run_id = ? AND status = 'running' AND (owner = ? OR lease_of(lease_until, owner) < ?)"
        )
        values = [owner, now + LEASE_SECONDS, deadline_utc, run_id, owner, now]
        return self.database.write(lambda c: c.execute(sql, values).rowcount) == 1

    @reads
    def held_until(self, run_id: str) -> datetime | None:
        """When the lease of a run ends, unless it is renewed; None if no process holds the run."""
        sql = (
            "SELECT lease_until FROM runs WHERE run_id = ? AND status = 'running' AND lease_of(lease_until, owner) > ?"
        )
        rows = self.database.read(sql, [run_id, time.time()])
        return datetime.fromtimestamp(rows[0]["lease_until"]).astimezone() if rows else None

    @writes
    def release(self, run_id: str, owner: str) -> bool:
        """Release a run, which is interrupted until a process resumes it; False if it is to be cancelled."""
        sql = (
            "UPDATE runs SET owner = NULL, lease_until = NULL "
            "WHERE run_id = ? AND owner = ? AND status = 'running' AND cancel_requested = 0"
        )
        return self.database.write(lambda c: c.execute(sql, [run_id, owner]).rowcount) == 1

    @reads
    def list_interrupted(self, limit: int) -> list[str]:
        """The ids of interrupted runs, newest first, without nested ones, which are resumed by their outer run."""
        sql = (
            "SELECT run_id FROM runs WHERE status = 'running' AND lease_of(lease_until, owner) < ? "
            "AND parent_run IS NULL ORDER BY +run_id DESC LIMIT ?"  # `+` sorts only the few open runs
        )
        return [row["run_id"] for row in self.database.read(sql, [time.time(), limit])]

    @writes
    def request_cancel(self, run_id: str) -> None:
        """Ask the process that holds the run to cancel it at its next renewal; without one, the run ends now."""
        request = "UPDATE runs SET cancel_requested = 1 WHERE run_id = ? AND status = 'running'"
        end = (
            "UPDATE runs SET status = 'cancelled', error = 'The run was cancelled.', ended_utc = ? "
            "WHERE run_id = ? AND status = 'running' AND lease_of(lease_until, owner) < ?"
        )

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(request, [run_id])
            if connection.execute(end, [now_utc(), run_id, time.time()]).rowcount:
                end_nested(connection, run_id)

        self.database.write(write)


def is_held(connection: sqlite3.Connection, run_id: str, owner: str, *, calls: bool = False) -> bool:
    """Whether a process holds the run; with `calls`, also whether it is not to be cancelled."""
    row = connection.execute("SELECT owner, cancel_requested FROM runs WHERE run_id = ?", [run_id]).fetchone()
    return row is not None and row["owner"] == owner and not (calls and row["cancel_requested"])


def end_nested(connection: sqlite3.Connection, run_id: str) -> None:
    """End the nested runs of a run that has ended, because no caller waits for them."""
    connection.execute(_END_NESTED, [run_id, now_utc()])
