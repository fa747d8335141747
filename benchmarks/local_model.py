"""Four instances of the embedded model at once, compared with llama.cpp's own server: tokens per second.

python -m benchmarks.local_model

The server is the one in xllamacpp, in its own process, called over HTTP. It has llama.cpp's defaults, and the same
weights, slots, slot length and threads as our side. Both sides get the same requests.
"""

import asyncio
import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import xllamacpp

from benchmarks.figures import Figure, interleaved, ratios, report
from consortium_mcp import consult
from consortium_mcp.models.local import engine
from consortium_mcp.models.local.model import AsyncLocalModel
from consortium_mcp.models.local.weights import fetch_weights
from consortium_mcp.records import Run
from consortium_mcp.records.consortium import Consortium, Member

INSTANCES = engine.SLOTS
OPTIONS: dict[str, Any] = {"temperature": 0.2, "top_p": 0.9, "max_tokens": 40}

LEAST = 0.9
"""The smallest ratio of our tokens per second to the server's."""

SYSTEM = "You are a storyteller. Tell every story at length."
SHORT = "Tell me a long story about the sea."
LONG = "\n".join(
    f"In year {year} of the chronicle the river rose by {year * 7 % 13} feet, and the farmers were worried."
    for year in range(8)
)
"""A prompt of some 250 tokens, which takes longer to read than its reply takes to write."""

Measure = Callable[[], float]


def figures(repetitions: int = 5) -> list[Figure]:
    """Our replies to short and long prompts compared with the server's, and the members of a whole consult."""
    weights = fetch_weights()
    with _server(weights) as ask_server, _own_llm():
        short = _compared(ask_server, partial(_short, "Nemo"), partial(_ask_ours, weights), repetitions, seed=True)
        consulted = _compared(ask_server, partial(_short, "Sindbad"), _consult, repetitions)
        long = _compared(ask_server, _long, partial(_ask_ours, weights), repetitions // 2, warm_up=0)
    return [
        Figure("llama.cpp's server: four replies to a short prompt", "per s", tuple(short["server"])),
        Figure("the local model: four replies to a short prompt", "per s", tuple(short["ours"])),
        Figure("llama.cpp's server: four replies to a long prompt", "per s", tuple(long["server"])),
        Figure("the local model: four replies to a long prompt", "per s", tuple(long["ours"])),
        _ratio("a short prompt, a seed for each", short),
        _ratio("the members of a consult", consulted),
        _ratio("a long prompt", long),
    ]


def _ratio(what: str, values: dict[str, list[float]]) -> Figure:
    named = f"the local model beside llama.cpp's server: {what}"
    return Figure(named, "x", ratios(values["ours"], values["server"]), least=LEAST, higher_is_better=True)


def _compared(
    server: Callable[..., float],
    prompts: Callable[[], Iterator[str]],
    ours: Callable[..., float],
    repetitions: int,
    seed: bool = False,
    warm_up: int = 1,
) -> dict[str, list[float]]:
    asked = {side: prompts() for side in ("server", "ours")}  # equal for both sides; a repeated one would be cached
    sides: dict[str, Measure] = {
        "server": lambda: server(next(asked["server"]), seed),
        "ours": lambda: ours(next(asked["ours"]), seed),
    }
    return interleaved(sides, repetitions, warm_up)


def _short(hero: str) -> Iterator[str]:
    return (f"{hero} {number}: {SHORT}" for number in range(100))


def _long() -> Iterator[str]:
    return (f"Chronicle {number}:\n{LONG}\nRetell the whole chronicle." for number in range(100))


# Our side


def _ask_ours(weights: Path, prompt: str, seed: bool) -> float:
    model = AsyncLocalModel(weights)

    async def ask(number: int) -> int:
        response = model.prompt(prompt, system=SYSTEM, **OPTIONS, **_seed(seed, number))
        await response.text()
        return (await response.usage()).output or 0

    async def ask_all() -> float:
        began = time.perf_counter()
        tokens = await asyncio.gather(*(ask(number) for number in range(INSTANCES)))
        return sum(tokens) / (time.perf_counter() - began)

    return asyncio.run(ask_all())


def _consult(prompt: str, _: bool) -> float:
    members = Member(model="consortium-local", count=INSTANCES, options=OPTIONS)
    panel = Consortium(members=(members,), system_prompt=SYSTEM, max_iterations=1, judging_method="vote")
    return _members_tokens_per_second(asyncio.run(consult(prompt, consortium=panel)))


def _members_tokens_per_second(run: Run) -> float:
    responses = run.iterations[0].responses
    tokens = sum(response.output_tokens or 0 for response in responses)
    return tokens * 1000 / max(response.duration_ms or 0 for response in responses)


def _seed(wanted: bool, number: int) -> dict[str, Any]:
    return {"seed": number} if wanted else {}


@contextmanager
def _own_llm() -> Iterator[None]:
    """An own llm folder for the consults."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LLM_USER_PATH"] = folder
        yield


# llama.cpp's server


@contextmanager
def _server(weights: Path) -> Iterator[Callable[[str, bool], float]]:
    """The server in its own process; yields a function that calls it."""
    command = [sys.executable, "-c", "from benchmarks.local_model import serve; serve()", str(weights)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stdout
        address = process.stdout.readline().strip().removeprefix("http://")
        yield partial(_ask_server, address)
        process.stdin.close()


def serve() -> None:
    """Serve the file in the arguments until stdin ends; print the address."""
    params = xllamacpp.CommonParams()
    params.model.path = sys.argv[1]
    params.n_parallel = engine.SLOTS
    params.n_ctx = engine.SLOTS * engine.SLOT_TOKENS
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = engine.idle_cores()
    params.verbosity = -1
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()


def _ask_server(address: str, prompt: str, seed: bool) -> float:
    began = time.perf_counter()
    with ThreadPoolExecutor(INSTANCES) as clients:
        tokens = sum(clients.map(lambda number: _stream(address, prompt, _seed(seed, number)), range(INSTANCES)))
    return tokens / (time.perf_counter() - began)


def _stream(address: str, prompt: str, seed: dict[str, Any]) -> int:
    """Read one streamed reply; returns its number of tokens."""
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": prompt}]
    asked = {"messages": messages, "stream": True, "stream_options": {"include_usage": True}}
    connection = http.client.HTTPConnection(address)
    body = json.dumps(asked | OPTIONS | engine.AGAINST_LOOPS | seed)
    connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
    tokens = 0
    for line in connection.getresponse():
        if line.startswith(b"data: {"):
            usage = json.loads(line.removeprefix(b"data: ")).get("usage") or {}
            tokens = usage.get("completion_tokens", tokens)
    connection.close()
    return tokens


def main() -> None:
    """Print the figures; exit with 1 if one is out of its bounds."""
    report(figures())


if __name__ == "__main__":
    main()
