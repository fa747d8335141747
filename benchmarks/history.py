"""Whether a long history is as quick to list and to read as a short one: 100 runs against 100,000, through a client.

python -m benchmarks.history
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import anyio
from mcp import Client
from mcp_types import ResourceTemplateReference

from consortium_mcp.consultancy import Consultancy
from consortium_mcp.run import Run
from consortium_mcp.runner import Runner
from consortium_mcp.server import build_server
from consortium_mcp.server.cursors import write_cursor
from consortium_mcp.server.listing import PAGE
from consortium_mcp.settings import load_settings
from tests.consulted import consulted
from tests.history import copy_id, copy_run
from tests.provider import Provider, verdict

SHORT, LONG = 100, 100_000
RATIO = 3.0
"""How much longer anything may take with the long history."""

TIMES = 30
"""How often each thing is done; the median counts."""

Deed = Callable[[], Awaitable[object]]


@dataclass(frozen=True)
class Measured:
    """One thing and how long it took with either history."""

    what: str
    short_ms: float
    long_ms: float

    @property
    def ratio(self) -> float:
        """How much longer the long history made it."""
        return self.long_ms / self.short_ms

    def __str__(self) -> str:
        mark = "within" if self.ratio < RATIO else "ABOVE"
        return f"| {self.what} | {self.short_ms:.1f} ms | {self.long_ms:.1f} ms | {self.ratio:.2f}, {mark} {RATIO:g} |"


def main() -> None:
    """Print the table; exit with 1 where a ratio is above its bound."""
    with tempfile.TemporaryDirectory() as folder, Provider() as provider:
        provider.write_llm_config(Path(folder), ["a", "b", "c"], schema=["arbiter"])
        os.environ["LLM_USER_PATH"] = folder
        for model in ("a", "b", "c"):
            provider.on(model, f"What {model} thinks of it. " * 20)
        provider.on("arbiter", verdict("What they agree on. " * 20))
        short = anyio.run(_measure, Path(folder) / "short.db", SHORT)
        long = anyio.run(_measure, Path(folder) / "long.db", LONG)
    measured = [Measured(what, short[what], long[what]) for what in short]
    print(f"| | {SHORT:,} runs | {LONG:,} runs | ratio |\n|---|---|---|---|")
    print(*measured, sep="\n")
    sys.exit(any(one.ratio >= RATIO for one in measured))


async def _measure(database: Path, runs: int) -> dict[str, float]:
    """Milliseconds by what was done."""
    with Consultancy(load_settings(None, database=database)) as office:
        run = await consulted(office, "a", "b", "c", prompt="What is the capital of France, and why is it there?")
        copy_run(office.store, run.run_id, runs - 1)
        async with Runner(office) as runner, Client(build_server(runner)) as client:
            return {what: await _median_ms(deed) for what, deed in _deeds(client, run, runs).items()}


def _deeds(client: Client, run: Run, runs: int) -> dict[str, Deed]:
    middle = f"consortium://runs/{copy_id(runs // 2)}"
    last = write_cursor("run", copy_id(PAGE - 1))
    template = ResourceTemplateReference(uri="consortium://runs/{run_id}")
    return {
        "resources/list, first page": client.list_resources,
        "resources/list, last page": lambda: client.list_resources(cursor=last),
        "consortium://runs": lambda: client.read_resource("consortium://runs"),
        "one run": lambda: client.read_resource(middle),
        "its transcript": lambda: client.read_resource(f"{middle}/transcript.md"),
        "list_runs, first page": lambda: client.call_tool("list_runs", {}),
        "list_runs, last page": lambda: client.call_tool("list_runs", {"cursor": last}),
        "list_runs of a status that no run has": lambda: client.call_tool("list_runs", {"status": "interrupted"}),
        "completion of a run id": lambda: client.complete(template, {"name": "run_id", "value": run.run_id[:9]}),
    }


async def _median_ms(deed: Deed) -> float:
    await deed()
    took = []
    for _ in range(TIMES):
        began = time.perf_counter()
        await deed()
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took)


if __name__ == "__main__":
    main()
