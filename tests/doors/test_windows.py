"""On a system like Windows, simulated by tests/windows.py: commands work, servers serve and end."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from mcp import Client, StdioServerParameters, stdio_client

from tests.provider import Provider, verdict
from tests.server_process import structured
from tests.windows import MODULES

COMMAND = [sys.executable, "-m", "tests.windows"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own, as Windows names it too."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("APPDATA", str(tmp_path / "AppData" / "Roaming"))
    return tmp_path


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """`consortium-mcp …` there."""
    return subprocess.run([*COMMAND, *words], capture_output=True, text=True, input="", timeout=60)


def test_what_windows_does_not_have_is_gone_in_the_simulation() -> None:
    code = (
        "import sys, signal, tests.windows as there; there.become_windows(); import consortium_mcp.server.network.http"
    )
    code += "; print([sys.modules[name] for name in there.MODULES], sys.platform, hasattr(signal, 'SIGHUP'))"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)

    assert done.stdout == f"{[None] * len(MODULES)} win32 False\n", done.stderr


def test_a_first_consult_works_from_setup_to_the_transcript(provider: Provider, home: Path) -> None:
    provider.on("arbiter", ["ok", verdict("Paris.")])

    for words in (
        ("setup", "-m", "a", "-m", "b", "--arbiter", "arbiter", "--client", "claude-desktop"),
        ("consult", "Capital of France?"),
        ("runs",),
        ("doctor",),
        ("uninstall", "claude-desktop"),
    ):
        done = run(*words)
        assert done.returncode == 0 and "Traceback" not in done.stderr, (words, done.stderr)
        if words[0] == "setup":
            assert (home / "AppData" / "Roaming" / "Claude" / "claude_desktop_config.json").exists()


def test_a_unix_socket_is_refused_with_what_to_use() -> None:
    done = run("serve", "--transport", "http", "--uds", "consortium.sock")

    assert done.returncode == 1
    assert done.stderr == ("Error: --uds needs Unix sockets, which this system does not have. Use --host and --port.\n")


def test_a_server_on_stdio_answers_a_client(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:

    provider.on("arbiter", verdict("Paris."))

    async def ask() -> str:
        server = StdioServerParameters(command=COMMAND[0], args=[*COMMAND[1:], "serve"], env=dict(os.environ))
        async with Client(stdio_client(server)) as client:
            arguments = {"prompt": "Capital of France?", "models": ["a", "b"], "arbiter": "arbiter"}
            return str(structured(await client.call_tool("consult_consortium", arguments))["answer"])

    assert anyio.run(ask) == "Paris."


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM], ids=lambda one: one.name)
def test_a_server_over_http_ends_by_ctrl_c_without_a_traceback(provider: Provider, sent: signal.Signals) -> None:
    serving = [*COMMAND, "serve", "--transport", "http", "--port", "0"]
    server = subprocess.Popen(serving, stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    first = server.stderr.readline()

    server.send_signal(sent)
    _, rest = server.communicate(timeout=30)

    assert first.startswith("Serving on http://127.0.0.1:") and "Traceback" not in rest, rest
