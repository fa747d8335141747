"""Converts rows to records."""

import json
import sqlite3
import time
from datetime import datetime

from consortium_mcp.records import (
    Attachment,
    Budget,
    CallId,
    CallResult,
    Iteration,
    Measures,
    MemberResponse,
    Parent,
    Run,
    Trust,
    Turn,
    Usage,
    Verdict,
)
from consortium_mcp.records.consortium import Consortium
from consortium_mcp.store.database import lease_of

RESULT_COLUMNS = tuple(CallResult.model_fields)
"""The columns of a call's result."""


def run_of(row: sqlite3.Row, iterations: tuple[Iteration, ...], usage: Usage) -> Run:
    """The run from a row of runs, its iterations and its usage."""
    interrupted = row["status"] == "running" and lease_of(row["lease_until"], row["owner"]) < time.time()
    return Run(
        run_id=row["run_id"],
        status="interrupted" if interrupted else row["status"],
        prompt=row["prompt"],
        history=tuple(Turn(**turn) for turn in json.loads(row["history"])),
        attachments=tuple(Attachment(**one) for one in json.loads(row["attachments"])),
        consortium_name=row["consortium_name"],
        consortium=Consortium.model_validate_json(row["consortium"]),
        shuffle_seed=row["shuffle_seed"],
        fence_token=row["fence_token"],
        follow_up_to=row["follow_up_to"],
        output_schema=json.loads(row["output_schema"]) if row["output_schema"] else None,
        replay_of=row["replay_of"],
        parent=_parent_of(row),
        deadline_utc=row["deadline_utc"],
        deadline_seconds=row["deadline_seconds"],
        budget=Budget(**{name: row[name] for name in Budget.model_fields}),
        iterations=iterations,
        selected_iteration=row["selected_iteration"],
        answer=row["answer"],
        confidence=row["confidence"],
        dissent=row["dissent"],
        degraded=tuple(json.loads(row["degraded"])),
        error=row["error"],
        usage=usage,
        caller=row["caller"],
        created_utc=row["created_utc"],
        ended_utc=row["ended_utc"],
    )


def _parent_of(row: sqlite3.Row) -> Parent | None:
    return Parent(run_id=row["parent_run"], call_id=CallId(row["parent_call"])) if row["parent_run"] else None


def result_of(row: sqlite3.Row) -> CallResult:
    """The result from a row of calls."""
    return CallResult.model_validate({column: row[column] for column in RESULT_COLUMNS})


def _response_of(row: sqlite3.Row, late: bool, until: str | None = None) -> MemberResponse:
    has_result = row["state"] == "done" or row["error_kind"] is not None
    result = result_of(row) if has_result else None
    waited_ms = ms_between(row["begun_utc"], until)
    call_id, label, model = CallId(row["call_id"]), row["label"], row["model"]
    response = MemberResponse.of(call_id, label, model, result, late, row["cost_usd"], waited_ms)
    tried_ms = ms_between(row["begun_utc"], result.datetime_utc or None) + result.duration_ms if result else None
    known = {"options": json.loads(row["options"]), "attempts": row["attempts"], "tried_ms": tried_ms}
    return response.model_copy(update=known)


def _response_in(calls: dict[str, sqlite3.Row], call_id: str, late: bool, until: str | None) -> MemberResponse:
    if call_id in calls:
        return _response_of(calls[call_id], late, until)
    lost = CallResult(error_kind="internal", error="Its response could not be saved.")
    return MemberResponse.of(CallId(call_id), call_id, "unknown", lost, late)


def responses_so_far(number: int, calls: dict[str, sqlite3.Row]) -> tuple[MemberResponse, ...]:
    """The responses of an iteration under way, in the declared order."""
    done = [row for row in calls.values() if row["iteration"] == number and place(row) and row["state"] == "done"]
    return tuple(_response_of(row, late=False) for row in sorted(done, key=place))


def iteration_of(row: sqlite3.Row, calls: dict[str, sqlite3.Row], ended_utc: str | None) -> Iteration:
    """The iteration from a row of iterations; its responses are among the run's calls, by id."""
    until = _went_on(row["number"], calls) or ended_utc
    return Iteration(
        number=row["number"],
        responses=tuple(_response_in(calls, call_id, late, until) for call_id, late in json.loads(row["responses"])),
        shown_order=tuple(json.loads(row["shown_order"])),
        verdict=Verdict.model_validate_json(row["verdict"]) if row["verdict"] else None,
        judged_by=row["judged_by"],
        measures=Measures.model_validate_json(row["measures"]) if row["measures"] else None,
        trust=Trust.model_validate_json(row["trust"]) if row["trust"] else None,
        arbiter_error=row["arbiter_error"],
        arbiter_unseen=row["arbiter_unseen"],
        raw_verdict=row["raw_verdict"],
    )


def _went_on(number: int, calls: dict[str, sqlite3.Row]) -> str | None:
    """When an iteration stopped waiting: the first call after its members' calls; None if none followed."""
    after = (
        row["begun_utc"]
        for row in calls.values()
        if row["iteration"] > number or (row["iteration"] == number and not place(row))
    )
    return min((moment for moment in after if moment), default=None)


def ms_between(begun_utc: str | None, until_utc: str | None) -> int:
    """Milliseconds from one moment to another; 0 if either is unknown."""
    if begun_utc is None or until_utc is None:
        return 0
    waited = datetime.fromisoformat(until_utc) - datetime.fromisoformat(begun_utc)
    return max(0, round(waited.total_seconds() * 1000))


def place(call: sqlite3.Row) -> int:
    """The place of a call to an instance in its iteration, from 1; 0 for a call to the arbiter."""
    return CallId(call["call_id"]).place or 0
