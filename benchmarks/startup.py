"""The start time of a process: the server until its list of tools, and `llm` with our plugin.

Each is compared with its lower limit, in turn: an SDK server with one tool, and llm without the plugin.

python -m benchmarks.startup
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from benchmarks.figures import Figure, interleaved, ratios, report

REPETITIONS = 15

COLD_REPETITIONS = 3
"""Each repetition takes some seconds to compile everything."""

BARE = """
from mcp.server import MCPServer
server = MCPServer("bare")
@server.tool()
def add(a: int, b: int) -> int:
    "Add two numbers."
    return a + b
server.run()
"""

SERVERS = {"bare": [sys.executable, "-c", BARE], "ours": [sys.executable, "-m", "consortium_mcp"]}

_CLIENT = {"name": "benchmarks", "version": "1"}
_META = {
    "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": _CLIENT,
        "io.modelcontextprotocol/clientCapabilities": {},
    }
}
_HELLO = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": _CLIENT}

REQUESTS = {
    "2025-11-25": [{"method": "initialize", "params": _HELLO}, {"method": "tools/list", "params": {}}],
    "2026-07-28": [{"method": "server/discover", "params": _META}, {"method": "tools/list", "params": _META}],
}
"""The first requests of a client, by protocol revision."""

LLM = "import sys; sys.argv = ['llm', '--version']; from llm.cli import cli; cli()"
WITHOUT_PLUGIN = "import llm.plugins as plugins; plugins.pm.set_blocked('consortium'); "


def figures(repetitions: int = REPETITIONS) -> list[Figure]:
    """All figures, in an empty llm folder."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "LLM_USER_PATH": folder}
        return [
            *(figure for era in REQUESTS for figure in _list_figures(era, environment, repetitions)),
            *_llm_figures(environment, repetitions),
            *_cold_figures(environment, min(repetitions, COLD_REPETITIONS)),
        ]


def main() -> None:
    """Print the figures; exit with 1 if a bound is broken."""
    report(figures())


def _list_figures(era: str, environment: Mapping[str, str], repetitions: int) -> list[Figure]:
    sides: dict[str, Callable[[], float]] = {
        name: partial(list_ms, command, era, environment) for name, command in SERVERS.items()
    }
    ms = interleaved(sides, repetitions)
    what = f"process start to the answer of tools/list, {era}"
    return [
        Figure(f"{what}: SDK alone", "ms", tuple(ms["bare"])),
        Figure(f"{what}: ours", "ms", tuple(ms["ours"])),
        Figure(f"{what}: ours over SDK alone", "x", ratios(ms["ours"], ms["bare"]), most=1.1),
    ]


def _llm_figures(environment: Mapping[str, str], repetitions: int) -> list[Figure]:
    sides: dict[str, Callable[[], float]] = {
        "without": partial(_run_ms, WITHOUT_PLUGIN + LLM, environment),
        "with": partial(_run_ms, LLM, environment),
    }
    ms = interleaved(sides, repetitions)
    return [
        Figure("llm --version: without the plugin", "ms", tuple(ms["without"])),
        Figure("llm --version: with the plugin", "ms", tuple(ms["with"])),
        Figure("llm --version: with over without", "x", ratios(ms["with"], ms["without"]), most=1.05),
    ]


def _cold_figures(environment: Mapping[str, str], repetitions: int) -> list[Figure]:
    """The first start after an installation without compiled files."""
    with tempfile.TemporaryDirectory() as empty:
        cold = {**environment, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPYCACHEPREFIX": empty}
        sides: dict[str, Callable[[], float]] = {
            name: partial(list_ms, command, "2025-11-25", cold) for name, command in SERVERS.items()
        }
        ms = interleaved(sides, repetitions, warm_up=0)
    what = "process start to the answer of tools/list, nothing compiled"
    return [Figure(f"{what}: SDK alone", "ms", tuple(ms["bare"])), Figure(f"{what}: ours", "ms", tuple(ms["ours"]))]


def list_ms(command: list[str], era: str, environment: Mapping[str, str]) -> float:
    """Milliseconds from the start of a server's process until its list of tools has been read."""
    began = time.perf_counter()
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=dict(environment)
    ) as process:
        for number, request in enumerate(REQUESTS[era]):
            answer = _answer(process, {"jsonrpc": "2.0", "id": number, **request})
        took = (time.perf_counter() - began) * 1000
        process.kill()
    assert answer["result"]["tools"]
    return took


def _answer(process: subprocess.Popen[bytes], request: Mapping[str, Any]) -> dict[str, Any]:
    """The response to a request; messages before it are skipped."""
    assert process.stdin and process.stdout
    process.stdin.write(json.dumps(request).encode() + b"\n")
    process.stdin.flush()
    for line in process.stdout:
        message: dict[str, Any] = json.loads(line)
        if message.get("id") == request["id"]:
            return message
    raise EOFError(f"the server ended without an answer to {request['method']}")


def _run_ms(code: str, environment: Mapping[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL, env=dict(environment))
    return (time.perf_counter() - began) * 1000


if __name__ == "__main__":
    main()
