"""Runs: opened, closed, loaded, listed, searched."""

import json
import sqlite3
import time
from dataclasses import dataclass
from typing import Any

from consortium_mcp._util.counts import counted
from consortium_mcp.errors import BusyError, ConsortiumError, NextStep, NotFoundError
from consortium_mcp.records import (
    Iteration,
    Parent,
    Run,
    Usage,
    now_utc,
)
from consortium_mcp.store.attachments import dump_attachments, keep_attachments
from consortium_mcp.store.database import DatabaseFile, insert
from consortium_mcp.store.journal import dump_turns
from consortium_mcp.store.leases import LEASE_SECONDS, end_nested, is_held
from consortium_mcp.store.part import Part, reads, writes
from consortium_mcp.store.rows import iteration_of, responses_so_far, run_of
from consortium_mcp.store.run_queries import select_runs

STATUS_SEEN = "CASE WHEN status = 'running' AND lease_of(lease_until, owner) < ? THEN 'interrupted' ELSE status END"
"""The status for a reader; the one parameter is the current time."""

_COST = "coalesce(cost_usd, CASE reserved_usd WHEN 0 THEN 0.0 END)"
"""US dollars of an attempt; null if unknown. An attempt without a reservation was free, however it ended."""

_CALL_COST = (
    f"SELECT CASE WHEN count(*) = count({_COST}) THEN total({_COST}) END FROM attempts "
    "WHERE attempts.run_id = calls.run_id AND attempts.call_id = calls.call_id"
)
"""US dollars of a call's attempts; null if the cost of any is unknown."""

_CALL_BEGUN = (
    "SELECT min(begun_utc) FROM attempts WHERE attempts.run_id = calls.run_id AND attempts.call_id = calls.call_id"
)
"""When a call was first made; null if it was not."""


_CALL_ATTEMPTS = (
    "SELECT count(*) FROM attempts WHERE attempts.run_id = calls.run_id AND attempts.call_id = calls.call_id"
)
"""The number of a call's attempts."""


def no_such_run(database: DatabaseFile, run_id: str) -> NotFoundError:
    """The error for a run that does not exist, or that belongs to another caller."""
    three = database.read("SELECT run_id FROM runs ORDER BY run_id DESC LIMIT 3")
    newest = ", ".join(row["run_id"] for row in three) or "none yet"
    return NotFoundError(f"No run {run_id!r}. Newest runs: {newest}.", NextStep.LIST_RUNS)


@dataclass(frozen=True)
class RunCapacity:
    """The limits of runs; nested runs do not count as simultaneous ones."""

    of_process: int
    """The most runs that one process may hold, waiting runs included."""

    of_caller: int | None
    """The most runs that one caller may have, over all processes; None means no limit."""

    saved_of_caller: int | None = None
    """The most runs of one caller in the database, nested runs included; None means no limit."""

    def check(self, connection: sqlite3.Connection, owner: str, caller: str | None) -> None:
        """Raise BusyError if there is no room for one more run."""
        sql = (
            "SELECT count(*) FROM runs WHERE status = 'running' AND lease_until >= ? AND parent_run IS NULL AND {} = ? "
            "AND lease_of(lease_until, owner) > 0"
        )
        now = time.time()
        if connection.execute(sql.format("owner"), [now, owner]).fetchone()[0] >= self.of_process:
            raise BusyError(f"This server is busy with {counted(self.of_process, 'run')}; try again in a minute.")
        if caller is None:
            return
        if self.of_caller and connection.execute(sql.format("caller"), [now, caller]).fetchone()[0] >= self.of_caller:
            raise BusyError(
                f"You have {self.of_caller} active runs, which is the limit.",
                NextStep.FREE_PLACE,
                limit="max_runs_per_caller",
            )
        saved = "SELECT count(*) FROM runs WHERE caller = ?"
        if self.saved_of_caller and connection.execute(saved, [caller]).fetchone()[0] >= self.saved_of_caller:
            raise BusyError(
                f"You have {counted(self.saved_of_caller, 'saved run')}, which is the limit. "
                "Ask the operator of this server to prune old runs.",
                limit="max_saved_runs_per_caller",
            )


