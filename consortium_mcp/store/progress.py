"""The progress of a run, read from its calls, whichever process makes them."""

import json
import sqlite3
import time
from typing import Literal

from consortium_mcp.records import CallProgress, Progress
from consortium_mcp.store.part import Part, reads
from consortium_mcp.store.rows import ms_between, place
from consortium_mcp.store.runs import STATUS_SEEN, no_such_run

_CALLS_AND_LAST_ATTEMPTS = """
    SELECT calls.call_id, calls.iteration, calls.label, calls.state, calls.attempts, calls.text IS NOT NULL AS has_text,
        calls.error_kind, calls.input_tokens, calls.output_tokens, calls.duration_ms,
        attempts.begun_utc, attempts.duration_ms AS attempt_ms, attempts.error_kind AS attempt_kind
    FROM calls LEFT JOIN attempts
    ON attempts.run_id = calls.run_id AND attempts.call_id = calls.call_id AND attempts.attempt = calls.attempts
    WHERE calls.run_id = ? ORDER BY calls.rowid
"""


class RunProgress(Part):
    """Loads the progress of a run under way."""

    @reads
    def load(self, run_id: str) -> Progress:
        """The progress of a run, as far as it is written. Raises NotFoundError."""
        rows = self.database.read(
            f"SELECT {STATUS_SEEN} AS status, ended_utc FROM runs WHERE run_id = ?", [time.time(), run_id]
        )
        if not rows:
            raise no_such_run(self.database, run_id)
        calls = self.database.read(_CALLS_AND_LAST_ATTEMPTS, [run_id])
        current = max((call["iteration"] for call in calls), default=0)
        asked = [call for call in calls if call["iteration"] == current]
        members = sorted((call for call in asked if place(call)), key=place)
        members += _awaited_again(calls, current, {call["label"] for call in members})
        judging = [call for call in asked if not place(call)]
        until = min((call["begun_utc"] for call in judging if call["begun_utc"]), default=rows[0]["ended_utc"])
        late = self._late_calls(run_id, current)
        shown = [_seen(_progress_of(call), until, call["call_id"] in late) for call in members]
        return Progress(
            run_id=run_id,
            status=rows[0]["status"],
            iteration=current,
            calls_done=sum(call["state"] == "done" for call in calls),
            calls=(*shown, *map(_progress_of, judging)),
        )

    def _late_calls(self, run_id: str, iteration: int) -> set[str]:
        """The calls that an iteration did not wait for, even if their responses arrived afterwards."""
        sql = "SELECT responses FROM iterations WHERE run_id = ? AND number = ?"
        rows = self.database.read(sql, [run_id, iteration])
        return {call_id for row in rows for call_id, late in json.loads(row["responses"]) if late}


def _awaited_again(calls: list[sqlite3.Row], current: int, asked: set[str]) -> list[sqlite3.Row]:
    """Calls to instances that were late in an earlier iteration and count in this one too."""
    earlier = {call["label"]: call for call in calls if place(call) and call["iteration"] < current}
    return [call for label, call in earlier.items() if label not in asked and call["state"] != "done"]


def _progress_of(row: sqlite3.Row) -> CallProgress:
    """The progress of a call, from its row and the row of its last attempt."""
    state = _state_of(row)
    counted = [row[column] for column in ("input_tokens", "output_tokens") if row[column] is not None]
    return CallProgress(
        label=row["label"],
        asks_member=place(row) > 0,
        state=state,
        error_kind=row["attempt_kind"] if state == "waiting" else row["error_kind"],
        began_utc=row["begun_utc"],
        duration_ms=row["attempt_ms"] if row["duration_ms"] is None else row["duration_ms"],
        tokens=sum(counted) if counted else None,
    )


def _seen(call: CallProgress, until_utc: str | None, is_late: bool) -> CallProgress:
    """A late call's progress, as it was when the run stopped waiting for it; None while the run waits."""
    if is_late and not call.is_open:
        return call.model_copy(update={"state": "late", "error_kind": None})
    if until_utc is None or not call.is_open:
        return call
    return call.model_copy(update={"state": "late", "duration_ms": ms_between(call.began_utc, until_utc)})


def _state_of(row: sqlite3.Row) -> Literal["thinking", "waiting", "answered", "failed"]:
    if row["state"] == "done":
        return "answered" if row["has_text"] and row["error_kind"] in (None, "truncated") else "failed"
    if row["attempts"] and row["attempt_ms"] is None:
        return "thinking"
    if row["error_kind"] is not None:
        return "failed"
    return "waiting" if row["attempts"] else "thinking"
