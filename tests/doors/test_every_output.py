"""Every command with every output: UTF-8 in any locale, and one sentence if the output cannot be written."""

import io
import sys
from pathlib import Path
from typing import Any

import pytest

from consortium_mcp.cli import main
from consortium_mcp.cli.groups import _COMMANDS
from tests.provider import Provider, verdict

NAME = "Rat-北京"
ANSWER = "Zażółć → 北京 🙂"

COMMANDS: dict[str, list[list[str]]] = {
    "serve": [["serve", "--transport", "stdio"]],  # stdin is closed, which it refuses
    "consult": [["consult", "Où? 北京", "--consortium", NAME], ["consult", "?", "-m", "a", "--dry-run"]],
    "save": [["save", NAME, "-m", "a:2", "--arbiter", "arbiter", "--system-prompt", ANSWER]],
    "list": [["list"], ["list", "--json"]],
    "show": [["show", NAME]],
    "remove": [["remove", f"{NAME}2"]],
    "runs": [["runs"], ["runs", "--json"], ["runs", "show", "RUN"], ["runs", "export", "RUN"]],
    "stats": [["stats"]],
    "web": [["web", "--help"]],
    "models": [["models"]],
    "strategies": [["strategies"]],
    "local-model": [["local-model", "status"]],
    "setup": [["setup", "-m", "a", "--name", f"{NAME}3"]],
    "install": [["install", "cursor", "--env", f"WHERE={NAME}", "--print"]],
    "uninstall": [["uninstall", "cursor"]],
    "doctor": [["doctor"]],
    "demo": [["demo", "--help"]],
    "completion": [["completion", "bash"]],
}
"""At least one line for each command; RUN stands for the run that was made before."""

LINES = [line for lines in COMMANDS.values() for line in lines]

ASCII_ONLY = {"--json", "--dry-run"}
"""Words of lines that print no other letters."""

ENCODINGS = ("cp1252", "latin-1", "ascii")


@pytest.fixture
def run_id(provider: Provider, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A consortium and a run with letters that no small encoding has."""
    monkeypatch.setenv("HOME", str(tmp_path))
    provider.on("a", lambda _: ANSWER)
    provider.on("arbiter", lambda _: verdict(ANSWER))
    printed(["save", NAME, "-m", "a:2", "--arbiter", "arbiter"])
    printed(["consult", ANSWER, "--consortium", NAME])
    return printed(["runs", "--json"]).split('"run_id": "')[1].split('"')[0]


class Terminal(io.TextIOWrapper):
    """A stream that a person reads."""

    def isatty(self) -> bool:
        """Yes."""
        return True


def with_run(line: list[str], run_id: str) -> list[str]:
    """A line of COMMANDS about a run that there is."""
    return [run_id if word == "RUN" else word for word in line]


def run(line: list[str], stdout: Any, stderr: Any = None, stdin: Any = None) -> int:
    """Run a command in this process with these streams; its exit status."""
    before = sys.stdin, sys.stdout, sys.stderr
    sys.stdin, sys.stdout, sys.stderr = stdin, stdout, stderr
    try:
        main(line, prog_name="consortium-mcp")
    except SystemExit as ending:
        return int(ending.code or 0)
    finally:
        sys.stdin, sys.stdout, sys.stderr = before
    raise AssertionError("it did not end")


def printed(line: list[str], encoding: str = "utf-8") -> str:
    """What a command prints to a pipe of this encoding, read as UTF-8."""
    stdout, stderr = (io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2))
    run(line, stdout, stderr)
    parts = []
    for stream in (stdout, stderr):
        stream.flush()
        parts.append(stream.buffer.getvalue().decode())
    return "".join(parts)


def test_every_command_has_a_line() -> None:
    assert list(COMMANDS) == list(_COMMANDS)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_pipe_gets_utf_8_whatever_the_locale(encoding: str, run_id: str) -> None:
    for line in LINES:
        text = printed(with_run(line, run_id), encoding)
        assert (
            "北京" in text
            or line[0] not in ("show", "save", "setup", "install", "consult", "runs")
            or set(line) & ASCII_ONLY
        )


def test_a_terminal_gets_what_its_locale_has(run_id: str) -> None:
    terminal = Terminal(io.BytesIO(), encoding="latin-1")

    assert run(["show", NAME], terminal) == 0
    terminal.flush()
    assert b"Rat-??" in terminal.buffer.getvalue()  # type: ignore[attr-defined]


def test_words_that_the_locale_cannot_read_are_read_as_utf_8(run_id: str) -> None:
    undecoded = NAME.encode().decode("ascii", "surrogateescape")  # as Python has them in the C locale (PEP 383)

    assert NAME in printed(["show", undecoded])
    assert "No consortium named" in printed(["show", "Rat-\udcff\ud800"])


def test_an_output_that_is_closed_ends_no_command_with_a_traceback(run_id: str) -> None:
    for line in LINES:
        assert run(with_run(line, run_id), None) in (0, 1), line


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_an_output_that_is_full_ends_no_command_with_a_traceback(run_id: str) -> None:
    for line in LINES:
        with open("/dev/full", "w") as full:
            assert run(with_run(line, run_id), full) in (0, 1), line
