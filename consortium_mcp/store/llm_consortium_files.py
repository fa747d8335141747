"""Reads saved consortiums, ours or llm-consortium's, from a file without creating or changing it."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

FILES = ("consortium_logs.db", "logs.db")
"""The files of later releases of llm-consortium, and of those up to 0.3, in llm's user folder; the first one counts."""

GLANCE_SECONDS = 0.1
"""The seconds to wait for a lock when only the names are read."""


def saved_names(database: Path, folder: Path) -> list[str]:
    """Every saved name; before our database exists, the names that will be imported into it.

    Args:
        folder: llm's user folder.

    Raises:
        sqlite3.Error: a file cannot be read at once.
    """
    files = [database] if database.exists() else [path for name in FILES if (path := folder / name).exists()]
    return sorted({name for path in files for name in _names(path)})


def saved_rows(path: Path, patience_seconds: float) -> list[tuple[Any, Any]]:
    """Names and configurations in a file; empty if it has no such table.

    Args:
        patience_seconds: how long to wait for another process's lock.
    """
    uri = path.resolve().as_uri()
    try:
        return _read(f"{uri}?mode=ro", patience_seconds)
    except sqlite3.OperationalError as error:
        code = getattr(error, "sqlite_errorcode", 0)  # an error of Python's own module has none
        if code & 0xFF not in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
            raise
        # In WAL mode even a reader writes side files; in a read-only folder it reads without them.
        return _read(f"{uri}?immutable=1", patience_seconds)


def _names(path: Path) -> Iterator[str]:
    return (name for name, _ in saved_rows(path, GLANCE_SECONDS) if isinstance(name, str))


def _read(uri: str, patience_seconds: float) -> list[tuple[Any, Any]]:
    with closing(sqlite3.connect(uri, uri=True, timeout=patience_seconds)) as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(consortium_configs)")]
        # Development releases after 0.8 call the column config_json.
        column = next((one for one in ("config", "config_json") if one in columns), None)
        if column is None:
            return []
        # One text that is not UTF-8 would otherwise stop the whole query.
        connection.text_factory = lambda text: text.decode(errors="replace")
        return connection.execute(f"SELECT name, CAST({column} AS BLOB) FROM consortium_configs").fetchall()
