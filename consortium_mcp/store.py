"""Saves and loads consortiums and runs in one SQLite file; nothing else knows SQL, and no model is called here."""

import hashlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from sqlite_utils import Database

from consortium_mcp.consortium import Consortium, load_saved_form
from consortium_mcp.errors import ConsortiumError, NotFound, StoreUnusable
from consortium_mcp.migrations import migrations
from consortium_mcp.run import (
    CallResult,
    CallSpec,
    Iteration,
    MemberResponse,
    Progress,
    Run,
    Turn,
    Usage,
    Verdict,
    now_utc,
)
from consortium_mcp.writer import Job, Writer

T = TypeVar("T")

LEASE_SECONDS = 30
"""How long a process holds a run without renewing its lease."""

_BUSY_MS = 30_000
_RESULT_COLUMNS = tuple(CallResult.model_fields)


class Store:
    """One open database; safe to use from several threads, and beside other processes on the same file."""

    def __init__(self, path: Path) -> None:
        """Open the file, creating it (readable by its owner only) and bringing its schema up to date.

        Raises:
            StoreUnusable: it cannot be opened, is not a database, or was written by a newer release.
        """
        self.path = path
        self._lock = threading.Lock()
        try:
            _create_private(path)
            self._reader = _connect_up_to_date(path)
        except (OSError, sqlite3.Error) as error:
            raise StoreUnusable(_why_unusable(path, error)) from error
        self._writer = Writer(lambda: _connect(path), name="consortium-store")

    def close(self) -> None:
        """Finish what is being written and close the file."""
        self._writer.close()
        with self._lock:
            self._reader.close()

    # consortiums

    def save_consortium(self, name: str, consortium: Consortium, taken_from: str | None = None) -> None:
        """Save a definition under a name; what stood there is replaced."""
        row = (name, json.dumps(consortium.saved_form()), now_utc(), taken_from)
        self._write(lambda c: c.execute("INSERT OR REPLACE INTO consortium_configs VALUES (?, ?, ?, ?)", row) and None)

    def load_consortium(self, name: str) -> Consortium:
        """Load a definition.

        Raises:
            NotFound: nothing is saved under that name.
            InvalidConsortium: the saved row breaks a rule.
        """
        rows = self._read("SELECT CAST(config AS BLOB) AS config FROM consortium_configs WHERE name = ?", [name])
        if not rows:
            saved = ", ".join(self.list_consortium_names()) or "none"
            raise NotFound(f"No consortium named {name!r}. Saved: {saved}. list_consortiums shows them.")
        return load_saved_form(_json_row(rows[0]["config"], name))

    def list_consortium_names(self) -> list[str]:
        """The saved names in alphabetical order."""
        return [row["name"] for row in self._read("SELECT name FROM consortium_configs ORDER BY name")]

    def list_consortiums(self) -> tuple[dict[str, Consortium], dict[str, str]]:
        """Every saved definition by name, and why a row could not be read, by name."""
        loaded: dict[str, Consortium] = {}
        damaged: dict[str, str] = {}
        # As bytes: one text that is not UTF-8 would end the reading of all.
        for row in self._read("SELECT name, CAST(config AS BLOB) AS config FROM consortium_configs ORDER BY name"):
            try:
                loaded[row["name"]] = load_saved_form(_json_row(row["config"], row["name"]))
            except ConsortiumError as error:
                damaged[row["name"]] = str(error)
        return loaded, damaged

    def delete_consortium(self, name: str) -> Consortium | None:
        """Delete a definition and return it; None when its row was damaged. Raises NotFound when there is none."""
        try:
            removed = self.load_consortium(name)
        except NotFound:
            raise
        except ConsortiumError:
            removed = None
        self._write(lambda c: c.execute("DELETE FROM consortium_configs WHERE name = ?", [name]) and None)
        return removed

    # runs

    def open_run(self, run: Run, owner: str) -> None:
        """Write a new run, held by `owner`."""
        row = {
            "run_id": run.run_id,
            "status": run.status,
            "prompt": run.prompt,
            "history": _dump(run.history),
            "consortium_name": run.consortium_name,
            "consortium": run.consortium.model_dump_json(),
            "shuffle_seed": run.shuffle_seed,
            "fence_mark": run.fence_mark,
            "degraded": json.dumps(run.degraded),
            "created_utc": run.created_utc,
            "owner": owner,
            "lease_until": time.time() + LEASE_SECONDS,
        }
        self._write(lambda c: _insert(c, "runs", row))

    def renew_lease(self, run_id: str, owner: str) -> bool:
        """Hold the run for another `LEASE_SECONDS`; False when somebody else holds it now."""
        until = time.time() + LEASE_SECONDS
        sql = "UPDATE runs SET lease_until = ? WHERE run_id = ? AND owner = ?"
        return self._write(lambda c: c.execute(sql, [until, run_id, owner]).rowcount) == 1

    def close_run(self, run: Run) -> None:
        """Write how the run ended, and let go of it."""
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
        ]
        sql = (
            "UPDATE runs SET status = ?, selected_iteration = ?, answer = ?, confidence = ?, dissent = ?, "
            "degraded = ?, error = ?, ended_utc = ?, owner = NULL, lease_until = NULL WHERE run_id = ?"
        )
        self._write(lambda c: c.execute(sql, row) and None)

    def save_iteration(self, run_id: str, iteration: Iteration) -> None:
        """Write what the arbiter made of an iteration; its responses are in the journal already."""
        row = {
            "run_id": run_id,
            "number": iteration.number,
            "shown_order": json.dumps(iteration.shown_order),
            "verdict": iteration.verdict.model_dump_json() if iteration.verdict else None,
            "arbiter_error": iteration.arbiter_error,
            "raw_verdict": iteration.raw_verdict,
        }
        self._write(lambda c: _insert(c, "iterations", row, replace=True))

    def load_run(self, run_id: str) -> Run:
        """Load a run as it stands, with all that has arrived so far.

        Raises:
            NotFound: there is no such run; names the newest ones.
        """
        rows = self._read("SELECT * FROM runs WHERE run_id = ?", [run_id])
        if not rows:
            newest = ", ".join(run.run_id for run in self.list_runs(limit=3)) or "none yet"
            raise NotFound(f"No run {run_id!r}. Newest runs: {newest}. list_runs shows more.")
        return _run_of(rows[0], self._iterations(run_id), self._usage(run_id))

    def list_runs(
        self,
        query: str | None = None,
        consortium: str | None = None,
        status: str | None = None,
        limit: int = 20,
        before: str | None = None,
    ) -> list[Run]:
        """Runs, newest first, without their iterations.

        Args:
            query: words that must stand in prompt or answer; None means all.
            consortium: the saved name that was consulted; None means all.
            status: as a reader sees it, `interrupted` included; None means all.
            before: the run id after which the list goes on; None means from the newest.
        """
        conditions, values = ["1"], list[Any]()
        if query and query.strip():
            conditions.append("rowid IN (SELECT rowid FROM runs_fts WHERE runs_fts MATCH ?)")
            values.append(_fts_query(query))
        if consortium:
            conditions.append("consortium_name = ?")
            values.append(consortium)
        if before:
            conditions.append("run_id < ?")
            values.append(before)
        if status:
            conditions.append(f"{_STATUS_SEEN} = ?")
            values += [time.time(), status]
        sql = f"SELECT * FROM runs WHERE {' AND '.join(conditions)} ORDER BY run_id DESC LIMIT ?"
        return [_run_of(row, (), self._usage(row["run_id"])) for row in self._read(sql, [*values, limit])]

    def load_progress(self, run_id: str) -> Progress:
        """How far a run is, from what is written. Raises NotFound."""
        rows = self._read(f"SELECT {_STATUS_SEEN} AS status FROM runs WHERE run_id = ?", [time.time(), run_id])
        if not rows:
            raise NotFound(f"No run {run_id!r}. list_runs shows those there are.")
        sql = "SELECT call_id, iteration, label, state FROM calls WHERE run_id = ?"
        calls = self._read(sql, [run_id])
        current = max((call["iteration"] for call in calls), default=0)
        asked = [call for call in calls if call["iteration"] == current]
        members = sorted((call for call in asked if _is_member(call["call_id"])), key=_place)
        waiting = [call["label"] for call in members if call["state"] != "done"]
        return Progress(
            status=rows[0]["status"],
            iteration=current,
            calls_done=sum(call["state"] == "done" for call in calls),
            responses_done=len(members) - len(waiting),
            responses_expected=len(members),
            waiting_for=tuple(waiting),
            arbiter_asked=len(asked) > len(members),
        )

    # the journal

    def begin_call(self, run_id: str, spec: CallSpec) -> CallResult | None:
        """Note that a call is about to be made; where it was made already, return its result instead."""
        question = _question(spec)
        row = {
            "run_id": run_id,
            "call_id": spec.call_id,
            "iteration": spec.iteration,
            "label": spec.label,
            "model": spec.model,
            "options": json.dumps(spec.options),
            "question_id": question["question_id"],
            "state": "begun",
            "attempts": 1,
        }

        def begin(connection: sqlite3.Connection) -> CallResult | None:
            _insert(connection, "questions", question, ignore=True)
            again = "ON CONFLICT (run_id, call_id) DO UPDATE SET attempts = attempts + 1 WHERE state <> 'done'"
            if connection.execute(f"{_insert_sql('calls', row)} {again}", row).rowcount:
                return None
            sql = "SELECT * FROM calls WHERE run_id = ? AND call_id = ?"
            return _result_of(connection.execute(sql, [run_id, spec.call_id]).fetchone())

        return self._write(begin)

    def finish_call(self, run_id: str, call_id: str, result: CallResult) -> None:
        """Write the result of a call that was begun."""
        values = result.model_dump(mode="json") | {"run_id": run_id, "call_id": call_id}
        assignments = ", ".join(f"{column} = :{column}" for column in _RESULT_COLUMNS)
        sql = f"UPDATE calls SET state = 'done', {assignments} WHERE run_id = :run_id AND call_id = :call_id"
        self._write(lambda c: c.execute(sql, values) and None)

    # inside

    def _iterations(self, run_id: str) -> tuple[Iteration, ...]:
        judged = {row["number"]: row for row in self._read("SELECT * FROM iterations WHERE run_id = ?", [run_id])}
        done: dict[int, list[sqlite3.Row]] = {}
        sql = "SELECT * FROM calls WHERE run_id = ? AND state = 'done'"
        for row in self._read(sql, [run_id]):
            if _is_member(row["call_id"]):
                done.setdefault(row["iteration"], []).append(row)
        return tuple(_iteration_of(number, done.get(number, []), judged.get(number)) for number in sorted(done))

    def _usage(self, run_id: str) -> Usage:
        sql = (
            "SELECT coalesce(sum(attempts), 0) AS calls, sum(input_tokens) AS input_tokens, "
            "sum(output_tokens) AS output_tokens FROM calls WHERE run_id = ?"
        )
        return Usage(**dict(self._read(sql, [run_id])[0]))

    def _read(self, sql: str, values: Iterable[Any] = ()) -> list[sqlite3.Row]:
        try:
            with self._lock:
                return self._reader.execute(sql, list(values)).fetchall()
        except sqlite3.Error as error:
            raise StoreUnusable(_why_unusable(self.path, error)) from error

    def _write(self, job: Job[T]) -> T:
        try:
            return self._writer.write(job)
        except sqlite3.Error as error:
            raise StoreUnusable(_why_unusable(self.path, error)) from error


