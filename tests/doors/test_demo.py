"""The real embedded model behind the real server, as a new user first sees it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from consortium_mcp.cli import main
from tests.paths import ROOT
from tests.server_process import connected, structured

CONFIG = ROOT / "claude_desktop_config.example.json"


@pytest.mark.parametrize("transport", ["", "http"])
def test_the_demo_shows_answer_confidence_dissent_times_and_the_run(
    local_weights: Path, monkeypatch: pytest.MonkeyPatch, transport: str
) -> None:
    monkeypatch.setenv("CONSORTIUM_TRANSPORT", transport)
    monkeypatch.setenv("CONSORTIUM_PORT", "0")

    done = subprocess.run(
        [sys.executable, "-m", "consortium_mcp", "demo"],
        capture_output=True,
        text=True,
        timeout=100,
        env=dict(os.environ),
    )

    assert done.returncode == 0, done.stderr
    for part in ("Answer:", "Confidence:", "Dissent:", "consortium-local#3: ok", "consortium://runs/"):
        assert part in done.stdout


def test_a_demo_whose_database_is_damaged_says_so(
    local_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.db").write_bytes(b"no database" * 500)
    monkeypatch.setenv("CONSORTIUM_DATABASE", str(tmp_path / "broken.db"))

    done = subprocess.run([sys.executable, "-m", "consortium_mcp", "demo"], capture_output=True, text=True, timeout=60)

    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "broken.db" in done.stderr and done.stderr.endswith("name another one with CONSORTIUM_DATABASE.\n")


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_without_a_key_the_local_model_is_the_default_consortium(
    mode: str, local_weights: Path, tmp_path: Path
) -> None:
    async with connected(mode, tmp_path / "stderr") as client:
        arguments: dict[str, Any] = {
            "prompt": "What is the capital of France?",
            "max_iterations": 1,
            "wait_seconds": 100,
        }
        result = structured(await client.call_tool("consult_consortium", arguments))

    assert [one["label"] for one in result["responses"]] == [f"consortium-local#{n}" for n in (1, 2, 3)]
    assert result["answer"] and (result["confidence"] is not None or result["degraded"])


async def test_the_example_configuration_for_claude_desktop_starts_the_server(tmp_path: Path) -> None:
    entry = json.loads(CONFIG.read_text())["mcpServers"]["consortium"]
    # uvx would fetch the published package; what it then runs has the package's name, here from this checkout.
    assert (entry["command"], entry["args"]) == ("uvx", ["consortium-mcp"])
    command = Path(sys.executable).with_name("consortium-mcp")
    assert command.exists()

    async with connected("auto", tmp_path / "stderr", command=str(command), **entry.get("env", {})) as client:
        assert "consult_consortium" in [tool.name for tool in (await client.list_tools()).tools]


def test_without_llama_the_demo_fetches_nothing_and_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    done = CliRunner().invoke(main, ["demo"])

    assert done.exit_code == 1 and done.stderr.startswith("Error: The embedded model needs llama.cpp: `")
    assert done.stderr.endswith("'consortium-mcp[local]'` installs it.\n") and not (tmp_path / "cache").exists()
