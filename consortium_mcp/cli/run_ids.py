"""Which run is meant on the command line: its id, the beginning of that, or the URI that an answer ends with."""

from consortium_mcp.errors import NotFoundError
from consortium_mcp.records.uris import RUNS
from consortium_mcp.store import Store

SHORTEST = 6
"""Characters that the beginning of an id needs."""


def find_run_id(store: Store, named: str) -> str:
    """The id of the run that is meant; what begins no run's id stays as it is.

    Raises NotFoundError where it begins several, or is too short.
    """
    begin = named.removeprefix(f"{RUNS}/").partition("/")[0]
    found = [run_id for run_id in store.outlines.find_ids.sync(begin, limit=3) if run_id.startswith(begin)]
    if begin in found or not found:
        return begin
    if len(begin) < SHORTEST:
        raise NotFoundError(
            f"{begin!r} is too short: give at least {SHORTEST} characters of a run's id, as {found[0][:9]}."
        )
    if len(found) > 1:
        raise NotFoundError(f"Several runs begin with {begin!r}, as {found[0]} and {found[1]}; give more of the id.")
    return found[0]
