"""Replies that the OpenAI SDK reads itself, brought into its form before it does; `reply_reader.py` reads them."""

import json
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

from consortium_mcp._util.lazy import httpx2
from consortium_mcp.models.reply_faults import redirected
from consortium_mcp.models.reply_reader import ReplyPart, ReplyReader, new_reader

REDIRECTS = (301, 302, 303)
"""Statuses at which clients go on with GET, and without the question."""

_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")


async def read_async(response: Any) -> None:
    """A hook of an asynchronous httpx client: what its caller reads of a reply is in the SDK's form."""
    read(response)


def read(response: Any) -> None:
    """A hook of an httpx client: what its caller reads of a reply is in the SDK's form.

    Replies with an error's status, and those to other questions than chat completions, stay as they are.
    """
    request = response.request
    if response.status_code in REDIRECTS and request.method == "POST" and "location" in response.headers:
        raise redirected(response.headers["location"])
    if not 200 <= response.status_code < 300 or not request.url.path.endswith("/chat/completions"):
        return
    streams = bool(json.loads(request.content).get("stream"))
    # A response of its own undoes the content's encoding.
    arriving = httpx2.Response(response.status_code, headers=response.headers, stream=response.stream, request=request)
    response.stream = _stream_of(arriving, new_reader(), streams)
    for name in ("content-encoding", "content-length"):
        response.headers.pop(name, None)
    response.headers["content-type"] = "text/event-stream" if streams else "application/json"


def _stream_of(arriving: Any, reader: ReplyReader, streams: bool) -> Any:
    """A stream for httpx clients of both kinds; httpx is imported where the first one is needed."""

    class ReadStream(httpx2.SyncByteStream, httpx2.AsyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            pieces = _Pieces(streams)
            try:
                for chunk in arriving.iter_bytes():
                    yield from pieces.sent(reader.feed(chunk))
                    if reader.has_ended:
                        break
                yield from pieces.sent(_rest(reader))
            except httpx2.TransportError:
                if not reader.is_whole:
                    raise
            yield pieces.end()

        async def __aiter__(self) -> AsyncIterator[bytes]:
            pieces = _Pieces(streams)
            try:
                async for chunk in arriving.aiter_bytes():
                    for sent in pieces.sent(reader.feed(chunk)):
                        yield sent
                    if reader.has_ended:
                        break
                for sent in pieces.sent(_rest(reader)):
                    yield sent
            except httpx2.TransportError:
                if not reader.is_whole:
                    raise
            yield pieces.end()

        def close(self) -> None:
            arriving.close()

        async def aclose(self) -> None:
            await arriving.aclose()

    return ReadStream()


def _rest(reader: ReplyReader) -> Iterable[ReplyPart]:
    return () if reader.has_ended else reader.end()


class _Pieces:
    """The pieces of a reply as the SDK reads them: events, or one completion."""

    def __init__(self, streams: bool) -> None:
        self._streams = streams
        self._envelope: dict[str, Any] = {}
        self._content: list[str] = []
        self._finish_reason: str | None = None

    def sent(self, pieces: Iterable[ReplyPart]) -> Iterator[bytes]:
        """What can be handed on now."""
        for piece in pieces:
            if self._streams:
                yield b"data: " + json.dumps(piece).encode() + b"\n\n"
                continue
            self._envelope.update({name: value for name, value in piece.items() if name != "choices"})
            for choice in piece["choices"]:
                self._content.append(choice["delta"].get("content") or "")
                self._finish_reason = choice["finish_reason"] or self._finish_reason

    def end(self) -> bytes:
        """What ends the reply, or the reply itself where it is not streamed."""
        if self._streams:
            return b"data: [DONE]\n\n"
        message = {"role": "assistant", "content": "".join(self._content)}
        choice = {"index": 0, "message": message, "finish_reason": self._finish_reason, "logprobs": None}
        whole = {"usage": dict.fromkeys(_COUNTS), **self._envelope, "object": "chat.completion", "choices": [choice]}
        return json.dumps(whole).encode()
