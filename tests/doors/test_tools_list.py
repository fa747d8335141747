"""The content of tools/list: short, complete, and with the current choices."""

import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.shared.subscriptions import ToolsListChanged
from mcp_types import ToolListChangedNotification

from consortium_mcp.engine.judging import judging_methods
from consortium_mcp.engine.strategies import strategies
from consortium_mcp.models import catalogue
from consortium_mcp.server.base.choices import SchemaChoices
from consortium_mcp.server.resources.listeners import Listeners
from consortium_mcp.service.service import ConsortiumService
from consortium_mcp.settings import Settings
from tests.in_process import as_sent, in_process, tokens
from tests.provider import Provider
from tests.scripted import panel
from tests.server_process import read, structured

pytestmark = pytest.mark.anyio

MOST_TOKENS = 4_000

PLUGIN = """
from consortium_mcp.engine.strategies import Strategy, refine
SOLO = Strategy("solo", "Nobody hears of the others.", refine)
"""


async def argument(client: Client, tool: str, name: str) -> dict[str, Any]:
    """The schema of a tool's argument, as tools/list says it now."""
    tools = (await client.list_tools(cache_mode="refresh")).tools
    (schema,) = (one.input_schema for one in tools if one.name == tool)
    return dict(schema["properties"][name])


@pytest.mark.parametrize("name", ["consortium for legal questions", "zxqj-KVXQ_9", "龘靐"])
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_whole_list_costs_less_than_4000_tokens_with_many_names_in_it(
    mode: str, name: str, provider: Provider, service: ConsortiumService, llm_home: Path
) -> None:
    provider.write_llm_config(llm_home, [f"vendor/{name}-{number:02}" for number in range(30)])
    for number in range(30):
        service.store.consortiums.save.sync(f"{name} {number:02}", panel("a"))
    async with in_process(mode, service) as client:
        listed = as_sent(await client.list_tools())

    assert f"Saved: {name} 00, " in str(listed) and "list_models lists all" in str(listed)
    assert tokens(listed) < MOST_TOKENS


async def test_strategies_and_judging_methods_are_enums_with_those_of_other_packages(
    service: ConsortiumService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "solo_plugin.py").write_text(PLUGIN)
    info = tmp_path / "solo_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: solo-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[consortium_mcp.strategies]\nsolo = solo_plugin:SOLO\n")
    monkeypatch.syspath_prepend(tmp_path)
    strategies.cache_clear()
    try:
        async with in_process("auto", service) as client:
            strategy = await argument(client, "consult_consortium", "strategy")
            method = await argument(client, "save_consortium", "judging_method")
    finally:
        strategies.cache_clear()

    assert strategy["enum"] == ["refine", "debate", "eliminate", "solo"]
    assert method["enum"] == list(judging_methods())


async def test_an_argument_that_may_be_left_out_is_not_said_to_be_null(service: ConsortiumService) -> None:
    async with in_process("auto", service) as client:
        threshold = await argument(client, "consult_consortium", "confidence_threshold")

    assert threshold["type"] == "number" and "anyOf" not in threshold


async def test_every_argument_of_every_tool_is_described(service: ConsortiumService) -> None:
    async with in_process("auto", service) as client:
        tools = (await client.list_tools()).tools

    silent = [
        (one.name, name)
        for one in tools
        for name, argument in _arguments(one.input_schema)
        if not argument["description"]
    ]
    assert silent == []


