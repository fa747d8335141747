"""Whose rows are whose: the one rule, laid between every read and the tables, so that no query can forget it."""

import sqlite3
from collections.abc import Callable

_VIEWS = """
CREATE TEMP VIEW runs AS SELECT * FROM main.runs WHERE caller = caller_name();
CREATE TEMP VIEW calls AS SELECT one.rowid AS rowid, one.* FROM main.calls AS one
    WHERE EXISTS (SELECT 1 FROM temp.runs WHERE run_id = one.run_id);
CREATE TEMP VIEW iterations AS SELECT * FROM main.iterations AS one
    WHERE EXISTS (SELECT 1 FROM temp.runs WHERE run_id = one.run_id);
CREATE TEMP VIEW attempts AS SELECT * FROM main.attempts AS one
    WHERE EXISTS (SELECT 1 FROM temp.runs WHERE run_id = one.run_id);
CREATE TEMP VIEW ratings AS SELECT * FROM main.ratings WHERE caller = caller_name();
CREATE TEMP VIEW consortium_configs AS
    SELECT name, config, created_at, taken_from FROM main.consortium_configs
    WHERE name NOT IN (SELECT name FROM main.caller_consortiums WHERE caller = caller_name())
    UNION ALL
    SELECT name, config, created_at, NULL FROM main.caller_consortiums WHERE caller = caller_name();
"""
"""A name without a database means these, not the tables behind them, in queries of this connection."""


def show_own(connection: sqlite3.Connection, reader: Callable[[], str | None]) -> None:
    """From now on the connection reads what the current caller may see; it cannot write these tables any more.

    A caller sees its own runs; who has no name, or shares, sees all, by another connection. Saved consortiums are
    looked up among the caller's own, then among those that have no caller; who shares, shares the latter.

    Args:
        reader: the caller that reads now; None sees only consortiums without a caller.
    """
    # Deterministic means: asked once in each execution of a statement, instead of once a row.
    connection.create_function("caller_name", 0, reader, deterministic=True)
    connection.executescript(_VIEWS)
