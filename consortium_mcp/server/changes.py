"""Changes: announced to the clients of both protocol eras, whichever process wrote them.

A client of 2026-07-28 listens on a stream that it opens; one of 2025-11-25 hears of lists as long as it is connected,
and of the resources that it subscribed to.
"""

import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import anyio
from mcp.server.connection import Connection
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    ResourcesListChanged,
    ResourceUpdated,
    ServerEvent,
    SubscriptionBus,
    ToolsListChanged,
)
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, EmptyResult, SubscribeRequestParams, UnsubscribeRequestParams

from consortium_mcp.callers import calling, current_caller
from consortium_mcp.errors import StoreUnusable
from consortium_mcp.server.lowlevel import connection_of, lowlevel
from consortium_mcp.server.strict import StrictServer
from consortium_mcp.store import Store
from consortium_mcp.store.marks import NOTHING, Marks
from consortium_mcp.texts import plain
from consortium_mcp.uris import (
    CONSORTIUMS,
    RUNS,
    STATS,
    consortium_uri,
    is_ours,
    iteration_uri,
    run_uri,
    transcript_uri,
)

logger = logging.getLogger(__name__)

BUSY_SECONDS = 0.5
"""How often the database is looked at while somebody listens and a run is under way."""

IDLE_SECONDS = 2.0
"""How often while somebody listens and none is."""

MOST_SUBSCRIBED = 200
"""How many resources a connection of the handshake era may be subscribed to at once."""

SEND_SECONDS = 5
"""How long a client may take to read an announcement before it goes without it."""


class Listeners(SubscriptionBus):
    """Everybody who is to hear of changes: the SDK's streams, and the connections of the handshake era.

    Each hears what is published for its own caller, who is the current one when it subscribes, and when we publish.
    """

    def __init__(self) -> None:
        self._streams: dict[str | None, InMemorySubscriptionBus] = {}
        self._open_streams: Counter[str | None] = Counter()
        self._subscribed: dict[Connection, tuple[str | None, set[str]]] = {}
        self._came = anyio.Event()

    def subscribe(self, listener: Callable[[ServerEvent], None]) -> Callable[[], None]:
        """Register a stream, as the SDK does for one that opens, and return what forgets it."""
        caller = current_caller()
        forget = self._streams.setdefault(caller, InMemorySubscriptionBus()).subscribe(listener)
        self._open_streams[caller] += 1
        self._came.set()
        leaving = ExitStack()  # closed a second time, it does nothing
        leaving.callback(forget)
        leaving.callback(self._open_streams.subtract, [caller])
        return leaving.close

    def subscribed(self, connection: Connection) -> set[str]:
        """The URIs that a connection of the handshake era has subscribed to; it is known until it closes."""
        if connection not in self._subscribed:
            self._subscribed[connection] = (current_caller(), set())
            connection.exit_stack.callback(self._subscribed.pop, connection, None)
            self._came.set()
        return self._subscribed[connection][1]

    def callers(self) -> set[str | None]:
        """Those for whom somebody listens."""
        return {caller for caller, count in self._open_streams.items() if count} | {
            caller for caller, _ in self._subscribed.values()
        }

    async def wait_for_one(self) -> None:
        """Return when somebody listens."""
        while not self.callers():
            self._came = anyio.Event()
            await self._came.wait()

    async def publish(self, event: ServerEvent) -> None:
        """Tell everybody of the current caller's whom it concerns."""
        if streams := self._streams.get(current_caller()):
            await streams.publish(event)
        async with anyio.create_task_group() as group:
            for connection, (caller, uris) in self._subscribed.items():
                if caller == current_caller() and (not isinstance(event, ResourceUpdated) or event.uri in uris):
                    group.start_soon(_send, connection, event)


async def _send(connection: Connection, event: ServerEvent) -> None:
    with anyio.move_on_after(SEND_SECONDS):
        if isinstance(event, ResourceUpdated):
            await connection.send_resource_updated(event.uri)
        elif isinstance(event, ResourcesListChanged):
            await connection.send_resource_list_changed()
        elif isinstance(event, ToolsListChanged):
            await connection.send_tool_list_changed()
        else:
            await connection.send_prompt_list_changed()


class Changes:
    """Looks at the database while somebody listens, and announces what is new; middleware that meets the listeners."""

    def __init__(self, store: Store) -> None:
        self.listeners = Listeners()
        self._store = store
        self._turn = anyio.Lock()
        self._version = 0
        self._seen: dict[str | None, Marks] = {}

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Know a connection of the handshake era from its handshake on."""
        answer = await call_next(ctx)
        if ctx.method == "notifications/initialized":
            self.listeners.subscribed(connection_of(ctx))
        return answer

    def serve(self, server: StrictServer) -> None:
        """Serve what the handshake era subscribes with; without these its clients are told that they cannot."""

        async def subscribe(ctx: ServerRequestContext[Any, Any], params: SubscribeRequestParams) -> EmptyResult:
            uris = self.listeners.subscribed(connection_of(ctx))
            _check_subscription(uris, params.uri)
            uris.add(params.uri)
            return EmptyResult()

        async def unsubscribe(ctx: ServerRequestContext[Any, Any], params: UnsubscribeRequestParams) -> EmptyResult:
            self.listeners.subscribed(connection_of(ctx)).discard(params.uri)
            return EmptyResult()

        lowlevel(server).add_request_handler("resources/subscribe", SubscribeRequestParams, subscribe)
        lowlevel(server).add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, unsubscribe)

    @asynccontextmanager
    async def lifespan(self, server: object) -> AsyncIterator[None]:
        """Watch for as long as the server runs; over SSE that is each connection, and one of them does it."""
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
        """How long until the next look; runs count only of callers who still listen."""
        seen = [self._seen.get(caller, NOTHING) for caller in self.listeners.callers()]
        return BUSY_SECONDS if any(marks.under_way for marks in seen) else IDLE_SECONDS

    async def _look(self) -> None:
        """Announce what was written since the last look; what nobody listened to then is said late, not lost."""
        try:
            version = await self._store.loaded(self._store.data_version)
            if version == self._version and self._seen:
                return
            for caller in self.listeners.callers() or {None}:
                with calling(caller):
                    await self._announce(caller)
            self._version = version
        except StoreUnusable as error:
            logger.warning("Changes cannot be looked for: %s", error)

    async def _announce(self, caller: str | None) -> None:
        """Tell a caller what is new of what it can see; of one who begins to listen we know nothing, so all is new."""
        now = await self._store.loaded(self._store.load_marks)
        before, self._seen[caller] = self._seen.get(caller, NOTHING), now
        for event in dict.fromkeys(events_between(before, now)):
            await self.listeners.publish(event)


def _check_subscription(uris: set[str], uri: str) -> None:
    """Raise MCPError where a connection that is subscribed to these may not subscribe to this one, too."""
    if not is_ours(uri):
        raise MCPError(INVALID_PARAMS, f"There is no resource {plain(uri[:80])!r}; resources/list shows them.")
    if uri not in uris and len(uris) >= MOST_SUBSCRIBED:
        sentence = f"You are subscribed to {len(uris)} resources, as many as are allowed at once; unsubscribe from one."
        raise MCPError(INVALID_PARAMS, sentence)


def events_between(before: Marks, now: Marks) -> Iterator[ServerEvent]:
    """What is announced when the marks have changed; the same event may come twice."""
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
