"""The same mistake at every door: each error names the next step in the door's own terms."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from click.testing import CliRunner
from mcp_types import CallToolResult

from consortium_mcp import ConsortiumError, consult_sync, load_run
from consortium_mcp.cli.groups import main
from consortium_mcp.service.service import ConsortiumService
from tests.in_process import in_process
from tests.provider import Fault, Provider
from tests.server_process import said

CONSULTS: Mapping[str, tuple[dict[str, Any], list[str], tuple[str, str, str]]] = {
    "an unknown consortium": (
        {"consortium": "panl"},
        ["--consortium", "panl"],
        ("Call list_consortiums", "`consortium-mcp list`", "give models"),
    ),
    "an unknown model": (
        {"models": ["gpt-99"]},
        ["-m", "gpt-99"],
        ("Call list_models", "`consortium-mcp models`", "llm.get_models()"),
    ),
    "the client's model, where there is none": (
        {"models": ["client"]},
        ["-m", "client"],
        ("Call list_models", "`consortium-mcp models`", "llm.get_models()"),
    ),
    "no default": (
        {},
        [],
        ("save_consortium", "`consortium-mcp save default", "Give models"),
    ),
    "a damaged consortium": (
        {"consortium": "bad"},
        ["--consortium", "bad"],
        ("remove_consortium", "`consortium-mcp remove`", "save it again"),
    ),
    "an unknown run": (
        {"follow_up_to": "01nothing"},
        ["--follow-up-to", "01nothing"],
        ("Call list_runs", "`consortium-mcp runs`", "list_runs()"),
    ),
    "every model fails": (
        {"models": ["a"], "arbiter": "arbiter"},
        ["-m", "a", "--arbiter", "arbiter"],
        ("Call get_run", "`consortium-mcp runs show", "load_run("),
    ),
}


@pytest.fixture(autouse=True)
def _no_model_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_MODEL", "gpt-4o-mini")
    monkeypatch.setenv("CONSORTIUM_LOCAL_MODEL", "/not/there.gguf")


@pytest.mark.parametrize("mistake", CONSULTS)
def test_a_refused_consult_says_at_each_door_what_to_do_there(
    mistake: str, provider: Provider, service: ConsortiumService, path: Path
) -> None:
    provider.on("a", Fault.wrong_key())
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("INSERT INTO consortium_configs (name, config, created_at) VALUES ('bad', '{', '')")
    asked, typed, (by_tool, by_command, by_python) = CONSULTS[mistake]

    async def call_tool() -> CallToolResult:
        async with in_process("auto", service) as client:
            return await client.call_tool("consult_consortium", {"prompt": "Why?", **asked})

    refused = anyio.run(call_tool)
    typed_in = CliRunner().invoke(main, ["consult", "Why?", *typed])
    with pytest.raises(ConsortiumError) as raised:
        consult_sync("Why?", **asked)

    assert refused.is_error and by_tool in said(refused)
    assert typed_in.exit_code == 1 and by_command in typed_in.stderr
    assert by_python in str(raised.value)


async def test_an_unknown_run_is_refused_in_the_words_of_its_door(service: ConsortiumService) -> None:
    async with in_process("auto", service) as client:
        refused = [await client.call_tool(tool, {"run_id": "01nothing"}) for tool in ("get_run", "cancel_run")]
    with pytest.raises(ConsortiumError) as raised:
        await anyio.to_thread.run_sync(load_run, "01nothing")

    assert all("Call list_runs to see more." in said(one) for one in refused)
    assert "list_runs() lists more." in str(raised.value)
    shown = await anyio.to_thread.run_sync(lambda: CliRunner().invoke(main, ["runs", "show", "01nothing"]).stderr)
    assert "`consortium-mcp runs` lists more." in shown


async def test_a_command_in_a_tools_error_is_said_to_be_the_users(service: ConsortiumService) -> None:
    async with in_process("auto", service) as client:
        refused = await client.call_tool("consult_consortium", {"prompt": "Why?"})

    assert refused.is_error and said(refused).endswith("Commands are for the user to run.")
