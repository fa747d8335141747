"""What the process does before, between and after the protocol's messages."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.plugins import install_plugin
from tests.provider import Provider, verdict
from tests.server_process import connected, said, structured

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

SLOW_LLM = """
import importlib.abc, sys, time, os
class Gate(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "llm":
            while not os.path.exists(os.environ["GATE"]):
                time.sleep(0.01)
        return None
sys.meta_path.insert(0, Gate())
"""


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


async def test_the_first_answers_do_not_wait_for_llm(plugin_folder: Path, tmp_path: Path) -> None:
    (plugin_folder / "sitecustomize.py").write_text(SLOW_LLM)
    gate = tmp_path / "gate"

    async with connected("legacy", tmp_path / "stderr", GATE=str(gate)) as client:
        tools = (await client.list_tools()).tools
        gate.touch()

    assert len(tools) > 5


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_with_nothing_to_ask_the_tool_names_the_four_ways_to_a_model(mode: str, tmp_path: Path) -> None:
    async with connected(mode, tmp_path / "stderr", XDG_CACHE_HOME=str(tmp_path / "no-weights")) as client:
        result = await client.call_tool("consult_consortium", {"prompt": "?"})

    assert result.is_error
    for way in ("CONSORTIUM_DEFAULT", "'default'", "llm keys set", "local-model fetch"):
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
