"""Commands in ready processes behave as in cold ones, so that tests see the same as users."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.plugins import install_plugin
from tests.provider import Provider, verdict
from tests.ready import python

ECHO = """
import os, sys
print(sys.argv, __name__, os.getcwd(), sys.stdin.read())
print(sorted(name for name in os.environ if not name.startswith("_")))
print("to stderr", file=sys.stderr)
sys.exit({status})
"""

SAYS_PID = """
import os, sys
print(os.getpid(), flush=True)
sys.stdin.read()
"""


def ran(line: list[str], folder: Path) -> tuple[int, str, str]:
    """A command's exit status, stdout and stderr."""
    done = subprocess.run(line, input="typed", capture_output=True, text=True, timeout=60, cwd=folder)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("status", ["0", "3", "None", "'a last word'"])
def test_arguments_environment_folder_files_and_status_are_those_of_a_cold_start(
    status: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "echo.py").write_text(ECHO.format(status=status))
    monkeypatch.setenv("CONSORTIUM_MODELS", "a,b")
    line = ["-m", "echo", "one", "--two"]

    assert ran(python(*line), tmp_path) == ran([sys.executable, *line], tmp_path)


@pytest.mark.parametrize(
    "line", [["-m", "consortium_mcp", "no-such"], ["-m", "llm", "--help"], ["-c", "print(7)"], ["-m", "consortium_mcp"]]
)
def test_a_command_says_what_it_says_from_a_cold_start(line: list[str], tmp_path: Path) -> None:
    assert ran(python(*line), tmp_path) == ran([sys.executable, *line], tmp_path)


def test_a_plugin_on_the_path_is_loaded(plugin_folder: Path, provider: Provider, tmp_path: Path) -> None:
    install_plugin(plugin_folder, "some_plugin", "import llm\n")

    status, out, _ = ran(python("-m", "llm", "plugins"), tmp_path)

    assert status == 0 and "some-plugin" in out


def test_what_a_command_wrote_is_there_when_it_has_ended(provider: Provider, tmp_path: Path) -> None:
    provider.on("arbiter", verdict("Paris"))

    done = ran(
        python("-m", "consortium_mcp", "consult", "?", "-m", "a", "--arbiter", "arbiter", "--output", "x"), tmp_path
    )

    assert done[0] == 0 and "Paris" in (tmp_path / "x").read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_that_ends_the_launcher_ends_the_process(number: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "says_pid.py").write_text(SAYS_PID)
    pipe = subprocess.PIPE
    with subprocess.Popen(python("-m", "says_pid"), stdin=pipe, stdout=pipe, text=True, cwd=tmp_path) as process:
        assert process.stdout is not None
        assert int(process.stdout.readline()) != process.pid
        process.send_signal(number)
        rest = process.stdout.read()  # it ends with the process

    assert (process.returncode, rest) == (-number, "")
