"""The battery of replies: each is sent byte for byte, and its result in a run is compared with the expected one.

`python -m tests.replies` prints both as a table.
"""

import asyncio
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

from consortium_mcp._util.timing import Timing
from consortium_mcp.service.service import ConsortiumService
from consortium_mcp.settings import load_settings
from tests.consulted import performed
from tests.provider import verdict
from tests.scripted import asking

CASES = Path(__file__).parent / "cases" / "replies.jsonl"

NOT_STREAMED = "not streamed"
"""The way of models with `can_stream: false`, which get the same bytes."""

WAYS = {"direct": "1", "by the SDK": "0", NOT_STREAMED: "1"}
"""The ways of reading replies, and the switch that chooses each."""


IN_ONE_RUN = 200
"""The number of replies in one run; a run may ask 256."""


async def _no_pause(seconds: float) -> None:
    await asyncio.sleep(0)


AT_ONCE = Timing(pause=_no_pause)
"""Attempts follow at once, even if the provider names a wait."""


@dataclass(frozen=True)
class Made:
    """The actual or expected result of a reply in a run."""

    text: str | None
    thinking: str | None
    kind: str | None
    attempts: int
    says: str | None
    """The error's sentence; None where there is none."""


@dataclass(frozen=True)
class Case:
    """A reply and its expected result, written by hand before it was run."""

    name: str
    response: bytes
    expected: Made


def cases() -> list[Case]:
    """The battery."""
    lines = [json.loads(line) for line in CASES.read_text(encoding="utf-8").splitlines()]
    return [Case(line.pop("case"), line.pop("response").encode("latin-1"), Made(**line)) for line in lines]


class RawEndpoint:
    """An endpoint that answers the model of each case with the case's bytes, and then closes the connection."""

    def __init__(self, responses: dict[str, bytes]) -> None:
        self._responses = responses
        self.requests: Counter[str] = Counter()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request and its response."""
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        model = json.loads(await reader.readexactly(length))["model"]
        self.requests[model] += 1
        writer.write(self._responses[model])
        await writer.drain()
        writer.close()


def made_of(battery: list[Case], way: str) -> dict[str, Made]:
    """What runs make of every case, each the reply of a member of its own."""
    made: dict[str, Made] = {}
    for start in range(0, len(battery), IN_ONE_RUN):
        with _llm_of_its_own(way):
            made |= asyncio.run(_made_of(battery[start : start + IN_ONE_RUN], streams=way != NOT_STREAMED))
    return made


def is_right(one: Made, expected: Made, way: str) -> bool:
    """Whether a reply was read as expected; a failed call that is not streamed need not keep a part of the text."""
    if way == NOT_STREAMED and expected.kind and one.text is None:
        expected = replace(expected, text=None, thinking=one.thinking)
    return one == expected


async def _made_of(battery: list[Case], streams: bool) -> dict[str, Made]:
    endpoint = RawEndpoint({f"m{number}": case.response for number, case in enumerate(battery)} | GOOD)
    server = await asyncio.start_server(endpoint.serve, "127.0.0.1", 0)
    models = [f"m{number}" for number in range(len(battery))]
    write_config(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", [*models, *GOOD], streams=streams)
    with ConsortiumService(load_settings(None), timing=AT_ONCE) as service:
        opened = await asyncio.to_thread(
            service.opener.open_run, asking("Why?", models=[*models, "whole"], arbiter="arbiter", max_iterations=1)
        )
        run = await performed(service, opened.run_id)
    server.close()
    return {
        case.name: Made(
            response.text, response.thinking, response.error_kind, endpoint.requests[response.model], response.error
        )
        for case, response in zip(battery, run.iterations[0].responses, strict=False)
    }


def _streamed(text: str) -> bytes:
    piece = {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": "stop"}]}
    head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
    return f"{head}data: {json.dumps(piece)}\n\ndata: [DONE]\n\n".encode()


GOOD = {"whole": _streamed("Answer: 42"), "arbiter": _streamed(verdict("It is 42."))}
"""A member and an arbiter without any fault, so that the run has an answer."""


@contextmanager
def _llm_of_its_own(way: str) -> Iterator[None]:
    """A folder for llm and our store, and the switch of the way."""
    known = {name: value for name, value in os.environ.items() if not name.startswith("CONSORTIUM_")}
    with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, known, clear=True):
        os.environ |= {"LLM_USER_PATH": folder, "CONSORTIUM_DIRECT_STREAMING": WAYS[way], "NO_PROXY": "127.0.0.1"}
        yield


def write_config(url: str, models: Sequence[str], responses: Sequence[str] = (), streams: bool = True) -> None:
    """Name models behind an address in llm's configuration; some are asked by OpenAI's Responses API."""
    lines = [
        {
            "model_id": model,
            "model_name": model,
            "api_base": url,
            "responses": model in responses,
            "can_stream": streams,
        }
        for model in (*models, *responses)
    ]
    folder = Path(os.environ["LLM_USER_PATH"])
    (folder / "extra-openai-models.yaml").write_text(json.dumps(lines))  # JSON is YAML


def main() -> None:
    """Print the table of every way; the exit status is 1 if a result differs from the expected one."""
    battery, wrong = cases(), 0
    for way in WAYS:
        made = made_of(battery, way)
        sys.stdout.write(f"\n{way}\n\n{'case':34} {'kind':18} {'attempts':9} sentence, or text\n")
        for case in battery:
            one = made[case.name]
            wrong += not is_right(one, case.expected, way)
            mark = "" if is_right(one, case.expected, way) else f"   WRONG, expected {case.expected}, got {one}"
            said = one.says or f"{one.text!r}"
            sys.stdout.write(f"{case.name:34} {one.kind or 'whole':18} {one.attempts:<9} {said[:150]}{mark}\n")
        kinds = Counter(one.kind or "whole" for one in made.values())
        sys.stdout.write(f"\n{len(made)} replies: {', '.join(f'{kinds[kind]} {kind}' for kind in sorted(kinds))}\n")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