_STATUS_SEEN = "CASE WHEN status = 'running' AND coalesce(lease_until, 0) < ? THEN 'interrupted' ELSE status END"
"""The status as a reader sees it; the one parameter is the time now."""


def _create_private(path: Path) -> None:
    """Make the file if it is not there, so that only its owner can read it; SQLite's side files get the same mode."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def _connect_up_to_date(path: Path) -> sqlite3.Connection:
    """A connection to a database with our schema; of several processes that open a new file, one creates it."""
    connection = _connect(path)
    try:
        db = Database(connection)
        _refuse_newer(db, path)
        if migrations.pending(db):
            connection.execute("BEGIN IMMEDIATE")
            migrations.apply(db)
            connection.execute("COMMIT")
    except BaseException:
        connection.close()
        raise
    return connection


def _connect(path: Path) -> sqlite3.Connection:
    """A connection that waits for other processes; FULL, because what was paid for must survive a power cut."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=_BUSY_MS / 1000)
    try:
        connection.row_factory = sqlite3.Row
        _use_wal(connection)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to WAL; SQLite does not wait for a process that is doing the same, so we do."""
    ends = time.monotonic() + _BUSY_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > ends:
                raise
            time.sleep(0.01)


def _refuse_newer(db: Database, path: Path) -> None:
    with Database(memory=True) as empty:
        known = {migration.name for migration in migrations.pending(empty)}
    newer = [migration.name for migration in migrations.applied(db) if migration.name not in known]
    if newer:
        raise StoreUnusable(
            f"The database {path} was written by a newer release of consortium-mcp ({newer[-1]}). "
            "Update with `pip install -U consortium-mcp`, or name another file with CONSORTIUM_DATABASE."
        )


def _why_unusable(path: Path, error: Exception) -> str:
    text = str(error)
    if "not a database" in text or "malformed" in text:
        remedy = "it is damaged or no SQLite file: move it away or name another one with CONSORTIUM_DATABASE"
    elif "full" in text or getattr(error, "errno", None) == 28:
        remedy = "the disk is full: free some space"
    elif "readonly" in text or isinstance(error, PermissionError) or "unable to open" in text:
        remedy = "it cannot be written: check the permissions of the file and its folder, or name another one with "
        remedy += "CONSORTIUM_DATABASE"
    elif "locked" in text:
        remedy = f"another process has held it for {_BUSY_MS // 1000} seconds: end that process or try again"
    else:
        remedy = "name another file with CONSORTIUM_DATABASE, or run `consortium-mcp doctor`"
    return f"The database {path} cannot be used ({text}); {remedy}."


def _fts_query(query: str) -> str:
    """What SQLite's full-text search is asked for; operators are words, and what holds no word matches nothing."""
    text = query.encode("utf-8", "replace").decode().replace("\0", " ")
    with Database(memory=True) as quoting:
        return quoting.quote_fts(text) or '""'


