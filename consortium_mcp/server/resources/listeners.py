"""Listeners: the clients of both protocol eras that get announcements of changes.

A client of 2026-07-28 listens on a stream that it opens. One of 2025-11-25 is told of changed lists while connected,
and of the resources that it subscribed to.
"""

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
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

from consortium_mcp._util.caller import calling, current_caller
from consortium_mcp.records.uris import is_ours
from consortium_mcp.server.base.mcp_server import StrictServer
from consortium_mcp.server.base.sdk_private import connection_of, lowlevel
from consortium_mcp.text.templates import plain

MOST_SUBSCRIBED = 200
"""The most subscriptions of one connection of the handshake era."""

SEND_SECONDS = 5
"""The seconds in which a client must accept an announcement; otherwise it misses it."""


class Listeners(SubscriptionBus):
    """All listening clients; middleware that registers the connections of the handshake era.

    Each gets the events of its own caller, which is the current caller when it subscribes and when we publish.
    """

    def __init__(self) -> None:
        self._streams: dict[str | None, InMemorySubscriptionBus] = {}
        self._open_streams: Counter[str | None] = Counter()
        self._subscribed: dict[Connection, tuple[str | None, set[str]]] = {}
        self._came = anyio.Event()

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Register a connection of the handshake era at its handshake."""
        answer = await call_next(ctx)
        if ctx.method == "notifications/initialized":
            self.subscribed(connection_of(ctx))
        return answer

    def serve(self, server: StrictServer) -> None:
        """Serve the handshake era's subscriptions; without this, its clients are told that they cannot subscribe."""

        async def subscribe(ctx: ServerRequestContext[Any, Any], params: SubscribeRequestParams) -> EmptyResult:
            uris = self.subscribed(connection_of(ctx))
            _check_subscription(uris, params.uri)
            uris.add(params.uri)
            return EmptyResult()

        async def unsubscribe(ctx: ServerRequestContext[Any, Any], params: UnsubscribeRequestParams) -> EmptyResult:
            self.subscribed(connection_of(ctx)).discard(params.uri)
            return EmptyResult()

        lowlevel(server).add_request_handler("resources/subscribe", SubscribeRequestParams, subscribe)
        lowlevel(server).add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, unsubscribe)

    def subscribe(self, listener: Callable[[ServerEvent], None]) -> Callable[[], None]:
        """Register a stream, as the SDK does when one opens, and return the function that removes it."""
        caller = current_caller()
        forget = self._streams.setdefault(caller, InMemorySubscriptionBus()).subscribe(listener)
        self._open_streams[caller] += 1
        self._came.set()
        leaving = ExitStack()  # a second close has no effect
        leaving.callback(forget)
        leaving.callback(self._open_streams.subtract, [caller])
        return leaving.close

    def subscribed(self, connection: Connection) -> set[str]:
        """The URIs that a connection of the handshake era has subscribed to; kept until it closes."""
        if connection not in self._subscribed:
            self._subscribed[connection] = (current_caller(), set())
            connection.exit_stack.callback(self._subscribed.pop, connection, None)
            self._came.set()
        return self._subscribed[connection][1]

    def callers(self) -> set[str | None]:
        """The callers with a listener."""
        return {caller for caller, count in self._open_streams.items() if count} | {
            caller for caller, _ in self._subscribed.values()
        }

    async def wait_for_one(self) -> None:
        """Wait until there is a listener."""
        while not self.callers():
            self._came = anyio.Event()
            await self._came.wait()

    async def publish_to_all(self, event: ServerEvent) -> None:
        """Send an event to the listeners of all callers."""
        for caller in self.callers():
            with calling(caller):
                await self.publish(event)

    async def publish(self, event: ServerEvent) -> None:
        """Send an event to the current caller's clients that it concerns."""
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


def _check_subscription(uris: set[str], uri: str) -> None:
    """Raise MCPError if a connection with these subscriptions may not add this one."""
    if not is_ours(uri):
        raise MCPError(INVALID_PARAMS, f"Unknown resource {plain(uri[:80])!r}; resources/list shows all resources.")
    if uri not in uris and len(uris) >= MOST_SUBSCRIBED:
        sentence = f"You are subscribed to {len(uris)} resources, which is the limit; unsubscribe from one."
        raise MCPError(INVALID_PARAMS, sentence)
