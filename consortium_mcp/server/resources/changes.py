"""Announces changes by any process to all listeners."""

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import anyio
from mcp.server.subscriptions import ResourcesListChanged, ResourceUpdated, ServerEvent, ToolsListChanged

from consortium_mcp._util.caller import calling
from consortium_mcp._util.timing import DEFAULT_TIMING, Timing
from consortium_mcp.errors import StoreUnusableError
from consortium_mcp.records.uris import CONSORTIUMS, RUNS, STATS, consortium_uri, iteration_uri, run_uri, transcript_uri
from consortium_mcp.server.resources.listeners import Listeners
from consortium_mcp.store import Store
from consortium_mcp.store.change_markers import NOTHING, ChangeMarkers

logger = logging.getLogger(__name__)


class Changes:
    """Polls the database while there are listeners, and announces changes."""

    def __init__(self, store: Store, listeners: Listeners, timing: Timing = DEFAULT_TIMING) -> None:
        self.listeners = listeners
        self._store = store
        self._timing = timing
        self._turn = anyio.Lock()
        self._version = 0
        self._seen: dict[str | None, ChangeMarkers] = {}

    @asynccontextmanager
    async def lifespan(self, server: object) -> AsyncIterator[None]:
        """Watch while the server runs. Over SSE, one of the open connections does it."""
        if not self._seen:
            await self._look()
        async with anyio.create_task_group() as group:
            group.start_soon(self._watch)
            yield
            group.cancel_scope.cancel()

    async def _watch(self) -> None:
        async with self._turn:
            while True:
                await self.listeners.wait_for_one()
                await self._look()
                await anyio.sleep(self._pause())

    def _pause(self) -> float:
        """The seconds until the next poll; only runs of callers with listeners count."""
        seen = [self._seen.get(caller, NOTHING) for caller in self.listeners.callers()]
        return self._timing.look_busy if any(marks.under_way for marks in seen) else self._timing.look_idle

    async def _look(self) -> None:
        """Announce the changes since the last poll; without listeners they are announced later."""
        try:
            version = await self._store.markers.data_version()
            if version == self._version and self._seen:
                return
            for caller in self.listeners.callers() or {None}:
                with calling(caller):
                    await self._announce(caller)
            self._version = version
        except StoreUnusableError as error:
            logger.warning("Changes cannot be detected: %s", error)

    async def _announce(self, caller: str | None) -> None:
        """Tell a caller the changes that it may see; for a caller that has just begun to listen, everything is new."""
        now = await self._store.markers.load()
        before, self._seen[caller] = self._seen.get(caller, NOTHING), now
        for event in dict.fromkeys(events_between(before, now)):
            await self.listeners.publish(event)


def events_between(before: ChangeMarkers, now: ChangeMarkers) -> Iterator[ServerEvent]:
    """The events for a change of the markers; an event may occur twice."""
    if before.runs != now.runs:
        yield from (ResourcesListChanged(), ResourceUpdated(RUNS))
    for run_id in before.under_way.keys() | now.under_way.keys():
        if before.under_way.get(run_id) != now.under_way.get(run_id):
            yield from _events_of_run(run_id, now.under_way.get(run_id) or before.under_way[run_id])
    if before.under_way.keys() != now.under_way.keys():
        yield from (ResourceUpdated(RUNS), ResourceUpdated(STATS))
    if before.consortiums != now.consortiums:
        yield from (ResourcesListChanged(), ToolsListChanged(), ResourceUpdated(CONSORTIUMS))
        for name, _ in sorted(before.consortiums.items() ^ now.consortiums.items()):
            yield ResourceUpdated(consortium_uri(name))
    if before.rated_utc != now.rated_utc:
        yield ResourceUpdated(STATS)


def _events_of_run(run_id: str, under_way: tuple[int, int, int]) -> Iterator[ServerEvent]:
    iteration, _, _ = under_way
    yield from (ResourceUpdated(run_uri(run_id)), ResourceUpdated(transcript_uri(run_id)))
    if iteration:
        yield ResourceUpdated(iteration_uri(run_id, iteration))