def _question(spec: CallSpec) -> dict[str, Any]:
    question = {
        "system": spec.system,
        "prompt": spec.prompt,
        "history": _dump(spec.history),
        "output_schema": json.dumps(spec.output_schema) if spec.output_schema else None,
    }
    digest = hashlib.sha256(json.dumps(question, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()
    return {"question_id": digest, **question}


def _is_member(call_id: str) -> bool:
    """Whether a call asked an instance, as `i1/m3` did, and not the arbiter."""
    return call_id.partition("/")[2].startswith("m")


def _place(call: sqlite3.Row) -> int:
    """The place of a call to an instance in its iteration, from 1."""
    return int(call["call_id"].partition("/m")[2])


def _iteration_of(number: int, calls: list[sqlite3.Row], judged: sqlite3.Row | None) -> Iteration:
    calls = sorted(calls, key=_place)
    responses = tuple(MemberResponse.of(row["call_id"], row["label"], row["model"], _result_of(row)) for row in calls)
    if judged is None:
        return Iteration(number=number, responses=responses)
    return Iteration(
        number=number,
        responses=responses,
        shown_order=tuple(json.loads(judged["shown_order"])),
        verdict=Verdict.model_validate_json(judged["verdict"]) if judged["verdict"] else None,
        arbiter_error=judged["arbiter_error"],
        raw_verdict=judged["raw_verdict"],
    )


def _result_of(row: sqlite3.Row) -> CallResult:
    return CallResult.model_validate({column: row[column] for column in _RESULT_COLUMNS})


def _run_of(row: sqlite3.Row, iterations: tuple[Iteration, ...], usage: Usage) -> Run:
    interrupted = row["status"] == "running" and (row["lease_until"] or 0) < time.time()
    return Run(
        run_id=row["run_id"],
        status="interrupted" if interrupted else row["status"],
        prompt=row["prompt"],
        history=tuple(Turn(**turn) for turn in json.loads(row["history"])),
        consortium_name=row["consortium_name"],
        consortium=Consortium.model_validate_json(row["consortium"]),
        shuffle_seed=row["shuffle_seed"],
        fence_mark=row["fence_mark"],
        iterations=iterations,
        selected_iteration=row["selected_iteration"],
        answer=row["answer"],
        confidence=row["confidence"],
        dissent=row["dissent"],
        degraded=tuple(json.loads(row["degraded"])),
        error=row["error"],
        usage=usage,
        created_utc=row["created_utc"],
        ended_utc=row["ended_utc"],
    )


def _json_row(text: bytes, name: str) -> dict[str, Any]:
    try:
        row = json.loads(text)
    except ValueError as error:
        raise ConsortiumError(f"The saved consortium {name!r} is damaged: its row is not JSON ({error}).") from error
    if not isinstance(row, dict):
        raise ConsortiumError(f"The saved consortium {name!r} is damaged: its row is not a JSON object.")
    return row


def _dump(turns: tuple[Turn, ...]) -> str:
    return json.dumps([turn.model_dump() for turn in turns], ensure_ascii=False)


def _insert(
    connection: sqlite3.Connection, table: str, row: dict[str, Any], *, ignore: bool = False, replace: bool = False
) -> None:
    connection.execute(_insert_sql(table, row, "OR IGNORE " if ignore else "OR REPLACE " if replace else ""), row)


def _insert_sql(table: str, row: dict[str, Any], otherwise: str = "") -> str:
    return f"INSERT {otherwise}INTO {table} ({', '.join(row)}) VALUES ({', '.join(':' + name for name in row)})"
