"""The SQL of the run list, newest first; each query is answered in the order of an index."""

import time
from typing import Any

from consortium_mcp.store.search_words import match_text

_NEWER = "coalesce((SELECT id FROM runs WHERE run_id >= ? ORDER BY run_id LIMIT 1), 9223372036854775807)"
"""The place of a run in the full-text index; for a pruned run, the place of the next newer one."""


def select_runs(
    columns: str,
    query: str | None = None,
    consortium: str | None = None,
    status: str | None = None,
    before: str | None = None,
    limit: int | None = None,
    caller: str | None = None,
) -> tuple[str, list[Any]]:
    """The statement that lists runs, newest first, and its values.

    Without conditions, the run with the highest id is the newest. With conditions, the full-text index selects the
    runs: it also contains names and status as words, so that the rarest condition narrows the search. The newest is
    then the run that was opened last, because the index returns rows in that order and the list can end early.

    Args:
        columns: columns of runs; the value of a parameter in them precedes the returned values.
        query: words and phrases that must occur in prompt or answer; None means all.
        consortium: the saved name of the consortium; None means all.
        status: the status for a reader, `interrupted` included; None means all.
        before: the run id after which the list continues; None means from the newest.
        limit: the largest number of runs; None means all.
        caller: the caller who reads, if it sees only its own runs.
    """
    most = -1 if limit is None else limit
    words = _words(query, consortium, status, caller)
    if not words:
        where, values = ("WHERE run_id < ?", [before]) if before else ("", [])
        return f"SELECT {columns} FROM runs {where} ORDER BY run_id DESC LIMIT ?", [*values, most]
    found, values = "runs_fts MATCH ?", [words]
    if before:
        found += f" AND rowid < {_NEWER}"
        values.append(before)
    exactly, exact = _exactly(consortium, status)
    sql = (
        f"SELECT {columns} FROM (SELECT rowid AS place FROM runs_fts WHERE {found}) CROSS JOIN runs ON id = place "
        f"WHERE {exactly} ORDER BY place DESC LIMIT ?"
    )
    return sql, [*values, *exact, most]


def _words(query: str | None, consortium: str | None, status: str | None, caller: str | None) -> str:
    """The query for the full-text index; empty if all runs are wanted."""
    asked = query is not None and bool(query.strip())
    marks = [f"consortium{consortium.encode().hex()}"] if consortium else []
    marks += [f"status{('running' if status == 'interrupted' else status).encode().hex()}"] if status else []
    if caller and (asked or marks):
        marks.append(f"caller{caller.encode().hex()}")
    parts = [f"{{prompt answer}} : ({match_text(query)})"] if query and asked else []
    parts += [f"marks : ({' '.join(marks)})"] if marks else []
    return " AND ".join(parts)


def _exactly(consortium: str | None, status: str | None) -> tuple[str, list[Any]]:
    """The same conditions on the rows, because a lease expires without a write."""
    wanted, values = ["1"], list[Any]()
    if consortium:
        wanted.append("consortium_name = ?")
        values.append(consortium)
    if status in ("running", "interrupted"):
        wanted.append(f"status = 'running' AND lease_of(lease_until, owner) {'>=' if status == 'running' else '<'} ?")
        values.append(time.time())
    elif status:
        wanted.append("status = ?")
        values.append(status)
    return " AND ".join(wanted), values
