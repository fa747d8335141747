"""Takes over the consortiums that llm-consortium saved, from its files, which stay as they are."""

import json
import logging
import sqlite3
from pathlib import Path

from consortium_mcp.consortium import load_saved_form
from consortium_mcp.errors import ConsortiumError
from consortium_mcp.saved_rows import FILES, saved_rows
from consortium_mcp.store import Store

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 5
"""How long another process's lock on such a file is waited for."""


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
            rows = saved_rows(path, PATIENCE_SECONDS)
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
