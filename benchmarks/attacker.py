"""One caller who attacks a team's server with all it has; a process of its own, whose work holds up no measurement.

python -m benchmarks.attacker URL SECONDS [NAME ...]
"""

import argparse
import json
import socket
import time
from collections import Counter
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx2

from tests.server_process import INITIALIZE, JSON

MALLORY = "mallory's token, which is long"

STREAMS = "many streams"
SLOW_BODIES = "slow bodies"


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


async def attack(url: str, seconds: float, names: Collection[str]) -> Counter[int]:
    """The statuses that the attacker got; 0 where the connection was cut.

    Args:
        names: the attacks that run side by side.
    """
    statuses: Counter[int] = Counter()
    ends = time.monotonic() + seconds
    async with anyio.create_task_group() as group:
        for name, request in REQUESTS.items():
            if name in names:
                group.start_soon(_send_until, ends, url, request, statuses)
        if STREAMS in names:
            group.start_soon(_hold_streams, ends, url, statuses)
        if SLOW_BODIES in names:
            group.start_soon(_dribble_until, ends, url)
    return statuses


def _client() -> httpx2.AsyncClient:
    return httpx2.AsyncClient(headers={**JSON, "Authorization": f"Bearer {MALLORY}"}, timeout=60, verify=False)


async def _send_until(ends: float, url: str, request: dict[str, Any], statuses: Counter[int]) -> None:
    """Send one request again and again, in a session of its own unless it opens one."""
    content = json.dumps(request).encode()
    session: dict[str, str] = {}
    async with _client() as client:
        while time.monotonic() < ends:
            try:
                session = session or await _session(client, url)
                response = await client.post(url, content=content, headers={} if request is INITIALIZE else session)
                statuses[response.status_code] += 1
            except httpx2.HTTPError:
                statuses[0] += 1


async def _hold_streams(ends: float, url: str, statuses: Counter[int]) -> None:
    """Hold as many streams as are given until the end."""
    async with _client() as client, anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(partial(_hold_stream, client, ends, url, statuses))


async def _hold_stream(client: httpx2.AsyncClient, ends: float, url: str, statuses: Counter[int]) -> None:
    try:
        async with client.stream("GET", url, headers=await _session(client, url)) as response:
            statuses[response.status_code] += 1
            await anyio.sleep(max(0, ends - time.monotonic()))
    except httpx2.HTTPError:
        statuses[0] += 1


async def _session(client: httpx2.AsyncClient, url: str) -> dict[str, str]:
    """The header of a new session; the server refuses it if it has opened none."""
    opened = await client.post(url, json=INITIALIZE)
    return {"Mcp-Session-Id": opened.headers.get("mcp-session-id", "none")}


async def _dribble_until(ends: float, url: str) -> None:
    """Send a hundred bodies, a few bytes a second each."""
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


ALL = (*REQUESTS, STREAMS, SLOW_BODIES)
"""The names of all attacks."""


def main() -> None:
    """Print a line when all is imported, attack, then print the statuses as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("seconds", type=float)
    parser.add_argument("names", nargs="*")
    given = parser.parse_args()
    print("ready", flush=True)  # the imports are no attack
    print(json.dumps(anyio.run(attack, given.url, given.seconds, given.names or ALL)))


if __name__ == "__main__":
    main()
