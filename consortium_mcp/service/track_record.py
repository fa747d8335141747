"""The track record of the consortium that a run asks, from the ratings in the store."""

from contextlib import suppress

from consortium_mcp.engine.track_record import track_record
from consortium_mcp.errors import StoreUnusableError
from consortium_mcp.records import Run, TrackRecord
from consortium_mcp.store import Store


async def load_track_record(store: Store, run: Run) -> TrackRecord:
    """What rated runs of the same consortium say; nothing where the store cannot be read.

    The same consortium is the one of the same saved name, or the same inline definition.
    """
    with suppress(StoreUnusableError):
        return track_record(await store.ratings.list_trust(run.consortium_name, run.consortium))
    return TrackRecord()
