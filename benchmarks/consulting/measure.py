"""Measures the sides in turn: one consult at a time, then many at once."""

import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import anyio

from benchmarks.consulting.provider import CRITICAL_PATH_SECONDS, LONG, provider
from benchmarks.consulting.sides import UPSTREAM, Asking, Side, floor, llm_consortium, ours
from benchmarks.figures import Figure, ratios

MOST = {1: 1.06, 4: 1.09, 16: 1.16, 64: 1.5}
"""The largest ratio of a consult's duration to its critical path, by the number of members."""

MOST_LONG = 1.5
"""The same for a consult of `MEMBERS` whose replies come in 400 chunks each."""

AT_ONCE, MEMBERS = 128, 4
"""The number of simultaneous consults in the throughput measurement, and their number of members."""

LEAST_THROUGHPUT = 0.9
"""The smallest throughput, as a share of a minimal server's with llm's models and kept clients."""

MOST_MEMORY_MB = 160

CONSULTS = 7
"""The number of consecutive consults of one size in a repetition; their median counts."""


def figures(repetitions: int = 5, sides: Sequence[str] | None = None) -> list[Figure]:
    """The figures of consults, ours first.

    Args:
        sides: the sides to compare with ours; None means all.
    """
    return anyio.run(_figures, repetitions, sides)


async def _figures(repetitions: int, sides: Sequence[str] | None) -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder, provider(Path(folder)) as url:
        compared = [ours(), *_compared(url, Path(folder), sides)]
        one_by_one, long_ones = await _one_by_one(compared, Path(folder), repetitions)
        at_once, memory = await _at_once(compared, Path(folder), repetitions)
    found = []
    for side in compared:
        mine = side is compared[0]
        for members, most in MOST.items():
            what = f"{side.name}: a consult of {members} ÷ its critical path"
            found.append(Figure(what, "x", tuple(one_by_one[side.name][members]), most if mine else None))
        what = f"{side.name}: a consult of {MEMBERS}, each reply {LONG} ÷ its critical path"
        found.append(Figure(what, "x", tuple(long_ones[side.name]), MOST_LONG if mine else None))
        what = f"{side.name}: {AT_ONCE} consults of {MEMBERS} at once"
        found.append(Figure(what, "per s", tuple(at_once[side.name]), higher_is_better=True))
        most_memory = MOST_MEMORY_MB if mine else None
        found.append(Figure(f"{side.name}: peak memory there", "MB", tuple(memory[side.name]), most_memory))
    if "llm kept" in at_once:
        relative = ratios(at_once[compared[0].name], at_once["llm kept"])
        what = f"{compared[0].name} ÷ llm kept: consults a second"
        found.append(Figure(what, "x", relative, least=LEAST_THROUGHPUT, higher_is_better=True))
    return found


def _compared(url: str, folder: Path, wanted: Sequence[str] | None) -> list[Side]:
    """The sides to compare with ours, by name; None means all."""
    floors = {"aiohttp alone": "aiohttp", "llm kept": "kept", "llm plainly": "plain"}
    found = [floor(name, which, url) for name, which in floors.items() if wanted is None or name in wanted]
    if wanted is None or UPSTREAM in wanted:
        found.append(llm_consortium(folder / "upstream"))
    return found


async def _one_by_one(
    sides: list[Side], folder: Path, repetitions: int
) -> tuple[dict[str, dict[int, list[float]]], dict[str, list[float]]]:
    """The ratio of a consult to its critical path, by side and members; and with long replies, by side."""
    took: dict[str, dict[int, list[float]]] = {side.name: {members: [] for members in MOST} for side in sides}
    took_long: dict[str, list[float]] = {side.name: [] for side in sides}
    async with AsyncExitStack() as open_sides:
        asking = [await open_sides.enter_async_context(side.connected(folder)) for side in sides]
        for one in asking:
            await one.consult(1)
            await one.consult(max(MOST))
        for _ in range(repetitions):
            for members in MOST:
                for one in asking:
                    took[one.side.name][members].append(await _median_ratio(one, members))
            for one in asking:
                took_long[one.side.name].append(await _median_ratio(one, MEMBERS, LONG))
    return took, took_long


async def _median_ratio(asking: Asking, members: int, wish: str = "") -> float:
    took = []
    for _ in range(CONSULTS):
        began = time.perf_counter()
        await asking.consult(members, wish)
        took.append((time.perf_counter() - began) / CRITICAL_PATH_SECONDS)
    return statistics.median(took)


async def _at_once(
    sides: list[Side], folder: Path, repetitions: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Consults per second and megabytes, by side; each repetition has its own process."""
    throughput: dict[str, list[float]] = {side.name: [] for side in sides}
    memory: dict[str, list[float]] = {side.name: [] for side in sides}
    for _ in range(repetitions):
        for side in sides:
            async with side.connected(folder) as asking:
                await asking.consult(MEMBERS)
                began = time.perf_counter()
                async with anyio.create_task_group() as group:
                    for _ in range(AT_ONCE):
                        group.start_soon(asking.consult, MEMBERS)
                throughput[side.name].append(AT_ONCE / (time.perf_counter() - began))
                memory[side.name].append(asking.peak_memory_mb)
    return throughput, memory
