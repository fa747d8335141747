"""The SQL of the run list: which runs, newest first; an index answers each query in that order."""

import time
from typing import Any

from consortium_mcp.store.search_words import match_text

_NEWER = "coalesce((SELECT id FROM runs WHERE run_id >= ? ORDER BY run_id LIMIT 1), 9223372036854775807)"
"""The place of a run in the full-text index, or, where it was pruned meanwhile, of the next newer one."""


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

    Where all are wanted, the newest is the one with the highest id. Else the full-text index gives them: the names and
    the status of a run are words there too, so that whatever is rare in it narrows the search; and the newest is the
    one that was opened last, because it gives its rows in that order and the list can end early.

    Args:
        columns: of runs; where one has a parameter, its value goes before ours.
        query: words and phrases that must stand in prompt or answer; None means all.
        consortium: the saved name that was consulted; None means all.
        status: as a reader sees it, `interrupted` included; None means all.
        before: the run id after which the list goes on; None means from the newest.
        limit: how many at most; None means all.
        caller: who reads, where they see only their own.
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
    """What the full-text index is asked for; nothing where all runs are wanted."""
    asked = query is not None and bool(query.strip())
    marks = [f"consortium{consortium.encode().hex()}"] if consortium else []
    marks += [f"status{('running' if status == 'interrupted' else status).encode().hex()}"] if status else []
    if caller and (asked or marks):
        marks.append(f"caller{caller.encode().hex()}")
    parts = [f"{{prompt answer}} : ({match_text(query)})"] if query and asked else []
    parts += [f"marks : ({' '.join(marks)})"] if marks else []
    return " AND ".join(parts)


def _exactly(consortium: str | None, status: str | None) -> tuple[str, list[Any]]:
    """The same conditions on the rows: a lease passes without anything being written."""
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
