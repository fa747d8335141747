"""Which run is meant: by its id, the beginning of that, or a URI of it."""

from consortium_mcp.errors import NotFoundError
from consortium_mcp.records.uris import RUNS
from consortium_mcp.store import Store

SHORTEST = 6
"""Characters that the beginning of an id needs."""

_LOOKED_AT = 3
"""Ids that are looked up: two of them show that a beginning is not unique."""


def find_run_id(store: Store, named: str) -> str:
    """The id of the run that is meant; a text that begins no run's id stays as it is.

    Raises NotFoundError if it begins several, or is too short.
    """
    begin = _beginning(named)
    return _chosen(begin, store.outlines.find_ids.sync(begin, limit=_LOOKED_AT))


async def found_run_id(store: Store, named: str) -> str:
    """The same, for a caller with an event loop."""
    begin = _beginning(named)
    return _chosen(begin, await store.outlines.find_ids(begin, limit=_LOOKED_AT))


def _beginning(named: str) -> str:
    """What is named of an id, which has lower case."""
    return named.strip().removeprefix(f"{RUNS}/").partition("/")[0].lower()


def _chosen(begin: str, listed: list[str]) -> str:
    found = [run_id for run_id in listed if run_id.startswith(begin)]
    if begin in found or not found:
        return begin
    if len(begin) < SHORTEST:
        raise NotFoundError(
            f"{begin!r} is too short: give at least {SHORTEST} characters of a run's id, as {found[0][:9]}."
        )
    if len(found) > 1:
        raise NotFoundError(f"Several runs begin with {begin!r}, as {found[0]} and {found[1]}; give more of the id.")
    return found[0]
