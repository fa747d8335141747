"""Changes by any process are announced to connected clients of both eras."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import anyio
import anyio.to_thread
import pytest
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp import Client, StdioServerParameters, stdio_client
from mcp.client.sse import sse_client
from mcp.server.connection import Connection
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError
from mcp.shared.subscriptions import (
    ResourcesListChanged,
    ResourceUpdated,
    ServerEvent,
    ToolsListChanged,
    event_from_wire,
)
from mcp_types import INVALID_PARAMS, ServerNotification

from consortium_mcp._util.caller import calling
from consortium_mcp._util.timing import DEFAULT_TIMING, Timing
from consortium_mcp.records import Rating
from consortium_mcp.records.consortium import Consortium, Member
from consortium_mcp.records.uris import LONGEST_URI, consortium_uri
from consortium_mcp.server import build_server
from consortium_mcp.server.resources import changes, listeners
from consortium_mcp.server.resources.changes import events_between
from consortium_mcp.server.resources.listeners import Listeners
from consortium_mcp.service.runner import Runner
from consortium_mcp.service.service import ConsortiumService
from consortium_mcp.store.change_markers import NOTHING
from tests.consulted import consulted
from tests.provider import Provider, verdict
from tests.scripted import asking
from tests.server_process import http_server, read
from tests.store_methods import replace_method

PAIR = Consortium(members=(Member(model="a"),), arbiter="arbiter")


class Ear:
    """A connected client and the events that it receives."""

    def __init__(self, client: Client, heard: MemoryObjectReceiveStream[ServerEvent]) -> None:
        self.client = client
        self._heard = heard

    async def wait_for(self, event: ServerEvent) -> list[ServerEvent]:
        """Return when the event has arrived, with the events before it."""
        before: list[ServerEvent] = []
        with anyio.fail_after(30):
            async for one in self._heard:
                if one == event:
                    break
                before.append(one)
        return before


@asynccontextmanager
async def ear(server: Any, mode: str, *uris: str) -> AsyncIterator[Ear]:
    """A client that is told of lists and of these resources, in the way of its era.

    Args:
        server: in this process, a transport to one, or its URL.
    """
    send, receive = anyio.create_memory_object_stream[ServerEvent](10_000)

    async def hear(message: ServerNotification | Exception) -> None:
        if not isinstance(message, Exception):
            wire = message.model_dump(by_alias=True, mode="json", exclude_none=True)
            if mode == "legacy" and (event := event_from_wire(wire["method"], wire.get("params"))):
                send.send_nowait(event)

    with send, receive:
        async with Client(server, mode=mode, message_handler=hear) as client:
            async with _listening(client, send, uris) if mode == "auto" else _subscribed(client, uris):
                yield Ear(client, receive)


@asynccontextmanager
async def _listening(
    client: Client, send: MemoryObjectSendStream[ServerEvent], uris: Sequence[str]
) -> AsyncIterator[None]:
    listened = client.listen(tools_list_changed=True, resources_list_changed=True, resource_subscriptions=uris)
    async with listened as stream, anyio.create_task_group() as group:

        async def pass_on() -> None:
            async for event in stream:
                send.send_nowait(event)

        group.start_soon(pass_on)
        yield
        group.cancel_scope.cancel()


@asynccontextmanager
async def _subscribed(client: Client, uris: Sequence[str]) -> AsyncIterator[None]:
    for uri in uris:
        with pytest.warns(MCPDeprecationWarning):
            await client.subscribe_resource(uri)
    yield


@pytest.fixture(params=["auto", "legacy"])
def mode(request: pytest.FixtureRequest) -> str:
    """Either protocol era."""
    return str(request.param)


@pytest.fixture
async def runner(service: ConsortiumService) -> AsyncIterator[Runner]:
    """A runner whose server looks often."""
    service.timing = Timing(look_busy=0.01, look_idle=0.01)
    async with Runner(service) as runner:
        yield runner


@asynccontextmanager
async def started(transport: str, mode: str, tmp_path: Path, *uris: str) -> AsyncIterator[Ear]:
    """A client of a server in another process."""
    async with AsyncExitStack() as stack:
        server: Any
        if transport == "stdio":
            log = stack.enter_context((tmp_path / "stderr").open("w"))
            module = ["-m", "consortium_mcp"]
            parameters = StdioServerParameters(command=sys.executable, args=module, env=dict(os.environ))
            server = stdio_client(parameters, errlog=log)
        else:
            _, url = stack.enter_context(http_server(tmp_path / "stderr", transport))
            server = sse_client(url) if transport == "sse" else url
        yield await stack.enter_async_context(ear(server, mode, *uris))


async def command(*arguments: str) -> None:
    """Another process: the command line."""
    line = [sys.executable, "-m", "consortium_mcp", *arguments]
    done = await anyio.to_thread.run_sync(lambda: subprocess.run(line, capture_output=True, text=True))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("transport", "mode"),
    [("stdio", "auto"), ("stdio", "legacy"), ("http", "auto"), ("http", "legacy"), ("sse", "legacy")],
)
async def test_what_another_process_writes_is_announced(
    transport: str, mode: str, provider: Provider, tmp_path: Path
) -> None:
    provider.on("arbiter", verdict("Paris"))
    async with started(transport, mode, tmp_path, "consortium://runs") as listener:
        await command("save", "pair", "-m", "a", "--arbiter", "arbiter")
        await listener.wait_for(ResourcesListChanged())
        await listener.wait_for(ToolsListChanged())
        await command("consult", "Why?", "--consortium", "pair")
        await listener.wait_for(ResourcesListChanged())
        await listener.wait_for(ResourceUpdated("consortium://runs"))
        (run,) = json.loads(await read(listener.client, "consortium://runs"))

    assert run["consortium"] == "pair"


async def test_a_running_run_is_announced_at_each_response(runner: Runner, mode: str, provider: Provider) -> None:
    provider.on("arbiter", verdict("Paris"))
    gates = {model: provider.gate(model) for model in ("a", "b", "arbiter")}
    opened = await anyio.to_thread.run_sync(
        lambda: runner.service.opener.open_run(asking("Why?", models=["a", "b"], arbiter="arbiter"))
    )
    stood: list[tuple[str, int]] = []
    async with ear(build_server(runner), mode, opened.uri) as listener:
        runner.submit(opened.run_id)
        for model, expected in (("a", ("running", 1)), ("b", ("running", 2)), ("arbiter", ("converged", 2))):
            await gates[model].wait_for_async(1)
            gates[model].open()
            while not stood or stood[-1] != expected:
                await listener.wait_for(ResourceUpdated(opened.uri))
                record = json.loads(await read(listener.client, opened.uri))
                stood.append((record["status"], sum(len(one["responses"]) for one in record["iterations"])))

    assert stood[-1] == ("converged", 2) and {("running", 1), ("running", 2)} <= set(stood)


async def test_what_was_written_right_after_subscribing_is_not_missed(runner: Runner, mode: str) -> None:
    async with ear(build_server(runner), mode, "consortium://stats") as listener:
        runner.service.store.consortiums.save.sync("pair", PAIR)
        await listener.wait_for(ResourcesListChanged())
        names = [one.name for one in (await listener.client.list_resources()).resources]

    assert "pair" in names


async def test_the_capabilities_of_either_era_say_that_changes_are_announced(runner: Runner, mode: str) -> None:
    async with Client(build_server(runner), mode=mode) as client:
        said = client.server_capabilities

    assert said.resources and said.tools and said.completions is not None
    assert (said.resources.subscribe, said.resources.list_changed, said.tools.list_changed) == (True, True, True)


async def test_a_client_that_unsubscribed_hears_of_the_resource_no_more(runner: Runner, provider: Provider) -> None:
    uris = ("consortium://stats", "consortium://consortiums")
    async with ear(build_server(runner), "legacy", *uris) as listener:
        with pytest.warns(MCPDeprecationWarning):
            await listener.client.unsubscribe_resource(uris[1])
        runner.service.store.consortiums.save.sync("pair", PAIR)
        run = await consulted(runner.service, "a")
        runner.service.store.ratings.save.sync(Rating(run_id=run.run_id, score=1))
        heard = await listener.wait_for(ToolsListChanged())
        heard += await listener.wait_for(ResourceUpdated(uris[0]))

    assert ResourceUpdated(uris[1]) not in heard


async def test_the_database_is_not_polled_without_listeners(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    store = runner.service.store
    look = store.markers.data_version.sync

    def noted() -> int:
        looks.append(1)
        return look()

    replace_method(monkeypatch, store.markers, "data_version", noted)
    server = build_server(runner)
    async with Client(server) as silent:
        for number in range(20):
            await anyio.to_thread.run_sync(store.consortiums.save.sync, f"c{number}", PAIR)
            await silent.list_resources()
    unheard = len(looks)
    async with ear(server, "legacy") as listener:
        await listener.wait_for(ResourcesListChanged())

    assert unheard == 1


async def test_a_caller_hears_of_its_own_runs_and_consortiums_alone(
    service: ConsortiumService, provider: Provider
) -> None:
    announced = changes.Changes(service.store, Listeners())
    heard: dict[str, list[ServerEvent]] = {"ann": [], "bob": []}
    for name, events in heard.items():
        with calling(name):
            announced.listeners.subscribe(events.append)
    await announced._look()
    for events in heard.values():
        events.clear()
    with calling("ann"):
        run = service.opener.open_run(asking("?", models=["a"], arbiter="arbiter"))
        service.store.consortiums.save.sync("panel", PAIR)
    await announced._look()

    assert (
        ResourceUpdated(run.uri) in heard["ann"] and ResourceUpdated("consortium://consortiums/panel") in heard["ann"]
    )
    assert heard["bob"] == []


async def test_a_connection_that_closed_is_forgotten(service: ConsortiumService) -> None:
    announced = Listeners()
    connection = Connection.for_loop(Mock())
    announced.subscribed(connection)
    async with connection.exit_stack:
        pass
    with anyio.move_on_after(0) as waited:
        await announced.wait_for_one()

    assert waited.cancelled_caught


async def test_a_caller_who_left_during_a_run_does_not_cause_frequent_polls(
    service: ConsortiumService, provider: Provider
) -> None:
    announced = changes.Changes(service.store, Listeners())
    with calling("ann"):
        ann_leaves = announced.listeners.subscribe(lambda _: None)
        service.opener.open_run(asking("?", models=["a"], arbiter="arbiter"))
    with calling("bob"):
        announced.listeners.subscribe(lambda _: None)
    await announced._look()
    pauses = [announced._pause()]
    ann_leaves()
    pauses.append(announced._pause())

    assert pauses == [DEFAULT_TIMING.look_busy, DEFAULT_TIMING.look_idle]


async def test_a_stream_that_is_left_twice_is_left_once(service: ConsortiumService) -> None:
    listeners = Listeners()
    leave = listeners.subscribe(lambda _: None)
    leave()
    leave()
    gone = listeners.callers()
    listeners.subscribe(lambda _: None)

    assert (gone, listeners.callers()) == (set(), {None})


@pytest.mark.parametrize(
    "uri",
    ["file:///etc/passwd", "consortium://else", "consortium://runsaway", "consortium://runs/" + "x" * LONGEST_URI],
)
async def test_a_uri_that_cannot_be_ours_is_not_subscribed_to(runner: Runner, uri: str) -> None:
    async with Client(build_server(runner), mode="legacy") as client:
        with pytest.raises(MCPError, match="Unknown resource '") as refused, pytest.warns(MCPDeprecationWarning):
            await client.subscribe_resource(uri)

    assert refused.value.code == INVALID_PARAMS and len(refused.value.message) < 200


async def test_the_longest_name_of_a_consortium_can_be_subscribed_to(runner: Runner) -> None:
    name = "\N{BALLOT BOX WITH BALLOT}" * 100
    async with ear(build_server(runner), "legacy", consortium_uri(name)) as listener:
        runner.service.store.consortiums.save.sync(name, PAIR)
        await listener.wait_for(ResourceUpdated(consortium_uri(name)))


async def test_a_connection_has_so_many_subscriptions_and_no_more(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listeners, "MOST_SUBSCRIBED", 2)
    uris = ["consortium://runs", "consortium://stats"]
    async with ear(build_server(runner), "legacy", *uris, *uris) as listener:
        client = listener.client
        with pytest.raises(MCPError, match="unsubscribe from one"), pytest.warns(MCPDeprecationWarning):
            await client.subscribe_resource("consortium://models")
        with pytest.warns(MCPDeprecationWarning):
            await client.unsubscribe_resource(uris[0])
            await client.subscribe_resource("consortium://models")


@pytest.mark.parametrize(
    ("now", "uris"),
    [
        ({"rated_utc": "now"}, {"consortium://stats"}),
        ({"consortiums": {"a b": "now"}}, {"consortium://consortiums", "consortium://consortiums/a%20b"}),
        ({"runs": ("1", "1")}, {"consortium://runs"}),
        (
            {"under_way": {"1": (2, 5, 1)}},
            {
                "consortium://runs",
                "consortium://stats",
                "consortium://runs/1",
                "consortium://runs/1/transcript.md",
                "consortium://runs/1/iterations/2",
            },
        ),
    ],
)
def test_each_resource_that_a_change_concerns_is_named_and_no_other(now: dict[str, Any], uris: set[str]) -> None:
    for before, after in ((NOTHING, replace(NOTHING, **now)), (replace(NOTHING, **now), NOTHING)):
        named = {event.uri for event in events_between(before, after) if isinstance(event, ResourceUpdated)}
        assert named == uris
    assert list(events_between(replace(NOTHING, **now), replace(NOTHING, **now))) == []
