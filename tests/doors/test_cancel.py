"""What stops a run and what does not: users, client timeouts, broken connections, signals; and the end of a process."""

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import pytest
from mcp import Client
from mcp.client.sse import sse_client
from mcp.shared.exceptions import MCPError

from consortium_mcp._util.timing import DEFAULT_TIMING, Timing
from consortium_mcp.records import Progress, Run
from consortium_mcp.server import build_server
from consortium_mcp.service.runner import Runner
from consortium_mcp.service.service import ConsortiumService
from tests.plugins import install_plugin
from tests.provider import Fault, Provider, verdict
from tests.ready import python
from tests.scripted import asking
from tests.server_process import StdioServer, connected, http_server, said, structured
from tests.store_methods import replace_method

CONSULT = {"prompt": "?", "models": ["a", "b"], "arbiter": "arbiter", "max_iterations": 3}
"""Three iterations of two members and the arbiter, if nothing stops it."""


class Held:
    """A consult whose members hang in one iteration; the requests up to then are counted."""

    def __init__(self, provider: Provider, iteration: int) -> None:
        self._provider, self._iteration = provider, iteration
        self.calls = 3 * (iteration - 1) + 2
        provider.on("arbiter", verdict("not yet", confidence=0.1, needs_iteration=True))
        for model in ("a", "b"):
            provider.on(model, [*[f"answer of {model}"] * (iteration - 1), Fault.hang()])

    def wait(self) -> None:
        """Returns when both members hang."""
        self._provider.wait_until(lambda: self._provider.count() == self.calls)

    def assert_stopped(self) -> None:
        """No further request was made, and the requests in flight are cut."""
        self._provider.wait_until(lambda: self._provider.disconnects == 2)
        assert self._provider.count() == self.calls


def the_run(service: ConsortiumService) -> Run:
    """The only run, as a later process reads it."""
    (run,) = service.store.runs.find.sync()
    return service.store.runs.load.sync(run.run_id)


def assert_stopped(run: Run, iteration: int, status: str = "interrupted") -> None:
    """It can be resumed, unless it was cancelled, and it contains everything that arrived before."""
    assert (run.status, run.answer) == (status, None)
    assert [len(one.responses) for one in run.iterations if one.verdict] == [2] * (iteration - 1)


# The process ends


@pytest.mark.parametrize(
    ("end", "iteration"), [("close", 1), ("close", 2), (signal.SIGINT, 1), (signal.SIGINT, 2), (signal.SIGTERM, 2)]
)
def test_the_end_of_a_stdio_server_stops_its_runs(
    end: str | signal.Signals, iteration: int, provider: Provider, service: ConsortiumService, tmp_path: Path
) -> None:
    held = Held(provider, iteration)

    with StdioServer(tmp_path / "stderr") as server:
        server.call("consult_consortium", **CONSULT)
        held.wait()
        if isinstance(end, signal.Signals):
            server.process.send_signal(end)
        else:
            server.close_stdin()
        status = server.wait()

    held.assert_stopped()
    assert_stopped(the_run(service), iteration)
    assert status == (128 + end if isinstance(end, signal.Signals) else 0)
    assert (tmp_path / "stderr").read_text() == ""


def test_a_client_that_leaves_in_the_middle_of_an_answer_ends_the_server_in_peace(tmp_path: Path) -> None:
    with StdioServer(tmp_path / "stderr") as server:
        for _ in range(20):
            server.request("tools/list")
        server.wait_until_nothing_more_fits()
        server.close_stdout()
        server.close_stdin()
        status = server.wait()

    assert (status, (tmp_path / "stderr").read_text()) == (0, "")


@pytest.mark.parametrize(("end", "mode"), [(signal.SIGINT, "legacy"), (signal.SIGTERM, "auto")])
async def test_a_signal_to_an_http_server_cuts_its_runs_which_can_be_resumed(
    end: signal.Signals, mode: str, provider: Provider, service: ConsortiumService, tmp_path: Path
) -> None:
    held = Held(provider, 2)

    with http_server(tmp_path / "stderr", CONSORTIUM_GRACE_SECONDS="0") as (process, url):
        async with Client(url, mode=mode) as client:
            running = structured(await client.call_tool("consult_consortium", {**CONSULT, "wait_seconds": 0}))
            await anyio.to_thread.run_sync(held.wait)
            process.send_signal(end)
            status = await anyio.to_thread.run_sync(lambda: process.wait(timeout=30))

    held.assert_stopped()
    run = the_run(service)
    assert (status, run.run_id, run.status) == (0, running["run_id"], "interrupted")
    assert "Traceback" not in (tmp_path / "stderr").read_text()


