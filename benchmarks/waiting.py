"""The waiting time of a caller when a model hangs: measured over HTTP against the tests' provider, with bounds.

python -m benchmarks.waiting
"""

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from consortium_mcp import consult
from consortium_mcp.records import Run
from tests.provider import Fault, Provider, verdict

DEADLINE_SECONDS = 5
ANSWER_SECONDS = 6
"""The time limit for an answer when the arbiter hangs and the deadline is `DEADLINE_SECONDS`."""

PATIENCE_SECONDS = 5
"""The patience with a silent member in seconds."""

SILENCE_SECONDS = PATIENCE_SECONDS + 1
"""The time limit for an answer when one member hangs and all others answer at once."""


@dataclass(frozen=True)
class Measured:
    """One consult and its duration."""

    what: str
    bound_seconds: float
    took_seconds: float
    run: Run

    def __str__(self) -> str:
        mark = "within" if self.took_seconds <= self.bound_seconds else "ABOVE"
        lacks = self.run.degraded[0][:90] if self.run.degraded else "nothing"
        return (
            f"{self.what}: {self.took_seconds:.2f} s, {mark} {self.bound_seconds:g} s\n"
            f"    status {self.run.status}, answer {(self.run.answer or '')[:40]!r}, lacks: {lacks}"
        )


def main() -> None:
    """Print each figure; exit with 1 if one is above its bound."""
    with _models() as provider:
        anyio.run(_consult, {})  # imports and connections are not part of the measurement
        measured = [_hung_member(provider), _hung_arbiter(provider)]
    print(f"patience: {PATIENCE_SECONDS} s")
    print(*measured, sep="\n")
    sys.exit(any(one.took_seconds > one.bound_seconds or one.run.answer is None for one in measured))


def _hung_member(provider: Provider) -> Measured:
    provider.on("c", Fault.hang())
    provider.on("arbiter", verdict("of a and b"))
    return _measure("one of three members hangs", SILENCE_SECONDS, {"patience_seconds": PATIENCE_SECONDS})


def _hung_arbiter(provider: Provider) -> Measured:
    provider.on("c", "answer of c")
    provider.on("arbiter", Fault.hang())
    limits = {"deadline_seconds": DEADLINE_SECONDS}
    return _measure(f"the arbiter hangs, the deadline is {DEADLINE_SECONDS} s", ANSWER_SECONDS, limits)


def _measure(what: str, bound_seconds: float, limits: dict[str, Any]) -> Measured:
    began = time.monotonic()
    run = anyio.run(_consult, limits)
    return Measured(what, bound_seconds, time.monotonic() - began, run)


async def _consult(limits: dict[str, Any]) -> Run:
    return await consult("Why?", models=["a", "b", "c"], arbiter="arbiter", **limits)


@contextmanager
def _models() -> Iterator[Provider]:
    """The provider's models in an own llm folder."""
    with tempfile.TemporaryDirectory() as folder, Provider() as provider:
        provider.write_llm_config(Path(folder), ["a", "b", "c"], schema=["arbiter"])
        provider.on("arbiter", verdict())
        os.environ["LLM_USER_PATH"] = folder
        yield provider


if __name__ == "__main__":
    main()
