"""The journal: each call is noted before it is made, its spending is reserved, and its result is kept."""

import hashlib
import json
import sqlite3
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from consortium_mcp._util.counts import counted
from consortium_mcp.records import Budget, CallResult, CallSpec, Turn, now_utc
from consortium_mcp.store.database import insert, insert_sql
from consortium_mcp.store.leases import is_held
from consortium_mcp.store.part import Part, reads, writes
from consortium_mcp.store.rows import RESULT_COLUMNS, result_of


@dataclass(frozen=True)
class Reservation:
    """The largest expected usage of one attempt, held back until it is settled."""

    tokens: int
    """Tokens of the question and the reply together."""

    cost_usd: float | None
    """US dollars; None if the price is unknown."""


@dataclass(frozen=True)
class AttemptStarted:
    """The attempt may be made."""

    attempt: int
    """The number of the attempt, from 1; 0 if the attempt could not be noted."""


@dataclass(frozen=True)
class AlreadyPaid:
    """The call was already made; this is its result."""

    result: CallResult


@dataclass(frozen=True)
class OverBudget:
    """A budget does not allow the attempt."""

    why: str
    """One sentence."""


@dataclass(frozen=True)
class LeaseLost:
    """Another process holds the run, or the run is to be cancelled."""


class Journal(Part):
    """The calls, their attempts, and their usage."""

    @writes
    def begin_attempt(
        self,
        run_id: str,
        spec: CallSpec,
        reservation: Reservation,
        budgets: dict[str, Budget],
        owner: str | None = None,
    ) -> AttemptStarted | AlreadyPaid | OverBudget | LeaseLost:
        """Note an attempt and reserve its expected usage, unless the call is paid for or the attempt is not allowed.

        One transaction over all processes on the file: every attempt in flight is counted.

        Args:
            budgets: the budget of each scope in which the attempt counts: `run:…`, `day:…`, `caller:…`.
            owner: the process that must hold the run; None allows any.
        """
        question = _question(spec)
        call = _call(run_id, spec, question, attempts=1)

        def begin(connection: sqlite3.Connection) -> AttemptStarted | AlreadyPaid | OverBudget | LeaseLost:
            if owner is not None and not is_held(connection, run_id, owner, calls=True):
                return LeaseLost()
            known = connection.execute(
                "SELECT * FROM calls WHERE run_id = ? AND call_id = ?", [run_id, spec.call_id]
            ).fetchone()
            if known is not None and known["state"] == "done":
                return AlreadyPaid(result_of(known))
            for scope, budget in budgets.items():
                if why := _why_refused(connection, scope, budget, reservation):
                    return OverBudget(why)
            insert(connection, "questions", question, ignore=True)
            upsert = f"{insert_sql('calls', call)} ON CONFLICT DO UPDATE SET attempts = attempts + 1 RETURNING attempts"
            attempt: int = connection.execute(upsert, call).fetchone()[0]
            _reserve(connection, run_id, spec.call_id, attempt, reservation, budgets)
            return AttemptStarted(attempt)

        return self.database.write(begin)

    @writes
    def settle_attempt(
        self, run_id: str, call_id: str, attempt: int, result: CallResult, cost_usd: float | None, final: bool = False
    ) -> CallResult:
        """Record an attempt's result and usage; a final one becomes the call's result, unless the call has one already.

        Returns the call's result. If the used tokens are unknown, the reservation counts as spent.
        """
        counted = [tokens for tokens in (result.input_tokens, result.output_tokens) if tokens is not None]
        counted = [0] if result.was_refused else counted
        row = {
            "error_kind": result.error_kind,
            "error": result.error,
            "tokens": sum(counted) if counted else None,
            "input_tokens": result.input_tokens,
            "output_tokens": result.output_tokens,
            "cost_usd": cost_usd,
            "duration_ms": result.duration_ms,
        }

        def settle(connection: sqlite3.Connection) -> CallResult:
            assignments = ", ".join(f"{column} = ?" for column in row)
            sql = f"UPDATE attempts SET {assignments} WHERE run_id = ? AND call_id = ? AND attempt = ? RETURNING *"
            noted = connection.execute(sql, [*row.values(), run_id, call_id, attempt]).fetchone()
            if noted is not None:  # otherwise it could not be noted when it began
                tokens = noted["reserved_tokens"] if noted["tokens"] is None else noted["tokens"]
                cost = noted["reserved_usd"] if cost_usd is None else cost_usd
                more = (tokens - noted["reserved_tokens"], (cost or 0.0) - (noted["reserved_usd"] or 0.0))
                _spend_more(connection, run_id, noted["day"], 0, *more, 0)
            return _finish(connection, run_id, call_id, result, "done") if final else result

        return self.database.write(settle)

    @writes
    def withdraw_attempt(self, run_id: str, call_id: str, attempt: int) -> None:
        """Remove an attempt that was noted and never made; its reservation is released."""

        def withdraw(connection: sqlite3.Connection) -> None:
            sql = "DELETE FROM attempts WHERE run_id = ? AND call_id = ? AND attempt = ? RETURNING *"
            row = connection.execute(sql, [run_id, call_id, attempt]).fetchone()
            if row is None:
                return  # it could not be noted when it began
            # Not a decrement: another process may have made a later attempt meanwhile.
            connection.execute(
                "UPDATE calls SET attempts = (SELECT coalesce(max(attempt), 0) FROM attempts AS a "
                "WHERE a.run_id = calls.run_id AND a.call_id = calls.call_id) WHERE run_id = ? AND call_id = ?",
                [run_id, call_id],
            )
            tokens, cost = row["reserved_tokens"], row["reserved_usd"]
            _spend_more(connection, run_id, row["day"], -1, -tokens, -(cost or 0.0), -int(cost is None))

        self.database.write(withdraw)

    @writes
    def finish_call(
        self, run_id: str, spec: CallSpec, result: CallResult, asked: bool = True, owner: str | None = None
    ) -> None:
        """Record the result of a call when its last attempt was recorded as one that may be followed by another.

        Args:
            asked: False for a call that was not made because of time or budget; a resumed run may make it.
            owner: the process that must hold the run, if another one may be making the call; None allows any.
        """
        question = _question(spec)
        call = _call(run_id, spec, question, attempts=0)

        def finish(connection: sqlite3.Connection) -> None:
            if owner is not None and not is_held(connection, run_id, owner):
                return
            insert(connection, "questions", question, ignore=True)
            insert(connection, "calls", call, ignore=True)
            _finish(connection, run_id, spec.call_id, result, "done" if asked else "begun")

        self.database.write(finish)

    @writes
    def copy_calls(self, from_run: str, to_run: str, call_ids: Collection[str]) -> None:
        """Copy calls with their results from another run; they spend nothing in the new one."""
        columns = ", ".join(("model", "options", "question_id", "state", *RESULT_COLUMNS))
        sql = (
            f"INSERT INTO calls (run_id, call_id, iteration, label, attempts, {columns}) "
            f"SELECT ?, call_id, iteration, label, 0, {columns} FROM calls WHERE run_id = ? AND call_id = ?"
        )
        rows = [[to_run, from_run, call_id] for call_id in call_ids]
        self.database.write(lambda connection: connection.executemany(sql, rows) and None)

    @writes
    def forget_iterations(self, run_id: str, after: int) -> None:
        """Remove the copied calls of later iterations, if a run ended before it reached them."""

        def forget(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM iterations WHERE run_id = ? AND number > ?", [run_id, after])
            connection.execute("DELETE FROM calls WHERE run_id = ? AND iteration > ?", [run_id, after])

        self.database.write(forget)

    @reads
    def load_first_pieces(self, models: Collection[str], most: int) -> dict[str, list[int]]:
        """The milliseconds to the first piece of each model's latest replies, newest first, at most `most` each."""
        sql = (
            "SELECT first_piece_ms FROM calls WHERE model = ? AND first_piece_ms IS NOT NULL "
            "ORDER BY rowid DESC LIMIT ?"
        )
        return {
            model: [row["first_piece_ms"] for row in self.database.read(sql, [model, most])] for model in set(models)
        }

    @reads
    def load_spending(self, scope: str) -> tuple[int, int, float]:
        """Calls, tokens and US dollars that a scope has used and reserved."""
        rows = self.database.read("SELECT calls, tokens, cost_usd FROM spending WHERE scope = ?", [scope])
        return (rows[0]["calls"], rows[0]["tokens"], rows[0]["cost_usd"]) if rows else (0, 0, 0.0)


def run_scope(run_id: str) -> str:
    """The scope of a run's spending."""
    return f"run:{run_id}"


def day_scope(day: str | None = None) -> str:
    """The scope of all runs' spending in a day, in UTC; None means today."""
    return f"day:{day or now_utc()[:10]}"


def caller_scope(caller: str, day: str | None = None) -> str:
    """The scope of a caller's spending in a day, in UTC; None means today."""
    return f"caller:{day or now_utc()[:10]}:{caller}"


_WHOSE = {
    "run": "the run's budget",
    "day": "this server's budget for the day",
    "caller": "your budget for the day (until 00:00 UTC)",
}
"""Whose budget a scope belongs to, by the scope's first word."""


def _why_refused(connection: sqlite3.Connection, scope: str, budget: Budget, asked: Reservation) -> str | None:
    if budget == Budget():
        return None
    spent = connection.execute("SELECT calls, tokens, cost_usd FROM spending WHERE scope = ?", [scope]).fetchone()
    calls, tokens, cost = tuple(spent) if spent else (0, 0, 0.0)
    whose = _WHOSE[scope.partition(":")[0]]
    if budget.max_calls is not None and calls + 1 > budget.max_calls:
        return f"Not asked: {whose} of {counted(budget.max_calls, 'call')} is used up."
    if budget.max_tokens is not None and tokens + asked.tokens > budget.max_tokens:
        return f"Not asked: {whose} of {budget.max_tokens} tokens has {max(0, budget.max_tokens - tokens)} left."
    if budget.max_cost_usd is not None:
        if asked.cost_usd is None:
            return f"Not asked: {whose} is in dollars, and the model's price is unknown."
        if cost + asked.cost_usd > budget.max_cost_usd:
            return (
                f"Not asked: {whose} of ${budget.max_cost_usd:.4f} has ${max(0, budget.max_cost_usd - cost):.4f} left."
            )
    return None


def _reserve(
    connection: sqlite3.Connection,
    run_id: str,
    call_id: str,
    attempt: int,
    reservation: Reservation,
    budgets: dict[str, Budget],
) -> None:
    day = next((scope for scope in budgets if scope.startswith("day:")), day_scope())
    row = {
        "run_id": run_id,
        "call_id": call_id,
        "attempt": attempt,
        "day": day.removeprefix("day:"),
        "reserved_tokens": reservation.tokens,
        "reserved_usd": reservation.cost_usd,
        "begun_utc": now_utc(),
    }
    insert(connection, "attempts", row, replace=True)
    amounts = [reservation.tokens, reservation.cost_usd or 0.0, int(reservation.cost_usd is None)]
    connection.executemany(
        "INSERT INTO spending VALUES (?, 1, ?, ?, ?) ON CONFLICT DO UPDATE SET calls = calls + 1, "
        "tokens = tokens + excluded.tokens, cost_usd = cost_usd + excluded.cost_usd, "
        "unpriced = unpriced + excluded.unpriced",
        [[scope, *amounts] for scope in budgets],
    )


def _spend_more(
    connection: sqlite3.Connection, run_id: str, day: str, calls: int, tokens: int, cost_usd: float, unpriced: int
) -> None:
    """Add to the spending of every scope in which an attempt of that day counts."""
    connection.execute(
        "UPDATE spending SET calls = calls + ?, tokens = tokens + ?, cost_usd = cost_usd + ?, unpriced = unpriced + ? "
        "WHERE scope IN (?, ?, (SELECT ? || caller FROM runs WHERE run_id = ?))",
        [calls, tokens, cost_usd, unpriced, run_scope(run_id), day_scope(day), caller_scope("", day), run_id],
    )


def _finish(connection: sqlite3.Connection, run_id: str, call_id: str, result: CallResult, state: str) -> CallResult:
    """Record a call's result; the first one counts, because other models have already seen it."""
    values = result.model_dump(mode="json") | {"run_id": run_id, "call_id": call_id, "state": state}
    assignments = ", ".join(f"{column} = :{column}" for column in ("state", *RESULT_COLUMNS))
    where = "run_id = :run_id AND call_id = :call_id"
    if connection.execute(f"UPDATE calls SET {assignments} WHERE {where} AND state <> 'done'", values).rowcount:
        return result
    row = connection.execute(f"SELECT * FROM calls WHERE {where}", values).fetchone()
    return result_of(row) if row else result


def _call(run_id: str, spec: CallSpec, question: dict[str, Any], attempts: int) -> dict[str, Any]:
    """The row of a call without a result."""
    return {
        "run_id": run_id,
        "call_id": spec.call_id,
        "iteration": spec.iteration,
        "label": spec.label,
        "model": spec.model,
        "options": json.dumps(spec.options),
        "question_id": question["question_id"],
        "state": "begun",
        "attempts": attempts,
    }


def _question(spec: CallSpec) -> dict[str, Any]:
    question = {
        "system": spec.system,
        "prompt": spec.prompt,
        "history": dump_turns(spec.history),
        "output_schema": json.dumps(spec.output_schema) if spec.output_schema else None,
    }
    digest = hashlib.sha256(json.dumps(question, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()
    return {"question_id": digest, **question}


def dump_turns(turns: tuple[Turn, ...]) -> str:
    """Turns as JSON."""
    return json.dumps([turn.model_dump(exclude_defaults=True) for turn in turns], ensure_ascii=False)
