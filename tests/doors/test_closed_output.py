"""A reader that leaves and a full disk: a command ends with its output, and paid responses are kept."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from consortium_mcp.service.service import ConsortiumService
from tests.doors.test_plugin import save
from tests.provider import Fault, Provider, Reply, verdict
from tests.ready import python

CONSULT = ("consortium_mcp", "consult", "--consortium", "panel", "?")
LLM = ("llm", "-m", "panel", "-o", "max_iterations", "1", "?")

by_command = pytest.mark.parametrize("command", [CONSULT, LLM], ids=["consult", "llm"])

LONG = Reply(verdict("Paris is the capital of France. " * 100))


@pytest.fixture(autouse=True)
def panel(provider: Provider) -> None:
    """A consortium of `a` and `b`, which `arbiter` judges."""
    save()


def begun(command: tuple[str, ...], stdout: int = subprocess.PIPE) -> subprocess.Popen[bytes]:
    """The command as a running process; a new Python is started, because its end is tested."""
    started = [sys.executable, "-m", *command]
    return subprocess.Popen(
        started, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE, env=dict(os.environ)
    )


def end_of(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    """The exit status and stderr of a process that must end by itself."""
    with process:
        assert process.stderr is not None
        said = process.stderr.read().decode()
        return process.wait(timeout=60), said


def kept(service: ConsortiumService) -> tuple[str, list[str | None]]:
    """The status of the only run, and its stored responses of members."""
    (run,) = service.store.runs.find.sync()
    calls = service.store.runs.load.sync(run.run_id).iterations
    return run.status, [response.text for one in calls for response in one.responses]


@by_command
def test_a_reader_that_leaves_before_the_first_piece_ends_the_command(
    command: tuple[str, ...], provider: Provider, service: ConsortiumService
) -> None:
    provider.on("arbiter", Fault.hang())

    process = begun(command)
    provider.wait_until(lambda: provider.count("arbiter") == 1)
    assert process.stdout is not None
    process.stdout.close()
    status, said = end_of(process)

    assert status == 1 and "The reader of stdout closed the pipe. The run is kept" in said and "Traceback" not in said
    assert kept(service) == ("interrupted", ["answer of a", "answer of b"])


def test_a_reader_that_leaves_in_the_middle_of_the_answer_ends_llm(
    provider: Provider, service: ConsortiumService
) -> None:
    provider.on("arbiter", replace(Fault.slow(0.02), reply=LONG))

    process = begun(LLM)
    assert process.stdout is not None and process.stdout.read(1) == b"P"
    process.stdout.close()
    status, said = end_of(process)

    assert status == 1 and "Traceback" not in said
    assert kept(service) == ("interrupted", ["answer of a", "answer of b"])


@by_command
def test_a_reader_that_leaves_at_the_end_loses_nothing(
    command: tuple[str, ...], provider: Provider, service: ConsortiumService
) -> None:
    provider.on("arbiter", verdict("Paris."))

    process = begun(command)
    assert process.stdout is not None and process.stdout.read(1) == b"P"
    process.stdout.close()
    _, said = end_of(process)

    assert "Traceback" not in said and kept(service)[0] == "converged"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@by_command
def test_a_full_disk_is_one_sentence_and_the_run_is_kept(
    command: tuple[str, ...], provider: Provider, service: ConsortiumService
) -> None:
    provider.on("arbiter", verdict("Paris."))

    with open("/dev/full", "wb") as full:
        status, said = end_of(begun(command, full.fileno()))

    assert status == 1 and "No space left on device" in said and "Traceback" not in said
    assert kept(service)[0] in ("converged", "interrupted")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("command", [("--help",), ("models",), ("runs",), ("doctor",), ("consult", "--help")], ids=str)
def test_no_command_shows_a_traceback_where_the_disk_is_full(command: tuple[str, ...]) -> None:
    with open("/dev/full", "wb") as full:
        status, said = end_of(begun(("consortium_mcp", *command), full.fileno()))

    assert status in (0, 1) and "Traceback" not in said and "Exception ignored" not in said


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_is_resumed_by_the_command_that_is_named(
    end: signal.Signals, provider: Provider, service: ConsortiumService
) -> None:
    gate = provider.gate("arbiter")
    provider.on("arbiter", verdict("Paris."))

    process = begun(CONSULT)
    gate.wait_for(1)
    process.send_signal(end)
    status, said = end_of(process)
    gate.open()
    named = said.split("`consortium-mcp ")[1].split("`")[0]
    resumed = subprocess.run(python("-m", "consortium_mcp", *named.split()), capture_output=True, text=True)

    assert status == 130 and kept(service)[0] == "converged"
    assert "Paris." in resumed.stdout and (provider.count("a"), provider.count("b")) == (1, 1)
