"""A team's server under attack by one caller: how long another one waits for her consults meanwhile, and what is left.

python -m benchmarks.attack [--minutes 0.5]
"""

import argparse
import hashlib
import json
import socket
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx2

import tests.ready as ready
from benchmarks.figures import Figure, report
from tests.provider import Provider, verdict
from tests.server_process import INITIALIZE, JSON, http_client, http_server, resident_mb, said

ANN, MALLORY = "ann's token, which is long", "mallory's token, which is long"

QUIET_CONSULTS = 20
"""How many consults the quiet server is measured by."""

MOST_SLOWER = 3.0
"""How many times longer the slowest consult may take under attack."""

MOST_GROWN = 1.1
"""How many times its memory of the middle of the attack the server may have afterwards."""

REST_SECONDS = 3.0
"""How long the server rests before its memory is looked at."""


@dataclass
class Seen:
    """What was measured."""

    quiet: list[float] = field(default_factory=list)
    """Seconds of each consult of the quiet server."""

    attacked: list[float] = field(default_factory=list)
    """Seconds of each consult under attack."""

    statuses: Counter[int] = field(default_factory=Counter)
    """What the attacker was answered; 0 where the connection was cut."""

    memory_mb: list[float] = field(default_factory=list)
    """In the middle of the attack, and afterwards."""

    failed: list[str] = field(default_factory=list)
    """What went wrong for the other caller."""

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


def called(tool: str, **arguments: Any) -> dict[str, Any]:
    """The request that calls a tool."""
    params = {"name": tool, "arguments": arguments}
    return {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params}


REQUESTS: Mapping[str, dict[str, Any]] = {
    "a query of 3 MB": called("list_runs", query="a " * 1_500_000),
    "the longest query": called("list_runs", query="a* " * 50),
    "a pattern's worst text": called("\x1b]" * 50_000 + "\n"),
    "a pattern's worst text as an argument": called("list_runs", **{"\x1b]" * 50_000 + "\n": 1}),
    "a prompt of 3 MB": called("consult_consortium", prompt="x" * 3_000_000, dry_run=True),
    "thousands of backups": called("consult_consortium", prompt="?", models=["a|" * 9_000 + "a"], dry_run=True),
    "a deep schema": called("consult_consortium", prompt="?", output_schema={"a": [[[[{}]]]] * 5_000}, dry_run=True),
    "a new session": INITIALIZE,
}
"""What the attacker sends, one after another, as quickly as it is answered."""


async def attack(seconds: float, folder: Path) -> Seen:
    """Measure a quiet server, then one that is attacked for so long.

    Args:
        folder: for the database and llm's configuration.
    """
    seen, tokens = Seen(), folder / "tokens"
    names = {"ann": ANN, "mallory": MALLORY}
    tokens.write_text("".join(f"{name}:{hashlib.sha256(one.encode()).hexdigest()}\n" for name, one in names.items()))
    with Provider() as provider:
        provider.write_llm_config(folder, ["a", "arbiter"], schema=["arbiter"])
        provider.on("arbiter", verdict("as they say", confidence=0.9))
        environment = {"LLM_USER_PATH": str(folder), "CONSORTIUM_TOKEN_FILE": str(tokens)}
        with http_server(folder / "stderr", "http", **environment) as (server, url):
            async with http_client(url, "auto", ANN) as ann:
                for number in range(QUIET_CONSULTS + 1):
                    seen.quiet.append(await _consult(ann, f"Quiet {number}?", seen))
                del seen.quiet[0]  # the first one imports
                ends = time.monotonic() + seconds
                async with anyio.create_task_group() as group:
                    for request in REQUESTS.values():
                        group.start_soon(_send_until, ends, url, request, seen)
                    group.start_soon(_hold_streams, ends, url, seen)
                    group.start_soon(_dribble_until, ends, url)
                    number = 0
                    while time.monotonic() < ends:
                        seen.attacked.append(await _consult(ann, f"Attacked {number}?", seen))
                        number += 1
                        if not seen.memory_mb and time.monotonic() > ends - seconds / 2:
                            seen.memory_mb.append(resident_mb(server.pid))
                await anyio.sleep(REST_SECONDS)
                seen.memory_mb.append(resident_mb(server.pid))
    return seen


async def _consult(client: Any, prompt: str, seen: Seen) -> float:
    """How long one consult takes, in seconds."""
    began = time.monotonic()
    arguments = {"prompt": prompt, "models": ["a:2"], "arbiter": "arbiter", "wait_seconds": 300}
    result = await client.call_tool("consult_consortium", arguments)
    if result.is_error:
        seen.failed.append(said(result))
    return time.monotonic() - began


def _attacker() -> httpx2.AsyncClient:
    return httpx2.AsyncClient(headers={**JSON, "Authorization": f"Bearer {MALLORY}"}, timeout=60, verify=False)


async def _send_until(ends: float, url: str, request: dict[str, Any], seen: Seen) -> None:
    """Send one request again and again, each time in a session that is opened for it where that is possible."""
    content = json.dumps(request).encode()  # once: the attacker's work is not to hold up the one who is measured
    async with _attacker() as client:
        opened = await client.post(url, json=INITIALIZE)
        session = {"Mcp-Session-Id": opened.headers.get("mcp-session-id", "none")}
        while time.monotonic() < ends:
            try:
                response = await client.post(url, content=content, headers={} if request is INITIALIZE else session)
                seen.statuses[response.status_code] += 1
            except httpx2.HTTPError:
                seen.statuses[0] += 1


async def _hold_streams(ends: float, url: str, seen: Seen) -> None:
    """Hold as many streams as are given until the end."""
    async with _attacker() as client, anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(partial(_hold_stream, client, ends, url, seen))


async def _hold_stream(client: httpx2.AsyncClient, ends: float, url: str, seen: Seen) -> None:
    opened = await client.post(url, json=INITIALIZE)
    session = {"Mcp-Session-Id": opened.headers.get("mcp-session-id", "none")}
    async with client.stream("GET", url, headers=session) as response:
        seen.statuses[response.status_code] += 1
        await anyio.sleep(max(0, ends - time.monotonic()))


async def _dribble_until(ends: float, url: str) -> None:
    """Send a hundred bodies, a byte a second."""
    host, _, port = urlsplit(url).netloc.partition(":")
    lines = f"Host: {host}:{port}\r\nAuthorization: Bearer {MALLORY}\r\nContent-Length: 4000000"
    head = f"POST /mcp HTTP/1.1\r\n{lines}\r\n\r\n"
    open_ones: list[socket.socket] = []
    while time.monotonic() < ends:
        if len(open_ones) < 100:
            open_ones.append(socket.create_connection((host, int(port))))
            open_ones[-1].sendall(head.encode())
        for one in list(open_ones):
            try:
                one.sendall(b"{")
            except OSError:
                one.close()
                open_ones.remove(one)
        await anyio.sleep(min(0.2, max(0, ends - time.monotonic())))
    for one in open_ones:
        one.close()


def figures(minutes: float) -> list[Figure]:
    """What such an attack measures; what failed for the other caller is told on stderr."""
    ready.is_used = False  # the server is a process of its own, whose memory can be looked at
    with tempfile.TemporaryDirectory() as folder:
        seen = anyio.run(attack, minutes * 60, Path(folder))
    print(dict(seen.statuses), *seen.failed[:10], sep="\n", file=sys.stderr)
    return seen.figures()


def main() -> None:
    """Print the figures; exit with 1 where a bound is broken."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=0.5)
    report(figures(parser.parse_args().minutes))


if __name__ == "__main__":
    main()
