"""Every command with every odd input, as an argument or on stdin: one sentence, the right exit status, no traceback.

`pytest -q -s tests/doors/test_odd_input.py -k matrix` prints the table.
"""

import io
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import click
import pytest

from consortium_mcp.cli.groups import _COMMANDS
from tests.doors.test_every_output import COMMANDS as OUTPUT_LINES
from tests.doors.test_every_output import NAME
from tests.doors.test_every_output import run as run_with
from tests.provider import Provider, Request, verdict

HUGE = "x" * 300_000
"""More than a prompt may have."""

NOT_UTF_8 = os.fsdecode(b"caf\xff")
"""An argument as Python reads one that is not UTF-8."""

TEXTS: dict[str, str] = {
    "empty": "",
    "blank": " \n",
    "not UTF-8": NOT_UTF_8,
    "huge": HUGE,
    "NUL": "a\0b",
    "dashes": "---",
}
"""The texts that replace a name, a run or a prompt."""

TAKES_TEXT: dict[str, list[str]] = {
    "consult": ["consult", "-m", "a", "--arbiter", "arbiter", "--", "TEXT"],
    "consult --consortium": ["consult", "?", "--consortium=TEXT"],
    "consult --model": ["consult", "?", "--model=TEXT"],
    "consult --system": ["consult", "?", "-m", "a", "--arbiter", "arbiter", "--system=TEXT"],
    "save": ["save", "-m", "a", "--", "TEXT"],
    "show": ["show", "--", "TEXT"],
    "remove": ["remove", "--", "TEXT"],
    "runs --query": ["runs", "--query=TEXT"],
    "runs show": ["runs", "show", "--", "TEXT"],
    "runs resume": ["runs", "resume", "--", "TEXT"],
    "runs cancel": ["runs", "cancel", "--", "TEXT"],
    "runs rate": ["runs", "rate", "--correct", "--", "TEXT"],
    "runs replay": ["runs", "replay", "--", "TEXT"],
    "runs export": ["runs", "export", "--", "TEXT"],
    "models": ["models", "--", "TEXT"],
    "install": ["install", "cursor", "--print", "--name=TEXT"],
    "completion": ["completion", "--", "TEXT"],
    "serve": ["serve", "--transport=TEXT"],
    "web": ["web", "--port=TEXT"],
}
"""A line of each command that takes a text; TEXT stands for it."""

TAKES_NONE = ("list", "stats", "strategies", "local-model", "doctor", "demo", "uninstall", "setup")
"""Commands without a free text; their outputs have a test of their own."""


def said(line: list[str], stdin: Any = None) -> tuple[int, str, str]:
    """The exit status of a command in this process, and what it printed on stdout and stderr."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="surrogateescape") for _ in range(2)]
    status = run_with(line, streams[0], streams[1], stdin)
    texts = []
    for stream in streams:
        stream.flush()
        texts.append(click.unstyle(stream.buffer.getvalue().decode("utf-8", "replace")))
    return status, texts[0], texts[1]


def is_one_sentence(status: int, stderr: str) -> bool:
    """Whether a failure is one sentence on the last line, below the usage after wrong usage."""
    lines = stderr.strip().splitlines()
    above = lines[:-1]
    return lines[-1].startswith("Error: ") and len(lines[-1]) < 1_000 and (status == 2 or not above)


@pytest.fixture(autouse=True)
def home(provider: Provider, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Models that answer at once, and a home without clients."""
    monkeypatch.setenv("HOME", str(tmp_path))
    provider.on("a", lambda _: "Paris")
    provider.on("arbiter", lambda _: verdict("Paris"))


def test_every_command_has_its_line() -> None:
    assert {line[0] for line in TAKES_TEXT.values()} | set(TAKES_NONE) == set(_COMMANDS)


