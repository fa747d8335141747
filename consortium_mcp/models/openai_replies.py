"""Converts replies to the SDK's form before the OpenAI SDK reads them; `reply_reader.py` parses them."""

import json
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

from consortium_mcp._util.lazy import httpx2
from consortium_mcp.models.reply_bounds import (
    MOST_BYTES,
    MOST_OF_ERROR,
    Decoder,
    leaves_its_server,
    refuse_media,
    too_large,
)
from consortium_mcp.models.reply_faults import is_web_address, redirected
from consortium_mcp.models.reply_reader import ReplyPart, ReplyReader
from consortium_mcp.models.responses_reader import ResponsesReader
from consortium_mcp.models.watching import new_reader, new_responses_reader

REDIRECTS = (301, 302, 303)
"""Redirect statuses that clients follow with GET, without the question."""

MOVED = (307, 308)
"""Redirect statuses that repeat the same question at another address."""

MOST_REDIRECTS = 3
"""The largest number of redirects; all must lead to the same server."""

_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")


async def read_async(response: Any) -> None:
    """A hook of an asynchronous httpx client that converts a reply to the SDK's form."""
    read(response)


def read(response: Any) -> None:
    """A hook of an httpx client that bounds a reply and converts it to the SDK's form.

    Replies with an error status, and those of other endpoints than chat completions, keep their form.
    """
    request, headers = response.request, response.headers
    check_redirect(response.status_code, headers, str(request.url))
    is_reply = 200 <= response.status_code < 300
    decoder = Decoder(headers.pop("content-encoding", None))
    headers.pop("content-length", None)
    # A response of our own reads the original stream once; some streams do not end a second time.
    arriving = httpx2.Response(response.status_code, headers=headers, stream=response.stream, request=request)
    if not is_reply or not request.url.path.endswith(("/chat/completions", "/responses")):
        response.stream = _bounded(arriving, decoder, is_error=not is_reply)
        return
    refuse_media(headers)
    streams = bool(json.loads(request.content).get("stream"))
    if request.url.path.endswith("/responses"):
        response.stream = _bounded(arriving, decoder, is_error=False, reader=new_responses_reader(streams))
        return
    response.stream = _stream_of(arriving, decoder, new_reader(), streams)
    headers["content-type"] = "text/event-stream" if streams else "application/json"


def check_redirect(status: int, headers: Any, asked: str) -> None:
    """Raise ReplyFault at a redirect that would lose the question, lead nowhere, or reach another server."""
    location = headers.get("location")
    if not location or status not in (*REDIRECTS, *MOVED):
        return
    if status in REDIRECTS or not is_web_address(location) or leaves_its_server(asked, location):
        raise redirected(location)


def _bounded(arriving: Any, decoder: Decoder, is_error: bool, reader: ResponsesReader | None = None) -> Any:
    """The stream of a body in its own form; an error's body is cut at the limit.

    Args:
        reader: also reads the body; None for a body that only the client reads.
    """

    class BoundedStream(httpx2.SyncByteStream, httpx2.AsyncByteStream):
        _left = MOST_OF_ERROR if is_error else MOST_BYTES

        def __iter__(self) -> Iterator[bytes]:
            for chunk in arriving.iter_raw():
                yield from self._pieces(chunk)
                if self._left <= 0:
                    return
            if reader is not None:
                reader.end()

        async def __aiter__(self) -> AsyncIterator[bytes]:
            async for chunk in arriving.aiter_raw():
                for piece in self._pieces(chunk):
                    yield piece
                if self._left <= 0:
                    return
            if reader is not None:
                reader.end()

        def _pieces(self, chunk: bytes) -> Iterator[bytes]:
            for piece in decoder.feed(chunk):
                self._left -= len(piece)
                if self._left <= 0 and not is_error:
                    raise too_large(MOST_BYTES)
                yield piece  # first, so that the text before an error is kept
                if reader is not None:
                    reader.feed(piece)
                if self._left <= 0:
                    return

        def close(self) -> None:
            arriving.close()

        async def aclose(self) -> None:
            await arriving.aclose()

    return BoundedStream()


def _stream_of(arriving: Any, decoder: Decoder, reader: ReplyReader, streams: bool) -> Any:
    """A stream for httpx clients of both kinds; httpx is imported when the first one is needed."""

    class ReadStream(httpx2.SyncByteStream, httpx2.AsyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            pieces = _Pieces(streams)
            try:
                for chunk in arriving.iter_raw():
                    for piece in decoder.feed(chunk):
                        yield from pieces.sent(reader.feed(piece))
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
                async for chunk in arriving.aiter_raw():
                    for piece in decoder.feed(chunk):
                        for sent in pieces.sent(reader.feed(piece)):
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
    """The parts of a reply in the SDK's form: events, or one completion."""

    def __init__(self, streams: bool) -> None:
        self._streams = streams
        self._envelope: dict[str, Any] = {}
        self._content: list[str] = []
        self._finish_reason: str | None = None

    def sent(self, pieces: Iterable[ReplyPart]) -> Iterator[bytes]:
        """The bytes that can be passed on now."""
        for piece in pieces:
            if self._streams:
                yield b"data: " + json.dumps(piece).encode() + b"\n\n"
                continue
            self._envelope.update({name: value for name, value in piece.items() if name != "choices"})
            for choice in piece["choices"]:
                self._content.append(choice["delta"].get("content") or "")
                self._finish_reason = choice["finish_reason"] or self._finish_reason

    def end(self) -> bytes:
        """The end of the stream, or the whole reply if it is not streamed."""
        if self._streams:
            return b"data: [DONE]\n\n"
        message = {"role": "assistant", "content": "".join(self._content)}
        choice = {"index": 0, "message": message, "finish_reason": self._finish_reason, "logprobs": None}
        whole = {"usage": dict.fromkeys(_COUNTS), **self._envelope, "object": "chat.completion", "choices": [choice]}
        return json.dumps(whole).encode()
