"""Streamed chat completions of an OpenAI SDK client, sent and read without the SDK's own work.

For each call the SDK transforms the request, composes address and headers, and builds a pydantic model for each piece
of the reply. That takes 2 ms of processor for a short reply; this module takes a tenth. The SDK composes the headers
once, and it raises every error. `tests/doors/test_streaming_contract.py` compares both ways.
"""

import json
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.request import getproxies

import anyio

from consortium_mcp._util.lazy import aiohttp, httpx2, openai
from consortium_mcp.records.outer_call import give_sign_of_life

_OPTIONS = ("extra_headers", "extra_query", "timeout")
"""What a caller of the SDK may say that changes more than the body."""

_OF_THE_TRANSPORT = ("accept-encoding", "content-encoding", "content-length", "host", "transfer-encoding")
"""Headers that whoever carries a request or a reply writes."""

_PARTS = frozenset(
    "arguments choices content created delta finish_reason function function_call id index logprobs model name object "
    "refusal role service_tier system_fingerprint tool_calls type usage".split()
)
"""What the pieces of a streamed completion may have, by the SDK's types of them."""

_DONE = "[DONE]"

_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")
"""What a usage has in the SDK's type of it, whether or not the provider says it."""

_END_SECONDS = 0.1
"""How long a reply may take to end after its last piece, before its connection is given up."""


def stream_directly(client: Any, session: Any) -> None:
    """Let an asynchronous client's streamed chat completions bypass the SDK; its other calls stay the SDK's.

    Args:
        session: aiohttp's, which carries them. If the environment names a proxy, the SDK carries them.
    """
    completions = client.chat.completions
    create = completions.create
    # Azure's addresses depend on the model, and a key that is a function may be another one the next time.
    is_plain = type(client) is openai.AsyncOpenAI and bool(client.api_key)
    proxies = [scheme for scheme in getproxies() if scheme != "no"]  # what `NO_PROXY` says is none
    if not is_plain or getattr(client, "workload_identity", None) or proxies:
        return
    left_out = (openai.NotGiven, openai.Omit)
    composed: list[_Composed] = []

    async def direct_create(*, stream: bool = False, **parameters: Any) -> Any:
        given = {name: value for name, value in parameters.items() if not isinstance(value, left_out)}
        if not stream or any(name in given for name in _OPTIONS):
            return await create(stream=stream, **parameters)
        if not composed:
            composed.append(await _compose(client))
        further = given.pop("extra_body", None) or {}
        reply = await _send(client, session, composed[0], {"stream": True, **given, **further})
        return _pieces(client, composed[0], reply)

    completions.create = direct_create


class ReplyPart(dict[str, Any]):
    """A part of a reply, read like the SDK's own: what it may have and has not is None."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            if name in _PARTS:
                return None
            raise AttributeError(name) from None

    def model_dump(self) -> dict[str, Any]:
        """The part as it came."""
        return dict(self)


_decode = json.JSONDecoder(object_hook=ReplyPart).decode


class EventReader:
    """Reads server-sent events out of what arrives, however that is cut.

    See https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation.
    """

    def __init__(self) -> None:
        self._rest: list[bytes] = []
        """What has arrived of a line whose end has not: pieces, because a line may be long."""
        self._data: list[bytes] = []
        """The data lines of an event whose end has not arrived."""

    def feed(self, chunk: bytes) -> Iterator[str]:
        """The data of each event that is complete now, one by one; raises UnicodeDecodeError at one that is no text."""
        self._rest.append(chunk)
        if b"\n" in chunk or b"\r" in chunk:
            lines = b"".join(self._rest).splitlines(keepends=True)
            # What ends in CR may go on with LF.
            self._rest = [] if lines[-1].endswith(b"\n") else [lines.pop()]
            yield from self._events(lines)

    def end(self) -> Iterator[str]:
        """The same where nothing more arrives; an event that is not complete is none."""
        lines = b"".join(self._rest).splitlines(keepends=True)
        yield from self._events(line for line in lines if line.endswith(b"\r"))

    def _events(self, ended_lines: Iterable[bytes]) -> Iterator[str]:
        for ended_line in ended_lines:
            line = ended_line.rstrip(b"\r\n")
            name, _, value = line.partition(b":")
            if name == b"data":
                self._data.append(value.removeprefix(b" "))
            elif not line and self._data:
                yield b"\n".join(self._data).decode()
                self._data = []


@dataclass(frozen=True)
class _Composed:
    """What the SDK sends for a streamed completion, but for its body."""

    request: Any
    """As the SDK has it."""

    url: str
    headers: dict[str, str]
    timeout: Any
    """The same in aiohttp's words."""