class Runs(Part):
    """The records of all runs."""

    @writes
    def open(
        self,
        run: Run,
        owner: str,
        fingerprint: str | None = None,
        join_since: str | None = None,
        refusal: ConsortiumError | None = None,
        room: RunCapacity | None = None,
        outer_owner: str | None = None,
    ) -> str | None:
        """Write a new run, held by `owner`; or return the id of the run of an equal request that is joined instead.

        A nested run always joins: each call opens one nested run only, also in another process.

        Args:
            fingerprint: identifies equal requests, so that a repeated request can join the run.
            join_since: the earliest opening time of a run to join; None joins none.
            refusal: raised instead of opening a new run; None allows it.
            room: the limits of simultaneous runs; None means no limit.
            outer_owner: the process that must hold the outer run; None for a run that is not nested.

        Raises:
            BusyError: too many runs are under way, or another process now holds the outer run, or it has ended.
        """
        row = {
            "run_id": run.run_id,
            "status": run.status,
            "prompt": run.prompt,
            "history": dump_turns(run.history),
            "attachments": dump_attachments(run.attachments),
            "consortium_name": run.consortium_name,
            "consortium": run.consortium.model_dump_json(),
            "shuffle_seed": run.shuffle_seed,
            "fence_token": run.fence_token,
            "follow_up_to": run.follow_up_to,
            "output_schema": json.dumps(run.output_schema) if run.output_schema else None,
            "replay_of": run.replay_of,
            "parent_run": run.parent.run_id if run.parent else None,
            "parent_call": run.parent.call_id if run.parent else None,
            "degraded": json.dumps(run.degraded),
            "created_utc": run.created_utc,
            "deadline_utc": run.deadline_utc,
            "deadline_seconds": run.deadline_seconds,
            **run.budget.model_dump(),
            "owner": owner,
            "lease_until": time.time() + LEASE_SECONDS,
            "fingerprint": fingerprint,
            "caller": run.caller,
        }

        def open_or_join(connection: sqlite3.Connection) -> str | None:
            if run.parent:
                _check_parent(connection, run.parent, outer_owner)
                if same := _take_nested(connection, row):
                    return same
            if join_since and (same := _find_joinable(connection, fingerprint, join_since)):
                return same
            if refusal:
                raise refusal
            if room:
                room.check(connection, owner, run.caller)
            insert(connection, "runs", row)
            keep_attachments(connection, run)
            return None

        return self.database.write(open_or_join)

    @writes
    def note_received(self, run_id: str) -> None:
        """Note that a caller has received the run's answer."""
        sql = "UPDATE runs SET received_utc = ? WHERE run_id = ? AND received_utc IS NULL AND status <> 'running'"
        self.database.write(lambda c: c.execute(sql, [now_utc(), run_id]) and None)

    @writes
    def close(self, run: Run, owner: str, last: Iteration | None = None) -> None:
        """Record the end of a run, and release it; without effect if it has ended, or another process holds it.

        So a cancellation that arrives too late does not remove the answer.

        Args:
            last: the run's last iteration, if it is not written yet.
        """
        row = [
            run.status,
            run.selected_iteration,
            run.answer,
            run.confidence,
            run.dissent,
            json.dumps(run.degraded, ensure_ascii=False),
            run.error,
            run.ended_utc,
            run.run_id,
            owner,
        ]
        sql = (
            "UPDATE runs SET status = ?, selected_iteration = ?, answer = ?, confidence = ?, dissent = ?, "
            "degraded = ?, error = ?, ended_utc = ?, owner = NULL, lease_until = NULL "
            "WHERE run_id = ? AND owner = ? AND status = 'running'"
        )

        def close(connection: sqlite3.Connection) -> None:
            if last is not None:
                self.save_iteration.sync(run.run_id, last, owner)
            if connection.execute(sql, row).rowcount:
                end_nested(connection, run.run_id)

        self.database.write(close)

    @writes
    def save_iteration(self, run_id: str, iteration: Iteration, owner: str | None = None) -> None:
        """Record an iteration: its responses' ids and its verdict; the texts are already in the journal.

        Args:
            owner: the process that must hold the run, otherwise nothing is written; None allows any.
        """
        row = {
            "run_id": run_id,
            "number": iteration.number,
            "responses": json.dumps([[one.response_id, one.late] for one in iteration.responses]),
            "judged_by": iteration.judged_by,
            "shown_order": json.dumps(iteration.shown_order),
            "verdict": iteration.verdict.model_dump_json() if iteration.verdict else None,
            "measures": iteration.measures.model_dump_json() if iteration.measures else None,
            "trust": iteration.trust.model_dump_json() if iteration.trust else None,
            "arbiter_error": iteration.arbiter_error,
            "arbiter_unseen": iteration.arbiter_unseen,
            "raw_verdict": iteration.raw_verdict,
        }

        def save(connection: sqlite3.Connection) -> None:
            if owner is None or is_held(connection, run_id, owner):
                insert(connection, "iterations", row, replace=True)

        self.database.write(save)

    @reads
    def load(self, run_id: str) -> Run:
        """Load a run with everything that has arrived so far.

        Raises:
            NotFoundError: the run does not exist; the message names the newest ones.
        """
        rows = self.database.read("SELECT * FROM runs WHERE run_id = ?", [run_id])
        if not rows:
            raise no_such_run(self.database, run_id)
        return run_of(rows[0], self._iterations(run_id, rows[0]["ended_utc"]), self._usage(run_id))

    @reads
    def find(
        self,
        query: str | None = None,
        consortium: str | None = None,
        status: str | None = None,
        limit: int | None = 20,
        before: str | None = None,
    ) -> list[Run]:
        """Runs, newest first, without their iterations.

        Args:
            query: words that must occur in prompt or answer; None means all.
            consortium: the saved name of the consortium; None means all.
            status: the status for a reader, `interrupted` included; None means all.
            limit: the largest number of runs; None means all.
            before: the run id after which the list continues; None means from the newest.
        """
        rows = self.database.read(
            *select_runs("runs.*", query, consortium, status, before, limit, self.database.reader())
        )
        return [run_of(row, (), self._usage(row["run_id"])) for row in rows]

    def _iterations(self, run_id: str, ended_utc: str | None) -> tuple[Iteration, ...]:
        sql = (
            f"SELECT *, ({_CALL_COST}) AS cost_usd, ({_CALL_BEGUN}) AS begun_utc, ({_CALL_ATTEMPTS}) AS attempts "
            "FROM calls WHERE run_id = ?"
        )
        calls = {row["call_id"]: row for row in self.database.read(sql, [run_id])}
        saved = self.database.read("SELECT * FROM iterations WHERE run_id = ? ORDER BY number", [run_id])
        iterations = [iteration_of(row, calls, ended_utc) for row in saved]
        asked = max((row["iteration"] for row in calls.values()), default=0)
        if asked > len(iterations) and (under_way := responses_so_far(asked, calls)):
            iterations.append(Iteration(number=asked, responses=under_way))
        return tuple(iterations)

    def _usage(self, run_id: str) -> Usage:
        """The usage of the run's own attempts; a call that was copied for a replay has none."""
        spent = (
            "SELECT count(*) AS calls, sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens, "
            f"sum({_COST}) AS cost_usd, count(*) FILTER (WHERE {_COST} IS NULL) AS unpriced "
            "FROM attempts WHERE run_id = ?"
        )
        totals = dict(self.database.read(spent, [run_id])[0])
        if not totals["calls"]:
            return Usage(input_tokens=0, output_tokens=0, cost_usd=0.0)
        if totals.pop("unpriced"):
            totals["cost_usd"] = None
        return Usage(**totals)


