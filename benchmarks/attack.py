"""A team's server under attack by one caller: how long another one waits for her consults meanwhile, and what is left.

The attacker is a process of its own. The quiet server is measured for as long as the attacked one, since the slowest of
many consults is slower than the slowest of a few.

python -m benchmarks.attack [--minutes 0.5] [--only NAME ...]
"""

import argparse
import hashlib
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

import tests.ready as ready
from benchmarks.attacker import ALL, MALLORY
from benchmarks.figures import Figure, report
from tests.provider import Provider, verdict
from tests.server_process import http_client, http_server, resident_mb, said

ANN = "ann's token, which is long"

MOST_SLOWER = 3.0
"""The largest ratio of the slowest consult under attack to the quiet server's."""

MOST_GROWN = 1.1
"""The largest ratio of the server's memory afterwards to its memory in mid-attack."""

REST_SECONDS = 3.0
"""The seconds of rest before the server's memory is read."""


@dataclass
class Seen:
    """The measurements."""

    quiet: list[float] = field(default_factory=list)
    """Seconds of each consult of the quiet server."""

    attacked: list[float] = field(default_factory=list)
    """Seconds of each consult under attack."""

    statuses: Counter[int] = field(default_factory=Counter)
    """The statuses of the attacker's responses; 0 for a closed connection."""

    memory_mb: list[float] = field(default_factory=list)
    """In the middle of the attack, and afterwards."""

    failed: list[str] = field(default_factory=list)
    """The failures of the other caller."""

    def figures(self) -> list[Figure]:
        """The figures, with their bounds."""
        slower = max(self.attacked) / max(self.quiet)
        grown = self.memory_mb[1] / self.memory_mb[0]
        server_errors = sum(count for status, count in self.statuses.items() if status >= 500)
        return [
            Figure("attack: median consult of a quiet server", "ms", (statistics.median(self.quiet) * 1000,)),
            Figure("attack: slowest consult of a quiet server", "ms", (max(self.quiet) * 1000,)),
            Figure("attack: median consult under attack", "ms", (statistics.median(self.attacked) * 1000,)),
            Figure("attack: slowest consult under attack", "ms", (max(self.attacked) * 1000,)),
            Figure("attack: slowest under attack to slowest of a quiet server", "x", (slower,), most=MOST_SLOWER),
            Figure("attack: consults under attack", "", (float(len(self.attacked)),)),
            Figure("attack: consults that failed", "", (float(len(self.failed)),), most=0),
            Figure("attack: requests of the attacker", "", (float(self.statuses.total()),)),
            Figure("attack: answers of 5xx to the attacker", "", (float(server_errors),), most=0),
            Figure("attack: memory afterwards", "MB", (self.memory_mb[-1],)),
            Figure("attack: memory afterwards to the middle", "x", (grown,), most=MOST_GROWN),
        ]


async def attack(seconds: float, folder: Path, names: Sequence[str]) -> Seen:
    """Measure a quiet server, then one that is attacked, for so long each.

    Args:
        folder: for the database and llm's configuration.
        names: the attacks.
    """
    seen, tokens = Seen(), folder / "tokens"
    known = {"ann": ANN, "mallory": MALLORY}
    tokens.write_text("".join(f"{name}:{hashlib.sha256(one.encode()).hexdigest()}\n" for name, one in known.items()))
    with Provider() as provider:
        provider.write_llm_config(folder, ["a", "arbiter"], schema=["arbiter"])
        provider.on("arbiter", verdict("as they say", confidence=0.9))
        environment = {"LLM_USER_PATH": str(folder), "CONSORTIUM_TOKEN_FILE": str(tokens)}
        with http_server(folder / "stderr", "http", **environment) as (server, url):
            async with http_client(url, "auto", ANN) as ann:
                await _consult(ann, "The first one, which imports?", seen)
                ends = time.monotonic() + seconds
                while time.monotonic() < ends:
                    seen.quiet.append(await _consult(ann, f"Quiet {len(seen.quiet)}?", seen))
                command = [sys.executable, "-m", "benchmarks.attacker", url, str(seconds), *names]
                attacker = await anyio.open_process(command, stderr=None)
                assert attacker.stdout is not None
                await attacker.stdout.receive()
                ends = time.monotonic() + seconds
                while time.monotonic() < ends:
                    seen.attacked.append(await _consult(ann, f"Attacked {len(seen.attacked)}?", seen))
                    if not seen.memory_mb and time.monotonic() > ends - seconds / 2:
                        seen.memory_mb.append(resident_mb(server.pid))
                told = b"".join([part async for part in attacker.stdout]).splitlines()[-1]
                seen.statuses.update({int(status): count for status, count in json.loads(told).items()})
                await anyio.sleep(REST_SECONDS)
                seen.memory_mb.append(resident_mb(server.pid))
    return seen


async def _consult(client: Any, prompt: str, seen: Seen) -> float:
    """The duration of one consult in seconds."""
    began = time.monotonic()
    arguments = {"prompt": prompt, "models": ["a:2"], "arbiter": "arbiter", "wait_seconds": 300}
    result = await client.call_tool("consult_consortium", arguments)
    if result.is_error:
        seen.failed.append(said(result))
    return time.monotonic() - began


def figures(minutes: float, names: Sequence[str] = ALL) -> list[Figure]:
    """What such an attack measures; what failed for the other caller is told on stderr."""
    ready.is_used = False  # the server is a process of its own, so that its memory can be read
    with tempfile.TemporaryDirectory() as folder:
        seen = anyio.run(attack, minutes * 60, Path(folder), names)
    print(dict(seen.statuses), *seen.failed[:10], sep="\n", file=sys.stderr)
    return seen.figures()


def main() -> None:
    """Print the figures; exit with 1 if a bound is broken."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=0.5)
    parser.add_argument("--only", nargs="+", choices=ALL, default=ALL)
    given = parser.parse_args()
    report(figures(given.minutes, given.only))


if __name__ == "__main__":
    main()
