"""Row ownership: one rule between every read and the tables, which no query can bypass."""

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
CREATE TEMP VIEW run_attachments AS SELECT * FROM main.run_attachments AS one
    WHERE EXISTS (SELECT 1 FROM temp.runs WHERE run_id = one.run_id);
CREATE TEMP VIEW attachments AS SELECT * FROM main.attachments AS one
    WHERE EXISTS (SELECT 1 FROM temp.run_attachments WHERE sha256 = one.sha256);
CREATE TEMP VIEW ratings AS SELECT * FROM main.ratings WHERE caller = caller_name();
CREATE TEMP VIEW consortium_configs AS
    SELECT name, config, created_at, taken_from FROM main.consortium_configs
    WHERE name NOT IN (SELECT name FROM main.caller_consortiums WHERE caller = caller_name())
    UNION ALL
    SELECT name, config, created_at, NULL FROM main.caller_consortiums WHERE caller = caller_name();
"""
"""In queries of this connection, a table name without a database means one of these views."""


def show_own(connection: sqlite3.Connection, reader: Callable[[], str | None]) -> None:
    """Restrict the connection to the rows that the current caller may see; it can no longer write these tables.

    A caller sees its own runs. Without a name, or if callers share, all runs are visible, through another connection.
    Saved consortiums are looked up among the caller's own, then among those without a caller; callers that share use
    the latter.

    Args:
        reader: the current caller; None sees only consortiums without a caller.
    """
    # Deterministic functions are called once per statement, instead of once per row.
    connection.create_function("caller_name", 0, reader, deterministic=True)
    connection.executescript(_VIEWS)
