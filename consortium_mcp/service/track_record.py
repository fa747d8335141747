"""Loads the track record of a run's consortium from the ratings in the store."""

from contextlib import suppress

import anyio
from pydantic import ValidationError

from consortium_mcp.engine.track_record import track_record
from consortium_mcp.errors import StoreUnusableError
from consortium_mcp.records import Run, TrackRecord
from consortium_mcp.store import Store


class TrackRecordReading:
    """A run's track record, loaded while its members answer."""

    def __init__(self, store: Store, run: Run) -> None:
        self._store = store
        self._run = run
        self._record = TrackRecord()
        self._is_begun = False
        self._is_read = anyio.Event()

    async def read(self) -> None:
        """Load the record once; later callers wait until it is loaded."""
        if self._is_begun:
            await self._is_read.wait()
            return
        self._is_begun = True
        try:
            self._record = await load_track_record(self._store, self._run)
        finally:
            self._is_read.set()

    async def __call__(self) -> TrackRecord:
        """The record, as soon as it is loaded."""
        await self.read()
        return self._record


async def load_track_record(store: Store, run: Run) -> TrackRecord:
    """The track record from rated runs of the same consortium; empty if the store cannot be read.

    The same consortium has the same saved name, or the same inline definition.
    """
    with suppress(StoreUnusableError, ValidationError):  # a damaged row affects this record only, not the run
        own = await store.ratings.list_trust(run.consortium_name, run.consortium)
        several = run.consortium.instance_count > 1
        return track_record(own, await store.ratings.list_trust_everywhere() if several else ())
    return TrackRecord()
