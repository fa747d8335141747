"""Takes over the consortiums that llm-consortium saved, from its files, which stay as they are."""

import json
import logging
import sqlite3
from pathlib import Path

from consortium_mcp.consortium import load_saved_form
from consortium_mcp.errors import ConsortiumError
from consortium_mcp.store import Store

logger = logging.getLogger(__name__)

FILES = ("logs.db", "consortium_logs.db")
"""Where releases up to 0.3 and later ones keep them, in llm's user folder."""


def take_over(store: Store, folder: Path) -> list[str]:
    """Save a copy of each consortium that llm-consortium saved and that has no namesake here.

    Args:
        folder: llm's user folder.

    Returns:
        What could not be read, a sentence each.
    """
    problems: list[str] = []
    for path in (folder / name for name in FILES):
        for name, config in _rows(path, problems):
            if name in store.list_consortium_names():
                continue
            try:
                store.save_consortium(name, load_saved_form(json.loads(config)), taken_from=str(path))
            except (ValueError, TypeError, AttributeError, ConsortiumError) as error:
                problems.append(f"The consortium {name!r} in {path} was not taken over: {error}")
    for problem in problems:
        logger.warning(problem)
    return problems


def _rows(path: Path, problems: list[str]) -> list[tuple[str, str]]:
    """Names and configurations in a file, opened for reading only; none where there is no such table."""
    if not path.exists():
        return []
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=5)
        try:
            columns = [row[1] for row in connection.execute("PRAGMA table_info(consortium_configs)")]
            # Development releases after 0.8 call the column config_json.
            column = next((one for one in ("config", "config_json") if one in columns), None)
            return connection.execute(f"SELECT name, {column} FROM consortium_configs").fetchall() if column else []
        finally:
            connection.close()
    except sqlite3.Error as error:
        problems.append(f"The consortiums that llm-consortium saved in {path} could not be read: {error}")
        return []
