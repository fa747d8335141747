"""Takes over the consortiums that llm-consortium saved, from its files, which stay as they are."""

import json
import logging
import sqlite3
from pathlib import Path
from typing import Any

from consortium_mcp.consortium import load_saved_form
from consortium_mcp.errors import ConsortiumError
from consortium_mcp.store import Store

logger = logging.getLogger(__name__)

FILES = ("consortium_logs.db", "logs.db")
"""Where later releases and those up to 0.3 keep them, in llm's user folder; of namesakes the later one counts."""


def take_over(store: Store, folder: Path) -> list[str]:
    """Save a copy of each consortium that llm-consortium saved and that has no namesake here, once for each file.

    Args:
        folder: llm's user folder.

    Returns:
        What could not be read, a sentence each.
    """
    problems: list[str] = []
    taken = store.list_takeovers()
    for path in (folder / name for name in FILES):
        if str(path) in taken or not path.exists():
            continue
        try:
            rows = _rows(path)
        except sqlite3.Error as error:
            problems.append(f"The consortiums that llm-consortium saved in {path} could not be read: {error}")
            continue  # the next opening tries again
        for name, config in rows:
            if name in store.list_consortium_names():
                continue
            try:
                if not isinstance(name, str):
                    raise TypeError("its name is no text")
                store.save_consortium(name, load_saved_form(json.loads(config)), taken_from=str(path))
            except (ValueError, TypeError, AttributeError, ConsortiumError) as error:
                problems.append(f"The consortium {name!r} in {path} was not taken over: {error}")
        store.save_takeover(str(path))
    for problem in problems:
        logger.warning(problem)
    return problems


def _rows(path: Path) -> list[tuple[Any, Any]]:
    """Names and configurations in a file, opened for reading only; none where there is no such table."""
    uri = path.resolve().as_uri()
    try:
        return _read_rows(f"{uri}?mode=ro")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
            raise
        # In WAL mode even reading wants to write beside the file; so it does not, where the folder is read-only.
        return _read_rows(f"{uri}?immutable=1")


def _read_rows(uri: str) -> list[tuple[Any, Any]]:
    connection = sqlite3.connect(uri, uri=True, timeout=5)
    try:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(consortium_configs)")]
        # Development releases after 0.8 call the column config_json.
        column = next((one for one in ("config", "config_json") if one in columns), None)
        if column is None:
            return []
        # As bytes: one text that is not UTF-8 would end the reading of all.
        return connection.execute(f"SELECT name, CAST({column} AS BLOB) FROM consortium_configs").fetchall()
    finally:
        connection.close()
