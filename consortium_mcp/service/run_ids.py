"""Finds a run by its id, the beginning of its id, or one of its URIs."""

from consortium_mcp.errors import NotFoundError
from consortium_mcp.records.uris import RUNS
from consortium_mcp.store import Store

SHORTEST = 6
"""The fewest characters of the beginning of an id."""

_LOOKED_AT = 3
"""The number of ids to look up: two show that a beginning is not unique."""


def find_run_id(store: Store, named: str) -> str:
    """The id of the named run; a text that begins no run's id is returned unchanged.

    Raises NotFoundError if it begins several ids, or is too short.
    """
    begin = _beginning(named)
    return _chosen(begin, store.outlines.find_ids.sync(begin.lower(), limit=_LOOKED_AT))


async def found_run_id(store: Store, named: str) -> str:
    """The same for a caller with an event loop."""
    begin = _beginning(named)
    return _chosen(begin, await store.outlines.find_ids(begin.lower(), limit=_LOOKED_AT))


def _beginning(named: str) -> str:
    """The beginning of an id; from a URI, the part that is the id."""
    named, uri = named.strip(), f"{RUNS}/"
    return named.removeprefix(uri).partition("/")[0] if named.startswith(uri) else named


def _chosen(begin: str, listed: list[str]) -> str:
    """The listed id with this beginning, in any case; else the text as written, in which secrets may be masked."""
    found = [run_id for run_id in listed if run_id.startswith(begin.lower())]
    if not found:
        return begin
    if begin.lower() in found:
        return begin.lower()
    if len(begin) < SHORTEST:
        raise NotFoundError(
            f"{begin!r} is too short: give at least {SHORTEST} characters of a run's id, as {found[0][:9]}."
        )
    if len(found) > 1:
        raise NotFoundError(f"Several runs begin with {begin!r}, as {found[0]} and {found[1]}; give more of the id.")
    return found[0]