async def _compose(client: Any) -> _Composed:
    requests = []

    def take(request: Any) -> Any:
        requests.append(request)
        return httpx2.Response(200)

    await _rehearse(client, take)
    (request,) = requests
    seconds = request.extensions["timeout"]
    timeout = aiohttp.ClientTimeout(connect=seconds["pool"], sock_connect=seconds["connect"], sock_read=seconds["read"])
    own = {name.lower() for name in client.default_headers}  # a host, too, where the model's headers name one
    return _Composed(request, str(request.url), _told(request.headers, own), timeout)


async def _send(client: Any, session: Any, composed: _Composed, body: dict[str, Any]) -> Any:
    """The reply to such a request with this body, yet to be read; raises what the SDK raises."""
    content = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    with _as_the_sdk_says(composed):
        reply = await session.post(composed.url, data=content, headers=composed.headers, timeout=composed.timeout)
        if 200 <= reply.status < 300:
            return reply
        why = await reply.read()
    await _rehearse(client, lambda _: httpx2.Response(reply.status, headers=_told(reply.headers), content=why))


async def _pieces(client: Any, composed: _Composed, reply: Any) -> AsyncIterator[Any]:
    """The parts of a reply as they come; raises what the SDK raises where it is none, or breaks off."""
    reader = EventReader()
    try:
        with _as_the_sdk_says(composed):
            async for chunk in reply.content.iter_any():
                give_sign_of_life()
                for data in reader.feed(chunk):
                    if data.startswith(_DONE):
                        await _drain(reply)
                        return
                    yield await _piece(client, data)
            for data in reader.end():
                if not data.startswith(_DONE):
                    yield await _piece(client, data)
    finally:
        reply.close()


async def _drain(reply: Any) -> None:
    """Read what is left of a reply, so that its connection can be used again; however that ends, the reply is there."""
    if not reply.content.at_eof():
        with suppress(aiohttp.ClientError, OSError), anyio.move_on_after(_END_SECONDS, shield=True):
            await reply.read()


async def _piece(client: Any, data: str) -> Any:
    piece = _decode(data)
    if isinstance(piece, dict):
        if piece.get("error"):
            await _rehearse(client, lambda _: httpx2.Response(200, content=f"data: {json.dumps(piece)}\n\n"))
        if isinstance(usage := piece.get("usage"), dict):
            for name in _COUNTS:
                usage.setdefault(name, None)
    return piece


@contextmanager
def _as_the_sdk_says(composed: _Composed) -> Iterator[None]:
    """What is wrong with a connection is raised as the SDK's error."""
    try:
        yield
    except TimeoutError as error:
        raise openai.APITimeoutError(composed.request) from error
    except aiohttp.ClientError as error:
        raise openai.APIConnectionError(request=composed.request) from error


async def _rehearse(client: Any, answer: Callable[[Any], Any]) -> None:
    """Let the SDK ask somebody here instead of its provider; raises what it makes of the answer."""
    async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as nowhere:
        pieces = await client.with_options(http_client=nowhere).post(
            "/chat/completions", body={}, cast_to=object, stream=True, stream_cls=openai.AsyncStream[object]
        )
        async for _ in pieces:
            pass


def _told(headers: Any, own: Collection[str] = ()) -> dict[str, str]:
    """Headers without those that whoever carries them writes, but for those that are somebody's own."""
    left_out = {name for name in _OF_THE_TRANSPORT if name not in own}
    return {name: value for name, value in headers.items() if name.lower() not in left_out}