def _arguments(schema: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return list(schema["properties"].items())


async def test_the_first_ten_names_are_shown_and_the_tool_that_lists_all(service: ConsortiumService) -> None:
    async with in_process("auto", service) as client:
        none = (await argument(client, "consult_consortium", "consortium"))["description"]
        for number in range(12):
            service.store.consortiums.save.sync(f"panel{number:02}", panel("a"))
        many = (await argument(client, "consult_consortium", "consortium"))["description"]
        models = (await argument(client, "consult_consortium", "models"))["description"]

    assert none.endswith("list_consortiums lists them.")
    assert "Saved: panel00, panel01" in many and many.endswith("panel09, …; list_consortiums lists all.")
    assert "panel" not in models


async def test_models_that_may_not_be_used_here_are_not_offered(
    provider: Provider, open_service: Callable[..., ConsortiumService]
) -> None:
    async with in_process("auto", open_service(allowed_models="b,arb*")) as client:
        assert (await argument(client, "consult_consortium", "models"))["description"].endswith("Usable: b, arbiter.")


async def test_a_saved_consortium_that_cannot_run_is_listed_as_a_model_with_its_reason(
    provider: Provider, open_service: Callable[..., ConsortiumService]
) -> None:
    service = open_service()
    service.store.consortiums.save.sync("panel", panel("a", arbiter="arbiter"))
    service.store.consortiums.save.sync("lame", panel("nobody-knows-this", arbiter="arbiter"))
    async with in_process("auto", service) as client:
        listed = structured(await client.call_tool("list_models", {}))

    problems = {one["model"]: one["problem"] for one in listed["models"]}
    assert problems["panel"] is None and problems["lame"].startswith("llm knows no model 'nobody-knows-this'.")


async def test_models_that_may_not_be_used_here_are_listed_as_such(
    provider: Provider, open_service: Callable[..., ConsortiumService]
) -> None:
    async with in_process("auto", open_service(allowed_models="b,arb*")) as client:
        listed = structured(await client.call_tool("list_models", {}))
        resource = json.loads(await read(client, "consortium://models"))

    problems = {one["model"]: one["problem"] for one in listed["models"]}
    assert [name for name, problem in problems.items() if problem is None] == ["b", "arbiter"]
    assert problems["a"] == "not allowed here; allowed: b, arb* (CONSORTIUM_ALLOWED_MODELS)."
    assert resource == listed


SAVE = ("save_consortium", {"name": "panel", "models": ["a"]})
REMOVE = ("remove_consortium", {"name": "panel"})


async def _announced(client: Client, wait: Callable[[], Awaitable[object]]) -> list[bool]:
    """Whether the saved name stands in tools/list after the announcement of its saving, and after its removal."""
    shown = []
    for tool, arguments in (SAVE, REMOVE):
        await client.call_tool(tool, arguments)
        await wait()
        shown.append("panel" in (await argument(client, "consult_consortium", "consortium"))["description"])
    return shown


async def test_a_client_of_2026_that_listens_hears_of_saved_and_removed_names(
    provider: Provider, service: ConsortiumService
) -> None:
    async with in_process("auto", service) as client, client.listen(tools_list_changed=True) as events:

        async def wait() -> None:
            assert isinstance(await anext(aiter(events)), ToolsListChanged)

        assert await _announced(client, wait) == [True, False]


async def test_a_client_of_2025_hears_of_saved_and_removed_names(
    provider: Provider, service: ConsortiumService
) -> None:
    send, heard = anyio.create_memory_object_stream[object](10)

    async def handle(message: object) -> None:
        if isinstance(message, ToolListChangedNotification):
            await send.send(message)

    with send, heard:
        async with in_process("legacy", service, message_handler=handle) as client:
            assert await _announced(client, heard.receive) == [True, False]
            assert client.server_capabilities.tools and client.server_capabilities.tools.list_changed


@pytest.fixture
def listed_first(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Models are looked up only once this is set."""
    listed, load = threading.Event(), catalogue.load_catalogue

    def load_later(settings: Settings) -> catalogue.Catalogue:
        listed.wait()
        return load(settings)

    monkeypatch.setattr(catalogue, "load_catalogue", load_later)
    yield listed
    listed.set()


async def test_a_list_that_came_before_the_models_were_known_is_announced_again(
    provider: Provider, service: ConsortiumService, listed_first: threading.Event
) -> None:
    in_no_time = in_process("auto", service, knows_models=False)
    async with in_no_time as client, client.listen(tools_list_changed=True) as events:
        before = (await argument(client, "consult_consortium", "models"))["description"]
        listed_first.set()
        await anext(aiter(events))
        after = (await argument(client, "consult_consortium", "models"))["description"]

    assert before.endswith("list_models lists them.") and "Usable: a, b" in after


@pytest.mark.parametrize("was_listed", [False, True])
async def test_models_that_become_known_are_announced_to_clients_that_saw_a_list_without_them(
    was_listed: bool, provider: Provider
) -> None:
    menu = SchemaChoices(list, Settings())
    if was_listed:
        await menu.choices()

    assert [await menu.look_up(), await menu.look_up()] == [was_listed, False]


async def test_an_unreadable_file_of_llm_removes_the_names_of_models_and_ends_nothing(
    provider: Provider, service: ConsortiumService, llm_home: Path, listed_first: threading.Event
) -> None:
    (llm_home / "default_model.txt").write_bytes(b"\xff")
    in_no_time = in_process("auto", service, knows_models=False)
    async with in_no_time as client, client.listen(tools_list_changed=True) as events:
        descriptions = [(await argument(client, "consult_consortium", "models"))["description"]]
        listed_first.set()
        await anext(aiter(events))
        descriptions.append((await argument(client, "consult_consortium", "models"))["description"])

    assert all(one.endswith("list_models lists them.") for one in descriptions)


async def test_an_announcement_that_fails_ends_no_run(
    provider: Provider,
    service: ConsortiumService,
    listed_first: threading.Event,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    failed = anyio.Event()

    async def fail(_: object, event: object) -> None:
        if isinstance(event, ToolsListChanged):  # what is said of the run itself may come in the meantime
            failed.set()
            raise RuntimeError("nobody reads")

    monkeypatch.setattr(Listeners, "publish", fail)
    in_no_time = in_process("auto", service, knows_models=False)
    async with in_no_time as client, client.listen(tools_list_changed=True):
        await client.list_tools()
        listed_first.set()
        with anyio.fail_after(30):
            await failed.wait()
        asked = {"prompt": "?", "models": ["a"], "arbiter": "arbiter", "wait_seconds": 60}
        answered = await client.call_tool("consult_consortium", asked)

    assert not answered.is_error and "could not be announced" in caplog.text


async def test_list_consortiums_says_what_a_consortium_can_be_made_of(service: ConsortiumService) -> None:
    async with in_process("auto", service) as client:
        listed = (await client.call_tool("list_consortiums", {})).structured_content or {}

    assert {"strategies", "judging_methods", "roles"} <= set(listed)
    assert {"name": "refine", "description": strategies()["refine"].description} in listed["strategies"]
    assert "skeptic" in [role["name"] for role in listed["roles"]]


async def test_what_results_hold_is_what_the_output_schemas_say(provider: Provider, service: ConsortiumService) -> None:
    async with in_process("auto", service) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        result = await client.call_tool("list_models", {})

    schema = tools["list_models"].output_schema or {}
    assert set(schema["properties"]) == set(result.structured_content or {})
    assert set(schema["properties"]["models"]["items"]["properties"]) == {
        *("model", "aliases", "plugin", "problem", "input_usd", "output_usd"),
    }


async def test_stop_on_and_check_order_are_saved(provider: Provider, service: ConsortiumService) -> None:
    async with in_process("auto", service) as client:
        rules = {"stop_on": "agreement", "check_order": False}
        await client.call_tool("save_consortium", {"name": "panel", "models": ["a"], **rules})

    saved = service.store.consortiums.load.sync("panel")
    assert (saved.stop_on, saved.check_order) == ("agreement", False)