def _find_joinable(connection: sqlite3.Connection, fingerprint: str | None, since_utc: str) -> str | None:
    """The newest run of an equal request that is under way, or whose answer no caller has received; else None."""
    sql = (
        "SELECT run_id FROM runs WHERE fingerprint = ? AND received_utc IS NULL AND created_utc > ? "
        "AND cancel_requested = 0 AND (status = 'running' OR answer IS NOT NULL) ORDER BY run_id DESC LIMIT 1"
    )
    row = connection.execute(sql, [fingerprint, since_utc]).fetchone()
    return row["run_id"] if row else None


def _check_parent(connection: sqlite3.Connection, parent: Parent, owner: str | None) -> None:
    """Raise BusyError if the process no longer holds the outer run whose call opens this one."""
    if owner is None or not is_held(connection, parent.run_id, owner, calls=True):
        raise BusyError(f"The outer run {parent.run_id} has ended, or another process holds it.")


def _take_nested(connection: sqlite3.Connection, row: dict[str, Any]) -> str | None:
    """The nested run that the same call opened before for the same question; None without one.

    If it has not ended, the new row's owner takes it over, with the new deadline: the process that makes the outer
    run's call also works on the nested run, even before the lease of a dead process expires.
    """
    find = (
        "SELECT run_id FROM runs WHERE parent_run = :parent_run AND parent_call = :parent_call "
        "AND fingerprint = :fingerprint AND cancel_requested = 0 AND (status = 'running' OR answer IS NOT NULL) "
        "ORDER BY run_id DESC LIMIT 1"
    )
    found = connection.execute(find, row).fetchone()
    if found is None:
        return None
    take = (
        "UPDATE runs SET owner = :owner, lease_until = :lease_until, deadline_utc = :deadline_utc, "
        "deadline_seconds = :deadline_seconds WHERE run_id = :found AND status = 'running'"
    )
    connection.execute(take, {**row, "found": found["run_id"]})
    return str(found["run_id"])
