"""The server through a connected client of either protocol era, over a real stdio subprocess."""

import asyncio
import json
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError

from consortium_mcp.models.catalogue import ModelEntry
from consortium_mcp.service.service import ConsortiumService
from consortium_mcp.store.database import DatabaseFile
from tests.in_process import in_process
from tests.provider import Fault, Provider, verdict
from tests.server_process import connected, read, said, structured


@pytest.fixture(params=["auto", "legacy"])
async def client(request: pytest.FixtureRequest, provider: Provider, tmp_path: Path) -> AsyncIterator[Client]:
    """A connected client; the models behind its server are the provider's."""
    provider.on("arbiter", verdict("Paris", confidence=0.9, dissent="one said Lyon"))
    async with connected(request.param, tmp_path / "stderr") as client:
        yield client


async def test_without_a_command_it_serves_on_stdio_whatever_the_environment_says(tmp_path: Path) -> None:
    with anyio.fail_after(30):
        async with connected("auto", tmp_path / "stderr", CONSORTIUM_TRANSPORT="http", CONSORTIUM_PORT="0") as client:
            assert (await client.list_tools()).tools


async def test_a_client_saves_lists_consults_reads_and_removes(client: Client) -> None:
    await client.call_tool("save_consortium", {"name": "panel", "models": ["a:2", "b"], "arbiter": "arbiter"})
    listed = structured(await client.call_tool("list_consortiums", {}))
    result = structured(
        await client.call_tool("consult_consortium", {"prompt": "Capital of France?", "consortium": "panel"})
    )
    record = json.loads(await read(client, result["run_uri"]))
    transcript = await read(client, result["transcript_uri"])
    await client.call_tool("remove_consortium", {"name": "panel"})
    after = structured(await client.call_tool("list_consortiums", {}))

    assert [one["name"] for one in listed["consortiums"]] == ["panel"]
    assert (result["answer"], result["confidence"], result["dissent"]) == ("Paris", 0.9, "one said Lyon")
    assert record["run_id"] == result["run_id"] and len(record["iterations"][0]["responses"]) == 3
    assert "### a#2" in transcript and "Capital of France?" in transcript
    assert after["consortiums"] == []


async def test_progress_increases_strictly_and_says_who_is_waited_for(client: Client, provider: Provider) -> None:
    gate = provider.gate("b")
    reports: list[tuple[float, str | None]] = []

    async def report(progress: float, total: float | None, message: str | None) -> None:
        reports.append((progress, message))
        if message == "2 of 3 responses; waiting for b#1":
            gate.open()

    await client.call_tool(
        "consult_consortium",
        {"prompt": "?", "models": ["a:2", "b"], "arbiter": "arbiter"},
        progress_callback=report,
    )

    values = [value for value, _ in reports]
    assert values == sorted(set(values))
    assert "2 of 3 responses; waiting for b#1" in [message for _, message in reports]


async def test_a_mistyped_argument_is_refused_with_a_suggestion(client: Client) -> None:
    result = await client.call_tool("consult_consortium", {"prompt": "?", "modells": ["a"]})

    assert result.is_error
    assert "no argument 'modells'. Did you mean 'models'?" in said(result)


@pytest.mark.parametrize(
    ("argument", "value"),
    [("max_calls", 10**30), ("max_cost_usd", 1e300), ("deadline_seconds", 86_401)],
)
async def test_a_limit_out_of_its_range_is_one_sentence_before_any_call(
    client: Client, provider: Provider, argument: str, value: float
) -> None:
    result = await client.call_tool("consult_consortium", {"prompt": "?", "models": ["a"], argument: value})

    assert result.is_error and said(result).startswith(f"consult_consortium: the argument '{argument}' is ")
    assert provider.count() == 0


async def test_an_unknown_model_is_one_sentence_before_any_call(client: Client, provider: Provider) -> None:
    result = await client.call_tool("consult_consortium", {"prompt": "?", "models": ["a", "arbitr"]})

    assert said(result).startswith("llm knows no model 'arbitr'. Did you mean 'arbiter'")
    assert provider.count() == 0


async def test_a_call_that_waits_too_long_returns_the_run_and_get_run_its_answer(
    client: Client, provider: Provider
) -> None:
    gate = provider.gate("a")
    arguments = {"prompt": "?", "models": ["a"], "arbiter": "arbiter", "wait_seconds": 0}
    running = await client.call_tool("consult_consortium", arguments)
    gate.open()
    run_id = structured(running)["run_id"]
    finished = await client.call_tool("get_run", {"run_id": run_id, "wait_seconds": 60})

    assert structured(running)["status"] == "running" and f'run_id="{run_id}"' in said(running)
    assert structured(finished)["answer"] == "Paris"


async def test_two_consults_at_once_share_nothing(client: Client, provider: Provider) -> None:
    provider.on("arbiter", lambda request: verdict("about cats" if "CATS" in request.prompt else "about dogs"))
    gate = provider.gate("a", "b")
    answers: dict[str, str] = {}

    async def consult(topic: str, model: str) -> None:
        arguments = {"prompt": f"Tell me of {topic}", "models": [model], "arbiter": "arbiter"}
        answers[topic] = structured(await client.call_tool("consult_consortium", arguments))["answer"]

    async with anyio.create_task_group() as group:
        group.start_soon(consult, "CATS", "a")
        group.start_soon(consult, "DOGS", "b")
        await gate.wait_for_async(2)
        gate.open()

    assert answers == {"CATS": "about cats", "DOGS": "about dogs"}
    assert all(("CATS" in request.prompt) != ("DOGS" in request.prompt) for request in provider.requests_to("arbiter"))