@pytest.mark.parametrize("kind", TEXTS)
def test_an_odd_text_is_taken_or_refused_with_one_sentence(kind: str) -> None:
    for name, line in TAKES_TEXT.items():
        status, stdout, stderr = said([word.replace("TEXT", TEXTS[kind]) for word in line])
        print(f"{name:<22} {kind:<10} {status}  {stderr.strip().splitlines()[-1:] if status else ''}"[:160])
        assert status in (0, 1, 2) and "Traceback" not in stdout + stderr, (name, stderr)
        assert status == 0 or is_one_sentence(status, stderr), (name, stderr[:2_000])


@pytest.mark.parametrize(
    ("piped", "status"),
    [(b"", 2), (b" \n", 2), (b"caf\xff", 0), (HUGE.encode(), 1), (b"\xef\xbb\xbfWhy?", 0), (None, 2)],
    ids=["empty", "blank", "not UTF-8", "huge", "mark", "closed"],
)
def test_what_is_piped_in_is_a_prompt_or_refused_with_one_sentence(piped: bytes | None, status: int) -> None:
    stdin = None if piped is None else io.TextIOWrapper(io.BytesIO(piped), encoding="utf-8", errors="surrogateescape")

    ended, stdout, stderr = said(["consult", "-m", "a", "--arbiter", "arbiter"], stdin)

    assert (ended, stdout) == (status, "Paris\n" if status == 0 else "")
    assert status == 0 or is_one_sentence(ended, stderr)


CONSULT = ["consult", "?", "-m", "a", "--arbiter", "arbiter"]


@pytest.mark.parametrize("line", [CONSULT, ["runs", "replay", "RUN"]], ids=["consult", "replay"])
def test_a_command_that_is_interrupted_exits_130_with_one_line(line: list[str], provider: Provider) -> None:
    said([*CONSULT, "--max-iterations", "1"])
    run_id = said(["runs", "--json"])[1].split('"run_id": "')[1].split('"')[0]

    def interrupt(_: Request) -> str:
        os.kill(os.getpid(), signal.SIGINT)
        return verdict("late")

    provider.on("arbiter", interrupt)

    status, _, stderr = said([run_id if word == "RUN" else word for word in line])

    assert status == 130 and stderr.startswith("Interrupted. The run is kept") and stderr.count("\n") == 1


OUTPUTS = ("closed", "full", "left")
"""What stdout can be instead of a reader: closed by the parent, a full disk, or a pipe whose reader has left."""


def odd_output(kind: str) -> Any:
    """A stdout of that kind."""
    if kind == "closed":
        return None
    if kind == "full":
        return open("/dev/full", "w")
    reading, writing = os.pipe()
    os.close(reading)
    return os.fdopen(writing, "w")


def matrix(run_id: str) -> Iterator[tuple[str, str, int, str]]:
    """Each command with each odd text and each odd output: command, kind, exit status, and what stderr says."""
    for name, line in TAKES_TEXT.items():
        for kind, text in TEXTS.items():
            status, _, stderr = said([word.replace("TEXT", text) for word in line])
            yield name, kind, status, stderr
    for lines in OUTPUT_LINES.values():
        for line in lines:
            for kind in OUTPUTS:
                stdout, stderr_stream = odd_output(kind), io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
                status = run_with([run_id if word == "RUN" else word for word in line], stdout, stderr_stream)
                with suppress(OSError):
                    if stdout is not None:
                        stdout.close()
                stderr_stream.flush()
                yield " ".join(line[:2]), kind, status, stderr_stream.buffer.getvalue().decode()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_the_matrix_of_commands_and_odd_inputs_has_no_traceback() -> None:
    run_with(["save", NAME, "-m", "a:2", "--arbiter", "arbiter"], None)
    run_with(["consult", "Why?", "--consortium", NAME], None)
    run_id = said(["runs", "--json"])[1].split('"run_id": "')[1].split('"')[0]
    wrong = []

    for name, kind, status, stderr in matrix(run_id):
        last = "".join(click.unstyle(stderr).strip().splitlines()[-1:])
        print(f"{name:<24} {kind:<10} {status}  {last[:110]}")
        if status not in (0, 1, 2) or "Traceback" in stderr or "Exception ignored" in stderr:
            wrong.append((name, kind, status, stderr[-500:]))

    assert wrong == []
