"""Makes a long history quickly: SQL copies one run's rows under other ids."""

import sqlite3

from consortium_mcp.store import Store


def copy_run(store: Store, run_id: str, copies: int, first: int = 0) -> None:
    """Copy a run under the ids `copy_id(first)` and on."""
    store.database.write(lambda connection: _copy(connection, run_id, first, copies))


def copy_id(number: int) -> str:
    """The id of a copy, in the order of their numbers; it is younger than any real one."""
    return f"7{number:025d}"


def _copy(connection: sqlite3.Connection, run_id: str, first: int, copies: int) -> None:
    for table in ("runs", "calls", "attempts", "iterations"):
        columns = [row["name"] for row in connection.execute(f"PRAGMA table_info({table})") if row["name"] != "id"]
        chosen = ["printf('7%025d', n)" if name == "run_id" else name for name in columns]
        connection.execute(
            f"WITH RECURSIVE numbers(n) AS (SELECT ? UNION ALL SELECT n + 1 FROM numbers WHERE n < ?) "
            f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(chosen)} FROM numbers, {table} "
            "WHERE run_id = ? ORDER BY n",
            [first, first + copies - 1, run_id],
        )