async def test_B5_a_second_consult_sees_nothing_of_the_first(client: Client, provider: Provider) -> None:
    arguments = {"models": ["a"], "arbiter": "arbiter"}
    await client.call_tool("consult_consortium", {"prompt": "about elephants", **arguments})
    await client.call_tool("consult_consortium", {"prompt": "about ants", **arguments})

    assert "elephants" not in provider.requests_to("arbiter")[-1].prompt


async def test_B8_a_run_without_any_response_is_an_error_with_each_reason(client: Client, provider: Provider) -> None:
    provider.on("a", Fault.wrong_key())
    result = await client.call_tool("consult_consortium", {"prompt": "?", "models": ["a"], "arbiter": "arbiter"})

    assert result.is_error and "a#1: auth" in said(result)
    assert provider.count("arbiter") == 0


async def test_a_partial_answer_says_so_first(client: Client, provider: Provider) -> None:
    provider.on("b", Fault.wrong_key())
    result = await client.call_tool("consult_consortium", {"prompt": "?", "models": ["a", "b"], "arbiter": "arbiter"})

    assert said(result).startswith("Incomplete: 1 of 2 instances gave no response (b#1: auth")


async def test_saving_over_a_name_needs_overwrite(client: Client) -> None:
    await client.call_tool("save_consortium", {"name": "panel", "models": ["a"]})
    refused = await client.call_tool("save_consortium", {"name": "panel", "models": ["b"]})
    replaced = await client.call_tool("save_consortium", {"name": "panel", "models": ["b"], "overwrite": True})

    assert refused.is_error and "overwrite" in said(refused)
    assert structured(replaced)["definition"]["members"][0]["model"] == "b"


async def test_B22_a_consortium_inside_itself_is_refused(client: Client) -> None:
    await client.call_tool("save_consortium", {"name": "inner", "models": ["a"]})
    await client.call_tool("save_consortium", {"name": "outer", "models": ["inner"]})
    result = await client.call_tool("save_consortium", {"name": "inner", "models": ["outer"], "overwrite": True})

    assert "inner → outer → inner" in said(result)


async def test_a_consortium_can_be_a_member_of_another(client: Client, provider: Provider) -> None:
    await client.call_tool("save_consortium", {"name": "inner", "models": ["a:2"], "arbiter": "arbiter"})
    result = structured(
        await client.call_tool(
            "consult_consortium", {"prompt": "?", "models": ["inner", "b"], "arbiter": "arbiter", "max_iterations": 1}
        )
    )

    assert [one["error_kind"] for one in result["responses"]] == [None, None]
    assert provider.count("a") == 2 and provider.count("arbiter") == 2


async def test_every_tool_has_a_title_all_hints_and_an_output_schema(client: Client) -> None:
    tools = (await client.list_tools()).tools

    for tool in tools:
        hints = tool.annotations
        assert tool.title and tool.description and tool.output_schema and hints and hints.title
        given = (hints.read_only_hint, hints.destructive_hint, hints.idempotent_hint, hints.open_world_hint)
        assert None not in given
        assert tool.input_schema["additionalProperties"] is False


async def test_the_newest_runs_and_their_templates_are_resources(client: Client) -> None:
    await client.call_tool("consult_consortium", {"prompt": "?", "models": ["a"], "arbiter": "arbiter"})
    runs = json.loads(await read(client, "consortium://runs"))
    templates = [one.uri_template for one in (await client.list_resource_templates()).resource_templates]

    assert [run["status"] for run in runs] == ["converged"]
    assert "consortium://runs/{run_id}/transcript.md" in templates


async def test_an_unknown_run_is_a_clear_error(client: Client) -> None:
    result = await client.call_tool("get_run", {"run_id": "nope"})

    with pytest.raises(MCPError, match="No run 'nope'"):
        await client.read_resource("consortium://runs/nope")
    assert result.is_error and "No run 'nope'" in said(result)


async def test_a_list_given_as_a_json_string_is_read_as_a_list(client: Client) -> None:
    arguments = {"prompt": "?", "models": '["a", "b"]', "arbiter": "arbiter"}
    result = structured(await client.call_tool("consult_consortium", arguments))

    assert [one["label"] for one in result["responses"]] == ["a#1", "b#1"]


async def test_nothing_is_read_on_the_event_loop(
    provider: Provider, service: ConsortiumService, monkeypatch: pytest.MonkeyPatch
) -> None:
    held_up: list[str] = []

    def watched(read: Callable[..., Any]) -> Callable[..., Any]:
        def watch(*arguments: Any, **named: Any) -> Any:
            with suppress(RuntimeError):  # no loop runs in this thread
                asyncio.get_running_loop()
                held_up.append("".join(traceback.format_stack(limit=6)))
            return read(*arguments, **named)

        return watch

    monkeypatch.setattr(DatabaseFile, "read", watched(DatabaseFile.read))
    monkeypatch.setattr(ModelEntry, "problem", watched(ModelEntry.problem))
    provider.on("arbiter", verdict(confidence=0.1))

    async with in_process("auto", service) as client:
        asked = {"prompt": "?", "models": ["a"], "arbiter": "arbiter", "max_iterations": 2, "max_calls": 9}
        result = structured(await client.call_tool("consult_consortium", asked))
        await client.call_tool("list_models", {})

    assert result["iterations"] == 2 and held_up == []