def test_sigterm_stops_a_command_that_a_shell_runs_in_the_background(
    provider: Provider, service: ConsortiumService
) -> None:
    held = Held(provider, 2)
    command = f"{sys.executable} -m consortium_mcp consult Why -m a -m b --arbiter arbiter & echo $!; wait $!; echo $?"

    with subprocess.Popen(["sh", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as shell:
        held.wait()
        assert shell.stdout is not None
        os.kill(int(shell.stdout.readline()), signal.SIGTERM)
        status = shell.stdout.readline()

    held.assert_stopped()
    assert_stopped(the_run(service), 2)
    assert status == "130\n"


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_stop_the_run_of_a_command(
    end: signal.Signals, provider: Provider, service: ConsortiumService
) -> None:
    held = Held(provider, 2)
    command = [sys.executable, "-m", "consortium_mcp", "consult", "?", "-m", "a", "-m", "b", "--arbiter", "arbiter"]

    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        held.wait()
        process.send_signal(end)
        stdout, stderr = process.communicate(timeout=30)

    held.assert_stopped()
    assert_stopped(the_run(service), 2)
    assert (process.returncode, stdout) == (130, "")
    assert stderr.count("\n") == 1


def test_after_kill_9_the_run_reads_interrupted_with_all_that_had_arrived(
    provider: Provider, service: ConsortiumService, tmp_path: Path
) -> None:
    held = Held(provider, 2)

    with StdioServer(tmp_path / "stderr") as server:
        server.call("consult_consortium", **CONSULT)
        held.wait()
        server.process.kill()
        server.wait()
    held.assert_stopped()
    run = the_run(service)

    assert (run.status, run.answer) == ("interrupted", None)
    assert [one.text for one in run.iterations[0].responses] == ["answer of a", "answer of b"]


# Models that only know how to block

BLOCKING_PLUGIN = """
import llm, os, pathlib, time
folder = pathlib.Path(os.environ["SEEN"])
class Chunky(llm.Model):
    model_id = "chunky"
    def execute(self, prompt, stream, response, conversation):
        (folder / "chunky").touch()
        while True:
            time.sleep(0.01)
            yield "more "
class Sleeper(llm.Model):
    model_id = "sleeper"
    def execute(self, prompt, stream, response, conversation):
        (folder / "sleeper").touch()
        time.sleep(3600)
        yield "too late"
@llm.hookimpl
def register_models(register):
    register(Chunky())
    register(Sleeper())
"""


@pytest.fixture
def seen(plugin_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The models `chunky` and `sleeper` for subprocesses; each leaves a file here once it is called."""
    install_plugin(plugin_folder, "blocking_plugin", BLOCKING_PLUGIN)
    folder = tmp_path / "seen"
    folder.mkdir()
    monkeypatch.setenv("SEEN", str(folder))
    return folder


def wait_for_files(folder: Path, *names: str) -> None:
    """Returns when the files are there."""
    pause = threading.Event()
    while not all((folder / name).exists() for name in names):
        pause.wait(0.01)


@pytest.mark.parametrize("end", ["close", signal.SIGTERM])
def test_models_that_block_in_threads_do_not_hold_up_the_end_of_a_server(
    end: str | signal.Signals, seen: Path, service: ConsortiumService, tmp_path: Path
) -> None:
    with StdioServer(tmp_path / "stderr") as server:
        server.call("consult_consortium", prompt="?", models=["chunky", "sleeper:2"])
        wait_for_files(seen, "chunky", "sleeper")
        if isinstance(end, signal.Signals):
            server.process.send_signal(end)
        else:
            server.close_stdin()
        server.wait()

    assert the_run(service).status == "interrupted"


def test_models_that_block_in_threads_do_not_hold_up_ctrl_c(seen: Path, service: ConsortiumService) -> None:
    command = [sys.executable, "-m", "consortium_mcp", "consult", "?", "-m", "chunky", "-m", "sleeper"]

    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        wait_for_files(seen, "chunky", "sleeper")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)

    assert (process.returncode, the_run(service).status) == (130, "interrupted")


def test_a_command_ends_with_its_answer_though_a_thread_still_hangs(seen: Path, provider: Provider) -> None:
    provider.on("arbiter", verdict("without the sleeper"))
    members = ["-m", "a", "-m", "sleeper", "--arbiter", "arbiter"]

    done = subprocess.run(
        python("-m", "consortium_mcp", "consult", "?", *members),
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "CONSORTIUM_CALL_TIMEOUT_SECONDS": "2"},
    )

    assert done.returncode == 0 and "without the sleeper" in done.stdout and "sleeper#1: timeout" in done.stdout


# The client asks for it, or only seems to


@pytest.fixture(params=["auto", "legacy"])
async def client(request: pytest.FixtureRequest, runner: Runner) -> AsyncIterator[Client]:
    """A client in this process, of either protocol era."""
    async with Client(build_server(runner), mode=request.param) as client:
        yield client


@pytest.fixture
async def runner(service: ConsortiumService, provider: Provider) -> AsyncIterator[Runner]:
    """What works on the runs in this process."""
    async with Runner(service) as runner:
        yield runner


async def ends(client: Client, run_id: str) -> dict[str, Any]:
    """The run's structured content when it has ended, error or not."""
    result = await client.call_tool("get_run", {"run_id": run_id, "wait_seconds": 60})
    assert result.structured_content is not None
    return dict(result.structured_content)


async def consult_until(client: Client, stop: Callable[[], Any], **arguments: Any) -> None:
    """Begin a consult as a user, and cancel the request when `stop` (called in a thread) returns."""
    async with anyio.create_task_group() as group:
        group.start_soon(client.call_tool, "consult_consortium", {**CONSULT, **arguments})
        await anyio.to_thread.run_sync(stop)
        group.cancel_scope.cancel()


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_users_stop_over_stdio_cancels_the_run(
    mode: str, provider: Provider, service: ConsortiumService, tmp_path: Path
) -> None:
    held = Held(provider, 2)

    async with connected(mode, tmp_path / "stderr") as client:
        await consult_until(client, held.wait)
        ended = await ends(client, the_run(service).run_id)

    held.assert_stopped()
    assert ended["status"] == "cancelled"
    assert_stopped(the_run(service), 2, "cancelled")


STOPPED = ["User pressed stop", "AbortError: This operation was aborted", "caller cancelled", None]
GAVE_UP = [
    "McpError: MCP error -32001: Request timed out",
    "SdkError: Request timed out",
    "timed out after 3.0s",
    "TimeoutError: The operation was aborted due to timeout",
]


def wait_for_calls(provider: Provider, number: int) -> None:
    """Returns when so many calls have reached the provider."""
    provider.wait_until(lambda: provider.count() == number)


def test_the_reason_of_a_cancelled_request_tells_a_stop_from_lost_patience(
    provider: Provider, service: ConsortiumService, tmp_path: Path
) -> None:
    gate = provider.gate("a")
    provider.on("arbiter", verdict("the answer"))
    ended = {}

    with StdioServer(tmp_path / "stderr") as server:
        for number, reason in enumerate([*STOPPED, *GAVE_UP], start=1):
            consult = server.call("consult_consortium", prompt=str(reason), models=["a"], arbiter="arbiter")
            wait_for_calls(provider, number)
            server.notify("notifications/cancelled", requestId=consult, **({"reason": reason} if reason else {}))
        provider.wait_until(lambda: provider.disconnects == len(STOPPED))
        gate.open()
        for run in service.store.runs.find.sync():
            server.answer(server.call("get_run", run_id=run.run_id, wait_seconds=60))
            ended[run.prompt] = service.store.runs.load.sync(run.run_id).status

    assert ended == {str(reason): "cancelled" if reason in STOPPED else "converged" for reason in [*STOPPED, *GAVE_UP]}


async def test_a_client_that_gives_up_does_not_stop_the_run_and_reads_its_answer_later(
    client: Client, provider: Provider
) -> None:
    provider.on("arbiter", verdict("worth the wait"))
    gate = provider.gate("a", "b")
    await client.call_tool("list_models", {"query": "arbiter"})  # llm is imported by now

    with pytest.raises(MCPError, match="(?i)timed out"):
        await client.call_tool("consult_consortium", CONSULT, read_timeout_seconds=2)
    await gate.wait_for_async(2)
    running = structured(await client.call_tool("consult_consortium", {**CONSULT, "wait_seconds": 0}))
    gate.open()
    ended = await ends(client, running["run_id"])

    assert (ended["status"], ended["answer"]) == ("converged", "worth the wait")
    assert (provider.count(), provider.disconnects) == (3, 0)


async def test_cancel_run_stops_a_run_and_keeps_what_had_arrived(client: Client, provider: Provider) -> None:
    gate = provider.gate("a")
    seen = anyio.Event()

    async def report(progress: float, total: float | None, message: str | None) -> None:
        if message == "1 of 2 responses; waiting for a#1":
            seen.set()

    async with anyio.create_task_group() as group:
        group.start_soon(lambda: client.call_tool("consult_consortium", CONSULT, progress_callback=report))
        await gate.wait_for_async(1)
        await seen.wait()
        run_id = structured(await client.call_tool("list_runs", {}))["runs"][0]["run_id"]
        cancelled = structured(await client.call_tool("cancel_run", {"run_id": run_id}))
    await provider.wait_until_async(lambda: provider.disconnects == 1)

    assert cancelled["status"] == "cancelled" and provider.count() == 2
    assert [(one["label"], one["error_kind"]) for one in cancelled["responses"]] == [("b#1", None)]


async def test_a_stop_that_comes_while_the_run_is_being_opened_is_not_lost(
    runner: Runner, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening, go_on, opened = threading.Event(), threading.Event(), threading.Event()
    open_run = runner.service.opener.open_run

    def slow_open_run(*arguments: Any, **named: Any) -> Run:
        opening.set()
        go_on.wait(30)
        run = open_run(*arguments, **named)
        opened.set()
        return run

    monkeypatch.setattr(runner.service.opener, "open_run", slow_open_run)
    provider.on("a", Fault.hang())

    async with Client(build_server(runner), mode="legacy") as client:
        await consult_until(client, opening.wait)
        await client.list_tools()  # what was sent before this has been heard
        go_on.set()
        await anyio.to_thread.run_sync(opened.wait)
        ended = await ends(client, the_run(runner.service).run_id)

    assert ended["status"] == "cancelled"


async def test_a_run_that_is_stopped_before_its_first_step_can_be_resumed(
    service: ConsortiumService, provider: Provider
) -> None:
    run = service.opener.open_run(asking("?", models=["a"]))

    async with Runner(service) as runner:
        runner.submit(run.run_id)

    assert (the_run(service).status, provider.count()) == ("interrupted", 0)


async def test_the_end_stops_all_runs_before_it_waits_for_any(runner: Runner, provider: Provider) -> None:
    gate = provider.gate("a")
    for number in range(5):
        runner.submit(runner.service.opener.open_run(asking(f"{number}?", models=["a"])).run_id)
    await gate.wait_for_async(5)

    await runner.stop()

    assert {run.status for run in runner.service.store.runs.find.sync()} == {"interrupted"}
    await provider.wait_until_async(lambda: provider.disconnects == 5)


# Over HTTP


async def test_over_legacy_http_a_users_stop_cancels_the_run(
    provider: Provider, service: ConsortiumService, tmp_path: Path
) -> None:
    held = Held(provider, 2)

    with http_server(tmp_path / "stderr") as (_, url):
        async with Client(url, mode="legacy") as client:
            await consult_until(client, held.wait)
            ended = await ends(client, the_run(service).run_id)

    held.assert_stopped()
    assert ended["status"] == "cancelled"
    assert_stopped(the_run(service), 2, "cancelled")


async def test_over_modern_http_where_a_stop_is_a_closed_connection_the_run_goes_on_until_cancel_run(
    provider: Provider, service: ConsortiumService, tmp_path: Path
) -> None:
    held = Held(provider, 2)

    with http_server(tmp_path / "stderr") as (_, url):
        async with Client(url, mode="auto") as client:
            await consult_until(client, held.wait)
            joined = structured(await client.call_tool("consult_consortium", {**CONSULT, "wait_seconds": 0}))
            cancelled = structured(await client.call_tool("cancel_run", {"run_id": joined["run_id"]}))

    held.assert_stopped()
    assert (joined["status"], cancelled["status"]) == ("running", "cancelled")
    assert_stopped(the_run(service), 2, "cancelled")


@pytest.mark.parametrize("returns", ["while it runs", "when it has ended"])
def test_over_legacy_http_a_broken_connection_neither_stops_the_run_nor_loses_its_answer(
    returns: str, provider: Provider, service: ConsortiumService, tmp_path: Path
) -> None:
    provider.on("arbiter", verdict("the answer"))
    gate = provider.gate("a")
    consult = {"name": "consult_consortium", "arguments": CONSULT}

    with http_server(tmp_path / "stderr") as (_, url):
        session = Session(url)
        connection = session.send("tools/call", consult)
        gate.wait_for(1)
        connection.close()
        if returns == "while it runs":
            again = session.send("tools/call", consult)
            gate.open()
        else:
            gate.open()
            wait_for_end(service)
            again = session.send("tools/call", consult)
        answer = session.read(again)

    assert answer["structuredContent"]["answer"] == "the answer"
    assert (provider.count(), provider.disconnects) == (3, 0)


def wait_for_end(service: ConsortiumService) -> None:
    """Returns when the one run has ended."""
    pause = threading.Event()
    while the_run(service).status == "running":
        pause.wait(0.01)


class Session:
    """A session of Streamable HTTP, revision 2025-11-25, each request on a connection that the test may break."""

    def __init__(self, url: str) -> None:
        self._at = urlsplit(url)
        self._last_id = 0
        self._headers = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
        client = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "tests", "version": "1"}}
        connection = self.send("initialize", client)
        self._headers["mcp-session-id"] = connection.getresponse().headers["mcp-session-id"]
        self._headers["mcp-protocol-version"] = "2025-11-25"
        connection.close()
        self._post({"method": "notifications/initialized"}).close()

    def send(self, method: str, params: dict[str, Any]) -> http.client.HTTPConnection:
        """Send a request; the connection on which its answer will come."""
        self._last_id += 1  # two answers to one id would come on one of the two connections
        return self._post({"id": self._last_id, "method": method, "params": params})

    def read(self, connection: http.client.HTTPConnection) -> dict[str, Any]:
        """The result that comes on a connection."""
        try:
            for line in connection.getresponse():
                if line.startswith(b"data: {"):
                    return dict(json.loads(line.removeprefix(b"data: "))["result"])
            raise EOFError("the stream ended without an answer")
        finally:
            connection.close()

    def _post(self, message: dict[str, Any]) -> http.client.HTTPConnection:
        assert self._at.hostname is not None
        connection = http.client.HTTPConnection(self._at.hostname, self._at.port, timeout=60)
        connection.request("POST", self._at.path, json.dumps({"jsonrpc": "2.0", **message}), self._headers)
        return connection


async def test_two_clients_follow_one_run_and_each_gets_its_answer(provider: Provider, tmp_path: Path) -> None:
    provider.on("arbiter", verdict("for both"))
    gate = provider.gate("a", "b")
    answers: list[str] = []

    async def consult(client: Client) -> None:
        answers.append(structured(await client.call_tool("consult_consortium", CONSULT))["answer"])

    with http_server(tmp_path / "stderr") as (_, url):
        async with Client(url, mode="legacy") as one, Client(url) as other, anyio.create_task_group() as group:
            group.start_soon(consult, one)
            await gate.wait_for_async(2)
            running = structured(await other.call_tool("consult_consortium", {**CONSULT, "wait_seconds": 0}))
            group.start_soon(consult, other)
            gate.open()

    assert (running["status"], answers, provider.count()) == ("running", ["for both"] * 2, 3)


async def test_over_sse_a_users_stop_does_not_touch_another_clients_run(provider: Provider, tmp_path: Path) -> None:
    provider.on("arbiter", verdict("not stopped"))
    gate = provider.gate("a", "b")
    answers: list[str] = []

    async def consult(client: Client) -> None:
        answers.append(structured(await client.call_tool("consult_consortium", {**CONSULT, "models": ["b"]}))["answer"])

    with http_server(tmp_path / "stderr", "sse") as (_, url):
        async with Client(sse_client(url), mode="legacy") as one, Client(sse_client(url), mode="legacy") as other:
            async with anyio.create_task_group() as group:
                group.start_soon(consult_until, one, lambda: gate.wait_for(3))
                await anyio.to_thread.run_sync(lambda: provider.wait_until(lambda: provider.count("a") == 1))
                group.start_soon(consult, other)
                await provider.wait_until_async(lambda: provider.disconnects == 2)
                gate.open()

    assert answers == ["not stopped"]


# Following a run


async def test_while_nothing_happens_a_client_still_hears_of_the_run(
    client: Client, provider: Provider, service: ConsortiumService
) -> None:
    service.timing = Timing(heartbeat=0.01)
    gate = provider.gate("a", "b")
    heard: list[tuple[float, str | None]] = []

    async def report(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, message))
        if len([one for one in heard if one[1] == "0 of 2 responses; waiting for a#1, b#1"]) == 10:
            gate.open()

    await client.call_tool("consult_consortium", {**CONSULT, "max_iterations": 1}, progress_callback=report)

    assert [one[0] for one in heard] == sorted({one[0] for one in heard})


async def test_only_a_run_of_another_process_is_looked_at_while_nothing_happens(
    provider: Provider, open_service: Callable[..., ConsortiumService], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = provider.gate("a")
    here, elsewhere = open_service(), open_service()
    here.timing = elsewhere.timing = Timing(heartbeat=0.01)
    looks: dict[ConsortiumService, int] = {here: 0, elsewhere: 0}

    def count_looks(service: ConsortiumService) -> None:
        load = service.store.progress.load.sync

        def counted(run_id: str) -> Progress:
            looks[service] += 1
            return load(run_id)

        replace_method(monkeypatch, service.store.progress, "load", counted)

    async def looks_of(runner: Runner) -> list[int]:
        """The number of reads of the run when each of the first ten lines about it arrived."""
        found: list[int] = []
        async with aclosing(runner.follow(run.run_id, 60)) as lines:
            async for _ in lines:
                found.append(looks[runner.service])
                if len(found) == 10:
                    break
        return found

    run = here.opener.open_run(asking("?", models=["a"], arbiter="arbiter"))
    async with Runner(here) as one, Runner(elsewhere) as other:
        one.submit(run)
        await gate.wait_for_async(1)
        for service in looks:
            count_looks(service)
        found = [await looks_of(one), await looks_of(other)]
        gate.open()

    assert found == [[1] * 10, list(range(1, 11))]


def test_the_silence_between_heartbeats_is_less_than_five_seconds() -> None:
    assert DEFAULT_TIMING.heartbeat < 5


async def test_the_same_call_joins_its_run_until_its_answer_was_received(client: Client, provider: Provider) -> None:
    provider.on("arbiter", [verdict("the first"), verdict("asked anew")])
    gate = provider.gate("a", "b")

    first = await client.call_tool("consult_consortium", {**CONSULT, "wait_seconds": 0})
    again = await client.call_tool("consult_consortium", {**CONSULT, "wait_seconds": 0})
    gate.open()
    joined = structured(await client.call_tool("consult_consortium", CONSULT))
    calls = provider.count()
    anew = structured(await client.call_tool("consult_consortium", CONSULT))

    run_id = structured(first)["run_id"]
    assert f'Call get_run with run_id="{run_id}" to wait for the answer; do not consult again.' in said(first)
    assert [structured(again)["run_id"], joined["run_id"], calls] == [run_id, run_id, 3]
    assert (joined["answer"], anew["answer"], provider.count()) == ("the first", "asked anew", 6)
    assert anew["run_id"] != run_id


async def test_a_client_with_a_short_limit_gets_a_long_consult_through_get_run(
    client: Client, provider: Provider
) -> None:
    provider.on("arbiter", verdict("after a while"))
    gate = provider.gate("a", "b")
    await client.call_tool("list_models", {"query": "arbiter"})  # llm is imported by now

    run = structured(
        await client.call_tool("consult_consortium", {**CONSULT, "wait_seconds": 1}, read_timeout_seconds=3)
    )
    polls = 0
    while run["status"] == "running":
        polls += 1
        if polls == 3:
            gate.open()
        poll = {"run_id": run["run_id"], "wait_seconds": 1}
        run = structured(await client.call_tool("get_run", poll, read_timeout_seconds=3))

    assert (run["answer"], provider.count()) == ("after a while", 3)
