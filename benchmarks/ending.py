"""The time from a signal, or the closed stdin, to the exit of a process, while a consult's models hang.

python -m benchmarks.ending
"""

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import anyio
from mcp import Client

from consortium_mcp.store import Store
from tests.provider import Fault, Provider
from tests.server_process import StdioServer, http_server

END_SECONDS = 2
"""The time limit for the end of a process; hosts kill it after that."""

MODELS = ["a", "b"]

THREADS_PLUGIN = """
import llm, os, pathlib, time
class Sleeper(llm.Model):
    model_id = "sleeper"
    def execute(self, prompt, stream, response, conversation):
        pathlib.Path(os.environ["LLM_USER_PATH"], "asleep").touch()
        time.sleep(3600)
        yield ""
@llm.hookimpl
def register_models(register):
    register(Sleeper())
"""


def main() -> None:
    """Print each figure; exit with 1 if one is above its bound."""
    measured = [
        ("stdio, stdin closed", _stdio(lambda server: server.close_stdin())),
        ("stdio, SIGINT", _stdio(lambda server: server.process.send_signal(signal.SIGINT))),
        ("stdio, SIGTERM", _stdio(lambda server: server.process.send_signal(signal.SIGTERM))),
        ("stdio, stdin closed, a model sleeps in a thread", _stdio(lambda server: server.close_stdin(), asleep=True)),
        ("stdio, stdin closed, the database is locked", _stdio(lambda server: server.close_stdin(), locked=True)),
        ("http, SIGINT", _http(signal.SIGINT)),
        ("http, SIGTERM", _http(signal.SIGTERM)),
        ("consult, Ctrl-C", _command()),
        ("consult, Ctrl-C, a model sleeps in a thread", _command(asleep=True)),
    ]
    for what, (seconds, status) in measured:
        mark = "within" if seconds <= END_SECONDS else "ABOVE"
        print(f"{what}: {seconds:.2f} s, {mark} {END_SECONDS} s; the run reads {status}")
    sys.exit(any(seconds > END_SECONDS for _, (seconds, _) in measured))


def _stdio(end: Callable[[StdioServer], None], *, asleep: bool = False, locked: bool = False) -> tuple[float, str]:
    with _hanging_models() as (folder, wait), StdioServer(folder / "stderr") as server:
        server.call("consult_consortium", prompt="?", models=["sleeper", "sleeper"] if asleep else MODELS)
        wait(asleep)
        with closing(sqlite3.connect(folder / "consortium.db", isolation_level=None)) as other:
            if locked:
                other.execute("BEGIN IMMEDIATE")
            seconds = _seconds(lambda: end(server), server.process)
        return seconds, _status(folder)


def _http(number: signal.Signals) -> tuple[float, str]:
    no_grace = {"CONSORTIUM_GRACE_SECONDS": "0"}
    with _hanging_models() as (folder, wait), http_server(folder / "stderr", **no_grace) as (process, url):

        async def consult() -> float:
            async with Client(url, mode="legacy") as client, anyio.create_task_group() as group:
                group.start_soon(client.call_tool, "consult_consortium", {"prompt": "?", "models": MODELS})
                await anyio.to_thread.run_sync(wait, False)
                end = lambda: process.send_signal(number)  # noqa: E731 - one use
                seconds = await anyio.to_thread.run_sync(lambda: _seconds(end, process))
                group.cancel_scope.cancel()
            return seconds

        return anyio.run(consult), _status(folder)


def _command(*, asleep: bool = False) -> tuple[float, str]:
    members = ["-m", "sleeper:2"] if asleep else ["-m", "a", "-m", "b"]
    with _hanging_models() as (folder, wait):
        command = [sys.executable, "-m", "consortium_mcp", "consult", "?", *members]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            wait(asleep)
            seconds = _seconds(lambda: process.send_signal(signal.SIGINT), process)
        return seconds, _status(folder)


def _seconds(end: Callable[[], None], process: "subprocess.Popen[str] | subprocess.Popen[bytes]") -> float:
    began = time.monotonic()
    end()
    process.wait()
    return time.monotonic() - began


def _status(folder: Path) -> str:
    """The status of the one run; after a minute at the latest, if its end could not be written."""
    with closing(Store(folder / "consortium.db")) as store:
        (run,) = store.runs.find.sync()
        return "interrupted, once its lease is over" if run.status == "running" else run.status


@contextmanager
def _hanging_models() -> Iterator[tuple[Path, Callable[[bool], None]]]:
    """An own llm folder whose models hang; and a function that waits until a consult of two of them hangs."""
    with tempfile.TemporaryDirectory() as name, Provider() as provider:
        folder = provider.write_llm_config(Path(name), MODELS)
        for model in MODELS:
            provider.on(model, Fault.hang())
        (folder / "plugins").mkdir()
        _install(folder / "plugins")
        os.environ["LLM_USER_PATH"], os.environ["PYTHONPATH"] = str(folder), str(folder / "plugins")

        def wait(asleep: bool) -> None:
            if not asleep:
                provider.wait_until(lambda: provider.count() == len(MODELS))
            while asleep and not (folder / "asleep").exists():
                time.sleep(0.01)

        yield folder, wait


def _install(folder: Path) -> None:
    (folder / "sleeper_plugin.py").write_text(THREADS_PLUGIN)
    info = folder / "sleeper_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sleeper_plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[llm]\nsleeper_plugin = sleeper_plugin\n")


if __name__ == "__main__":
    main()
