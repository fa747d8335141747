"""A provider in its own process that answers after a fixed time and uses almost no processor time.

python benchmarks/consulting/provider.py
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MEMBER_SECONDS, ARBITER_SECONDS = 0.2, 0.1
CRITICAL_PATH_SECONDS = MEMBER_SECONDS + ARBITER_SECONDS
"""The critical path: the lower limit for a consult of one iteration."""

ANSWER = "A POST may be sent again when the server can tell that it is the same one, by a key that the client chose. "
PIECES = 5
"""The number of chunks of a streamed reply."""

LONG_PIECES = 400
LONG = f"in {LONG_PIECES} pieces"
"""The number of chunks of the long reply to a prompt with these words."""

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n"


class _Conversation(asyncio.Protocol):
    """One connection, which answers one request after another after the fixed time."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._received = b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, rest = self._received.partition(b"\r\n\r\n")
        if not separator:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
        if len(rest) < length:
            return
        self._received = rest[length:]
        request = json.loads(rest[:length])
        seconds = ARBITER_SECONDS if request["model"] == "arbiter" else MEMBER_SECONDS
        reply = _REPLIES[request["model"], _streams(request), LONG.encode() in rest]
        asyncio.get_running_loop().call_later(seconds, self._answer, reply)

    def _answer(self, reply: bytes) -> None:
        assert isinstance(self._transport, asyncio.Transport)
        if not self._transport.is_closing():
            self._transport.write(reply)


def _verdict(times: int) -> str:
    """The arbiter's reply, with the answer repeated this many times."""
    fields = {"confidence": 0.9, "analysis": "They agree.", "dissent": "", "needs_iteration": False}
    return json.dumps({"synthesis": ANSWER * times, **fields, "refinement_areas": []})


def _streams(request: dict[str, object]) -> bool:
    return bool(request.get("stream"))


def _reply(model: str, text: str, stream: bool, pieces: int) -> bytes:
    common = {"id": "1", "created": 1, "model": model}
    usage = {"prompt_tokens": 20, "completion_tokens": 30, "total_tokens": 50}
    if not stream:
        message = {"role": "assistant", "content": text}
        choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
        body = json.dumps({**common, "object": "chat.completion", "choices": choices, "usage": usage}).encode()
        return _HEAD % (b"application/json", len(body)) + body
    common["object"] = "chat.completion.chunk"
    size = -(-len(text) // pieces)
    deltas = [{"role": "assistant", "content": ""}]
    deltas += [{"content": text[begin : begin + size]} for begin in range(0, len(text), size)]
    events = [{**common, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    events.append({**common, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    events.append({**common, "choices": [], "usage": usage})
    body = "".join(f"data: {json.dumps(event)}\n\n" for event in events).encode() + b"data: [DONE]\n\n"
    return _HEAD % (b"text/event-stream", len(body)) + body


_REPLIES = {
    (model, stream, is_long): _reply(model, text, stream, LONG_PIECES if is_long else PIECES)
    for is_long in (False, True)
    for model, text in (("member", ANSWER * (20 if is_long else 1)), ("arbiter", _verdict(20 if is_long else 1)))
    for stream in (False, True)
}


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(_Conversation, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def provider(folder: Path) -> Iterator[str]:
    """Start the provider, and make the folder an LLM_USER_PATH with models `member` and `arbiter`; yields its URL."""
    with subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = f"http://127.0.0.1:{process.stdout.readline().strip()}/v1"
            models = [
                {"model_id": model, "model_name": model, "api_base": url, "supports_schema": model == "arbiter"}
                for model in ("member", "arbiter")
            ]
            (folder / "extra-openai-models.yaml").write_text(json.dumps(models))  # JSON is YAML
            yield url
        finally:
            process.terminate()


if __name__ == "__main__":
    asyncio.run(_serve())
