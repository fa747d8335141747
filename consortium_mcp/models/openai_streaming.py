"""Sends and reads an OpenAI SDK client's streamed chat completions without the SDK's own work.

For each call the SDK transforms the request, builds address and headers, and creates a pydantic model for each chunk of
the reply. That takes 2 ms of processor time for a short reply; this module takes a tenth. The SDK still composes the
headers, once, and raises the error of each status. `reply_reader.py` parses the reply, both here and in the SDK's own
way (`openai_replies.py`). `tests/doors/test_streaming_contract.py` compares both.
"""

import json
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.request import getproxies

import anyio

from consortium_mcp._util.lazy import aiohttp, httpx2, openai
from consortium_mcp.models.openai_replies import MOVED, check_redirect
from consortium_mcp.models.reply_bounds import MOST_OF_ERROR, Decoder, refuse_media
from consortium_mcp.models.watching import new_reader
from consortium_mcp.records.outer_call import give_sign_of_life

_OPTIONS = ("extra_headers", "extra_query", "timeout")
"""The arguments of a call that change more than the body."""

_OF_THE_TRANSPORT = ("accept-encoding", "content-encoding", "content-length", "host", "transfer-encoding")
"""Headers that belong to one connection, not to the request or reply."""

_END_SECONDS = 0.1
"""The seconds a reply may take to end after its last chunk, before its connection is closed."""


def stream_directly(client: Any, session: Any) -> None:
    """Make an asynchronous client's streamed chat completions bypass the SDK; its other calls use the SDK.

    Args:
        session: the aiohttp session for them. If the environment names a proxy, the SDK sends them.
    """
    completions = client.chat.completions
    create = completions.create
    # Azure's address depends on the model, and a key function may return another key the next time.
    is_plain = type(client) is openai.AsyncOpenAI and bool(client.api_key)
    proxies = [scheme for scheme in getproxies() if scheme != "no"]  # `NO_PROXY` is no proxy
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
        if reply.status in MOVED:  # redirects are left to the SDK
            reply.close()
            return await create(stream=stream, **parameters)
        return _pieces(composed[0], reply)

    completions.create = direct_create


@dataclass(frozen=True)
class _Composed:
    """The SDK's request for a streamed completion, without its body."""

    request: Any
    """The timeout as an SDK value."""

    url: str
    headers: dict[str, str]
    timeout: Any
    """The timeout as an aiohttp value."""


async def _compose(client: Any) -> _Composed:
    requests = []

    def take(request: Any) -> Any:
        requests.append(request)
        return httpx2.Response(200)

    await _rehearse(client, take)
    (request,) = requests
    seconds = request.extensions["timeout"]
    timeout = aiohttp.ClientTimeout(connect=seconds["pool"], sock_connect=seconds["connect"], sock_read=seconds["read"])
    own = {name.lower() for name in client.default_headers}  # including the host, if the model's headers name one
    return _Composed(request, str(request.url), _told(request.headers, own), timeout)


async def _send(client: Any, session: Any, composed: _Composed, body: dict[str, Any]) -> Any:
    """The unread reply to this request with this body; raises the SDK's errors."""
    content = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    with _as_the_sdk_says(composed):
        reply = await session.post(
            composed.url, data=content, headers=composed.headers, timeout=composed.timeout, allow_redirects=False
        )
        try:
            check_redirect(reply.status, reply.headers, composed.url)
            if 200 <= reply.status < 300:
                refuse_media(reply.headers)
                return reply
            if reply.status in MOVED:
                return reply
            why = await _beginning(reply)
        except BaseException:
            reply.close()
            raise
    await _rehearse(client, lambda _: httpx2.Response(reply.status, headers=_told(reply.headers), content=why))


async def _beginning(reply: Any) -> bytes:
    """An error's body, up to the limit."""
    decoder, body = Decoder(reply.headers.get("content-encoding")), bytearray()
    async for chunk in reply.content.iter_any():
        for piece in decoder.feed(chunk):
            body += piece
            if len(body) > MOST_OF_ERROR:
                reply.close()
                return bytes(body)
    return bytes(body)


async def _pieces(composed: _Composed, reply: Any) -> AsyncIterator[Any]:
    """The parts of a reply as they arrive; raises ReplyFault if it is no reply, and the SDK's error at a break."""
    reader, decoder = new_reader(), Decoder(reply.headers.get("content-encoding"))
    try:
        with _as_the_sdk_says(composed):
            async for chunk in reply.content.iter_any():
                give_sign_of_life()
                for decoded in decoder.feed(chunk):
                    for piece in reader.feed(decoded):
                        yield piece
                if reader.has_ended:
                    await _drain(reply)
                    return
        for piece in reader.end():
            yield piece
    except openai.APIConnectionError:
        if not reader.is_whole:
            raise
    finally:
        reply.close()


async def _drain(reply: Any) -> None:
    """Read the rest of a reply, so that its connection can be used again; errors here do not affect the reply."""
    if not reply.content.at_eof():
        with suppress(aiohttp.ClientError, OSError), anyio.move_on_after(_END_SECONDS, shield=True):
            await reply.read()


@contextmanager
def _as_the_sdk_says(composed: _Composed) -> Iterator[None]:
    """Raise connection errors as the SDK's errors."""
    try:
        yield
    except TimeoutError as error:
        raise openai.APITimeoutError(composed.request) from error
    except aiohttp.ClientError as error:
        raise openai.APIConnectionError(request=composed.request) from error


async def _rehearse(client: Any, answer: Callable[[Any], Any]) -> None:
    """Let the SDK send to a function of ours instead of its provider; raises the SDK's error for the answer."""
    async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as nowhere:
        pieces = await client.with_options(http_client=nowhere).post(
            "/chat/completions", body={}, cast_to=object, stream=True, stream_cls=openai.AsyncStream[object]
        )
        async for _ in pieces:
            pass


def _told(headers: Any, own: Collection[str] = ()) -> dict[str, str]:
    """The headers without those of the connection, unless the caller set them."""
    left_out = {name for name in _OF_THE_TRANSPORT if name not in own}
    return {name: value for name, value in headers.items() if name.lower() not in left_out}
