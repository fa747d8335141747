"""A team's server under load: clients that consult and vanish, providers that fail; what is lost, and memory.

python -m benchmarks.soak [--minutes 30] [--clients 100]
"""

import argparse
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
from mcp import Client

from tests.provider import Fault, Provider, Reply, Request, verdict
from tests.server_process import http_client, http_server, resident_mb, said, structured

FAULTS = 0.2
"""Which part of the members' calls fails."""

VANISH = 0.1
"""Which part of the consults loses its client in the middle."""

SAMPLE_SECONDS = 5


@dataclass
class Figures:
    """What the soak saw."""

    outcomes: Counter[str] = field(default_factory=Counter)
    """How the consults ended for their clients; `vanished` for clients that left."""

    unexpected: list[str] = field(default_factory=list)
    """Errors that nobody injected."""

    statuses: Counter[str] = field(default_factory=Counter)
    """How the runs ended in the database."""

    attempts: int = 0
    """Calls that the database knows of."""

    cut: int = 0
    """Those among them that were cancelled, as of a member whom a run went on without: some never reached it."""

    provider_calls: int = 0
    """Calls that the provider answered or failed."""

    memory_mb: list[float] = field(default_factory=list)
    """The server's resident memory, every `SAMPLE_SECONDS`."""

    @property
    def grown(self) -> float:
        """How much the last quarter's memory is above the second quarter's, as a fraction: after warm-up it is flat."""
        quarter = max(1, len(self.memory_mb) // 4)
        second, last = self.memory_mb[quarter : 2 * quarter], self.memory_mb[-quarter:]
        return sum(last) / len(last) / (sum(second) / len(second)) - 1 if second else 0.0

    def problems(self) -> list[str]:
        """What should not be; empty when nothing was lost."""
        found = self.unexpected[:10]
        if not self.attempts - self.cut <= self.provider_calls <= self.attempts:
            found.append(f"{self.attempts} calls in the database, {self.provider_calls} at the provider")
        if open_runs := self.statuses["running"] + self.statuses["interrupted"]:
            found.append(f"{open_runs} runs have not ended")
        return found


async def soak(seconds: float, clients: int, folder: Path) -> Figures:
    """Let clients consult one server for so long.

    Args:
        folder: for the database and llm's configuration.
    """
    figures = Figures()
    with Provider() as provider:
        provider.write_llm_config(folder, ["a", "b", "arbiter"], schema=["arbiter"])
        provider.on("a", _unreliable(random.Random(1)))
        provider.on("b", _unreliable(random.Random(2)))
        provider.on("arbiter", verdict("as they say", confidence=0.9))
        environment = {"LLM_USER_PATH": str(folder), "CONSORTIUM_MAX_WAITING_RUNS": "1000"}
        with http_server(folder / "stderr", "http,sse", **environment) as (server, url):
            ends = time.monotonic() + seconds
            async with anyio.create_task_group() as group:
                for number in range(clients):
                    group.start_soon(_consult_until, ends, number, url, figures)
                group.start_soon(_watch_memory, ends, server, figures)
            await anyio.to_thread.run_sync(_wait_until_all_ended, folder)
        _account(folder, provider, figures)
    return figures


def _unreliable(chance: random.Random) -> Any:
    def answer(request: Request) -> str | Reply | Fault:
        if chance.random() >= FAULTS:
            return "one answer"
        fault = chance.choice([Fault.server_error(), Fault.rate_limit(0), Fault.wrong_key(), Fault.empty()])
        return fault.without_sdk_retries()

    return answer


async def _consult_until(ends: float, number: int, url: str, figures: Figures) -> None:
    chance = random.Random(number)
    while time.monotonic() < ends:
        path, mode = chance.choice([("/mcp", "auto"), ("/mcp", "legacy"), ("/sse", "legacy")])
        stays = chance.random() >= VANISH
        leaves = False
        try:
            async with http_client(url.replace("/mcp", path), mode) as client:
                for _ in range(chance.randrange(1, 4) if stays else 0):
                    await _consult(client, f"{number} {chance.random()}?", figures)
                leaves = True
                if not stays:
                    figures.outcomes["vanished"] += 1
                    with anyio.move_on_after(chance.uniform(0, 0.5)):
                        await _consult(client, f"{number} {chance.random()}?", figures)
        except Exception as error:  # whatever it is, nobody injected it; the SDK's client may stumble as it leaves
            if not leaves:
                figures.unexpected.append(f"{path} {mode}: {error!r}")


async def _consult(client: Client, prompt: str, figures: Figures) -> None:
    arguments = {"prompt": prompt, "models": ["a:2", "b"], "arbiter": "arbiter", "wait_seconds": 300}
    result = await client.call_tool("consult_consortium", arguments)
    if result.is_error and "gave no response" not in said(result):
        figures.unexpected.append(said(result))
    figures.outcomes["failed" if result.is_error else structured(result)["status"]] += 1


async def _watch_memory(ends: float, server: subprocess.Popen[str], figures: Figures) -> None:
    while time.monotonic() < ends and server.poll() is None:
        figures.memory_mb.append(resident_mb(server.pid))
        await anyio.sleep(min(SAMPLE_SECONDS, max(0.1, (ends - time.monotonic()) / 4)))


def _wait_until_all_ended(folder: Path) -> None:
    """Runs whose clients vanished go on; wait for them, but not for ever."""
    ends = time.monotonic() + 120
    with closing(sqlite3.connect(folder / "consortium.db")) as connection:
        while connection.execute("SELECT 1 FROM runs WHERE status = 'running'").fetchone() and time.monotonic() < ends:
            time.sleep(0.2)


def _account(folder: Path, provider: Provider, figures: Figures) -> None:
    with closing(sqlite3.connect(folder / "consortium.db")) as connection:
        figures.statuses.update(dict(connection.execute("SELECT status, count(*) FROM runs GROUP BY status")))
        count = "SELECT count(*), count(*) FILTER (WHERE error_kind = 'cancelled') FROM attempts"
        figures.attempts, figures.cut = connection.execute(count).fetchone()
    figures.provider_calls = provider.count()


def main() -> None:
    """Print the figures; exit with 1 where something was lost."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--clients", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = anyio.run(soak, options.minutes * 60, options.clients, Path(folder))
    print(f"consults: {dict(figures.outcomes)}; runs: {dict(figures.statuses)}")
    print(f"calls: {figures.attempts} in the database ({figures.cut} cut), {figures.provider_calls} at the provider")
    print(f"memory: {figures.memory_mb[0]:.0f} MB, at last {figures.memory_mb[-1]:.0f} MB, grown {figures.grown:.1%}")
    print("\n".join(figures.problems()) or "nothing was lost")
    sys.exit(bool(figures.problems()))


if __name__ == "__main__":
    main()
