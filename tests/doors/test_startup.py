"""The work of the process before, between and after the protocol's messages."""

import os
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from consortium_mcp.service.service import ConsortiumService
from tests.plugins import install_plugin
from tests.provider import Provider, verdict
from tests.scripted import panel
from tests.server_process import StdioServer, connected, said, structured

pytestmark = pytest.mark.usefixtures("cold_start")

NOISY_PLUGIN = """
import ctypes, llm, sys
libc = ctypes.CDLL(None)
def noise(when):
    print("python says", when)
    sys.stdout.write("{not json\\n"); sys.stdout.flush()
    libc.puts(b"C says so too"); libc.fflush(None)
noise("at import")
class Noisy(llm.Model):
    model_id = "noisy"
    def execute(self, prompt, stream, response, conversation):
        noise("during a call")
        yield "quiet answer"
@llm.hookimpl
def register_models(register):
    noise("when asked for models")
    register(Noisy())
"""

HELD = {
    *("llm", "openai", "genai_prices", "sqlite_utils", "babel", "jwt", "h11", "packaging"),
    *(
        "tomlkit",
        "platformdirs",
        "ulid",
        "xllamacpp",
        "consortium_mcp.records.run",
        "consortium_mcp.records.consortium",
    ),
    *("consortium_mcp.engine.loop", "consortium_mcp.service.service", "consortium_mcp.server.app"),
    *("consortium_mcp.server.tools", "consortium_mcp.server.network.http"),
}
"""Modules that no first answer needs, and that the SDK does not import itself (as uvicorn, starlette, httpx2, rich)."""

GATE = """
import importlib.abc, sys, time, os
class Gate(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name in os.environ["HELD"].split():
            while not os.path.exists(os.environ["GATE"]):
                time.sleep(0.01)
        return None
sys.meta_path.insert(0, Gate())
"""
"""An import of one of them waits until a file exists."""


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_plugin_that_prints_from_python_and_c_does_not_break_the_protocol(
    mode: str, provider: Provider, plugin_folder: Path, tmp_path: Path
) -> None:
    install_plugin(plugin_folder, "noisy_plugin", NOISY_PLUGIN)
    provider.on("arbiter", verdict("heard"))

    async with connected(mode, tmp_path / "stderr") as client:
        arguments = {"prompt": "?", "models": ["noisy:2"], "arbiter": "arbiter"}
        result = structured(await client.call_tool("consult_consortium", arguments))

    assert result["answer"] == "heard" and [one["error_kind"] for one in result["responses"]] == [None, None]
    assert "C says so too" in (tmp_path / "stderr").read_text()


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_first_answers_wait_for_no_import_that_they_do_not_need_and_the_others_do(
    mode: str, plugin_folder: Path, service: ConsortiumService, tmp_path: Path
) -> None:
    service.store.consortiums.save.sync("panel", panel("a"))
    (plugin_folder / "sitecustomize.py").write_text(GATE)
    gate = tmp_path / "gate"

    with anyio.fail_after(60):
        async with connected(mode, tmp_path / "stderr", GATE=str(gate), HELD=" ".join(HELD)) as client:
            tools = (await client.list_tools()).tools
            gate.touch()
            saved = structured(await client.call_tool("list_consortiums", {}))["consortiums"]

    assert "Saved: panel." in str(tools[0].input_schema)
    assert [one["name"] for one in saved] == ["panel"]


def test_the_sdk_alone_imports_nothing_of_what_no_first_answer_needs() -> None:
    code = "import sys; from mcp.server import MCPServer; MCPServer('bare'); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert HELD & set(loaded) == set()


def test_a_client_of_2025_hears_when_the_models_are_known_and_not_again_when_they_have_not_changed(
    provider: Provider, tmp_path: Path
) -> None:
    with StdioServer(tmp_path / "stderr") as server:
        before = server.answer(server.request("tools/list"))
        server.wait_for("notifications/tools/list_changed")
        after = server.answer(server.request("tools/list"))
        server.answer(server.call("list_models"))
        heard = server.heard

    assert "Usable: a, b" not in str(before) and "Usable: a, b" in str(after)
    assert heard.count("notifications/tools/list_changed") == 1


async def test_a_client_of_2026_hears_when_the_models_are_known(provider: Provider, tmp_path: Path) -> None:
    async with connected("auto", tmp_path / "stderr") as client, client.listen(tools_list_changed=True) as events:
        before = (await client.list_tools(cache_mode="refresh")).tools
        await anext(aiter(events))
        after = (await client.list_tools(cache_mode="refresh")).tools

    assert "Usable: a, b" not in str(before[0]) and "Usable: a, b" in str(after[0])


def test_a_tool_can_be_called_before_anything_was_listed(provider: Provider, tmp_path: Path) -> None:
    provider.on("arbiter", verdict("at once"))
    with StdioServer(tmp_path / "stderr") as server:
        answer = server.answer(server.call("consult_consortium", prompt="?", models=["a"], arbiter="arbiter"))

    assert answer["structuredContent"]["answer"] == "at once"


def test_a_database_that_breaks_after_the_first_answer_is_an_error_that_says_so(tmp_path: Path) -> None:
    database = tmp_path / "broken.db"
    with StdioServer(tmp_path / "stderr", CONSORTIUM_DATABASE=str(database)) as server:
        for file in tmp_path.glob("broken.db*"):
            file.unlink()
        database.mkdir()
        refused = server.answer(server.call("list_runs"))

    (block,) = refused["content"]
    assert refused["isError"] and "broken.db" in block["text"] and "CONSORTIUM_DATABASE" in block["text"]


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_with_nothing_to_ask_the_tool_names_the_ways_to_a_model(mode: str, tmp_path: Path) -> None:
    async with connected(mode, tmp_path / "stderr", XDG_CACHE_HOME=str(tmp_path / "no-weights")) as client:
        result = await client.call_tool("consult_consortium", {"prompt": "?"})

    assert result.is_error
    for way in ("'default'", "llm keys set", "local-model fetch"):
        assert way in said(result)


def test_a_database_that_cannot_be_opened_is_one_sentence_on_stderr(tmp_path: Path) -> None:
    (tmp_path / "broken.db").write_bytes(b"this is no database, whatever its name says" * 100)

    done = subprocess.run(
        [sys.executable, "-m", "consortium_mcp"],
        capture_output=True,
        text=True,
        timeout=30,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "CONSORTIUM_DATABASE": str(tmp_path / "broken.db")},
    )

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "broken.db" in done.stderr and "move it away" in done.stderr


COLLECTED = """
import gc, sys
import anyio
from consortium_mcp._util.event_loop import run
from consortium_mcp.service.service import ConsortiumService
from tests.in_process import in_process

async def main():
    with ConsortiumService() as service:
        async with in_process("auto", service, knows_models=False) as client:
            await client.list_tools()
            with anyio.fail_after(60):
                while not gc.get_freeze_count():
                    await anyio.sleep(0.01)
            print(gc.get_freeze_count(), len(gc.get_objects()), gc.get_threshold()[0])

run(main)
"""


def test_a_servers_collections_leave_out_what_it_has_loaded(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", COLLECTED], capture_output=True, text=True, check=True)
    left_out, gone_through, new_ones = map(int, done.stdout.split())

    assert left_out > 100_000 > 10 * gone_through
    assert new_ones <= 5_000  # a collection of 50,000 objects held the event loop for 50 ms
