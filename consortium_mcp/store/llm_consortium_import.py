"""Imports the consortiums that llm-consortium saved; its files stay unchanged."""

import json
import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from consortium_mcp.errors import ConsortiumError
from consortium_mcp.records.consortium import Consortium, load_saved_form
from consortium_mcp.records.rules import MAX_ITERATIONS
from consortium_mcp.store import Store
from consortium_mcp.store.llm_consortium_files import FILES, GLANCE_SECONDS, saved_rows

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 5
"""The seconds to wait for another process's lock on such a file, at the first import."""

SAME_HERE = {
    *("models", "arbiter", "system_prompt", "confidence_threshold", "max_iterations", "minimum_iterations"),
    *("strategy", "judging_method"),
}
"""Fields of llm-consortium's rows with the same meaning here."""

WITHOUT_EFFECT = {"category", "expected_agreement", "status", "created_at", "embedding_cache_enabled"}
"""Fields of later releases that do not affect which models are asked and how."""


def take_over(store: Store, folder: Path) -> list[str]:
    """Copy each consortium that llm-consortium saved and that has no namesake here, once.

    Args:
        folder: llm's user folder.

    Returns:
        What could not be read, or could only be imported with changes, one sentence each.
    """
    problems = [problem for name in FILES for problem in _take_file(store, folder / name)]
    for problem in problems:
        logger.warning(problem)
    return problems


def _take_file(store: Store, path: Path) -> Iterator[str]:
    """Import what is new since the file was last read, because the user may continue to save with llm-consortium."""
    if not path.exists():
        return
    seen = store.consortiums.list_takeovers.sync().get(str(path))
    try:
        rows = saved_rows(path, PATIENCE_SECONDS if seen is None else GLANCE_SECONDS)
    except sqlite3.Error as error:
        if seen is None:
            yield f"The consortiums that llm-consortium saved in {path} could not be read: {error}"
        return  # the next opening tries again
    new = [(name, config) for name, config in rows if str(name) not in (seen or ())]
    for name, config in new:
        yield from _take_row(store, path, name, config)
    if new or seen is None:
        store.consortiums.save_takeover.sync(str(path), [str(name) for name, _ in rows])


def _take_row(store: Store, path: Path, name: Any, config: Any) -> Iterator[str]:
    if name in store.consortiums.list_names.sync():
        return
    try:
        if not isinstance(name, str):
            raise TypeError("its name is not a text")
        consortium, changes = _as_ours(json.loads(config))
        store.consortiums.save.sync(name, consortium, taken_from=str(path))
    except (ValueError, TypeError, RecursionError, ConsortiumError) as error:
        yield f"The consortium {name!r} in {path} was not imported: {error}"
    else:
        if changes:
            yield f"The consortium {name!r} in {path} was imported with changes: {'; '.join(changes)}."


def _as_ours(row: Any) -> tuple[Consortium, list[str]]:
    """Our definition of a row, and the changes that were needed."""
    if not isinstance(row, dict):
        raise TypeError("its row is not a JSON object")
    left_out = [name for name, value in row.items() if value and name not in SAME_HERE | WITHOUT_EFFECT]
    fields = {name: value for name, value in row.items() if name in SAME_HERE}
    changes = [f"{name} is left out, because it has no meaning here" for name in left_out]
    changes += [*_bound_iterations(fields), *_leave_out_uncounted(fields)]
    return load_saved_form(fields), changes


def _bound_iterations(fields: dict[str, Any]) -> Iterator[str]:
    """Raise iteration limits to 1: llm-consortium did not check them, and always made one iteration."""
    for name in ("max_iterations", "minimum_iterations"):
        if isinstance(given := fields.get(name), int):
            fields[name] = min(max(given, 1), MAX_ITERATIONS)
            if given > MAX_ITERATIONS:
                yield f"{name} is {MAX_ITERATIONS}, not {given}"


def _leave_out_uncounted(fields: dict[str, Any]) -> Iterator[str]:
    """Remove members with a count below 1: llm-consortium did not check counts, and never asked such a member."""
    if not isinstance(counts := fields.get("models"), dict):
        return
    uncounted = [model for model, count in counts.items() if isinstance(count, int) and count < 1]
    fields["models"] = {model: count for model, count in counts.items() if model not in uncounted}
    for model in uncounted:
        yield f"{model!r} is left out, because its count is {counts[model]}"
