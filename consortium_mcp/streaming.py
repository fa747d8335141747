"""Streamed chat completions of an OpenAI SDK client, without the three things that the SDK takes longest for.

It walks through the request to translate what llm has already said in the API's words, composes address and headers
anew each time (together two thirds of a call's processor time), and builds a model of pydantic out of each piece of a
reply (0.1 ms, where a long reply has a thousand).
"""

from collections.abc import AsyncIterator, Callable
from typing import Any

from consortium_mcp.lazy import httpx2, openai

_OPTIONS = {"extra_headers": "headers", "extra_query": "params", "extra_body": "extra_json", "timeout": "timeout"}
"""What a caller of the SDK may say beside the request, and what its `post` calls that."""

_OF_A_BODY = ("content-encoding", "content-length", "transfer-encoding")
"""Headers that say how the body beside them is written."""


def stream_quickly(client: Any, http_client: Any) -> None:
    """Make an asynchronous client's streamed chat completions quick; what is not streamed stays the SDK's.

    Args:
        http_client: which the client was given.
    """
    completions = client.chat.completions
    create = completions.create
    left_out = (openai.NotGiven, openai.Omit)
    # Azure's addresses depend on the model, and a key that is a function may be another one the next time.
    is_plain = type(client) is openai.AsyncOpenAI and bool(client.api_key) and client.workload_identity is None
    like: list[Any] = []

    async def quick_create(*, stream: bool = False, **parameters: Any) -> Any:
        if not stream:
            return await create(stream=stream, **parameters)
        given = {name: value for name, value in parameters.items() if not isinstance(value, left_out)}
        options = {ours: given.pop(theirs) for theirs, ours in _OPTIONS.items() if theirs in given}
        if is_plain and not options:
            if not like:
                like.append(await _as_sent(client))
            response = await _send(client, http_client, like[0], {"stream": True, **given})
            return _read(openai.AsyncStream(cast_to=object, response=response, client=client))
        pieces = await client.post(
            "/chat/completions",
            body={"stream": True, **given},
            cast_to=object,  # as it came
            options=options,
            stream=True,
            stream_cls=openai.AsyncStream[object],
        )
        return _read(pieces)

    completions.create = quick_create


async def _as_sent(client: Any) -> Any:
    """A request as the SDK composes it, with its address, headers and timeouts; nothing is sent."""
    composed = []

    def take(request: Any) -> Any:
        composed.append(request)
        return httpx2.Response(200, json={})

    await _rehearse(client, take)
    return composed[0]


async def _send(client: Any, http_client: Any, like: Any, body: dict[str, Any]) -> Any:
    """The response to a request like that one with another body; raises what the SDK raises."""
    headers = {name: value for name, value in like.headers.items() if name not in _OF_A_BODY}
    request = httpx2.Request("POST", like.url, headers=headers, json=body, extensions=like.extensions)
    try:
        response = await http_client.send(request, stream=True)
        if response.is_error:
            await response.aread()
    except httpx2.TimeoutException as error:
        raise openai.APITimeoutError(request) from error
    except httpx2.RequestError as error:
        raise openai.APIConnectionError(request=request) from error
    if response.is_error:
        told = {name: value for name, value in response.headers.items() if name not in _OF_A_BODY}
        await _rehearse(client, lambda _: httpx2.Response(response.status_code, headers=told, content=response.content))
    return response


async def _rehearse(client: Any, answer: Callable[[Any], Any]) -> None:
    """Let the SDK ask somebody here instead of its provider; raises what it makes of the answer."""
    async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as nowhere:
        await client.with_options(http_client=nowhere).post("/chat/completions", body={}, cast_to=object)


async def _read(pieces: AsyncIterator[Any]) -> AsyncIterator["ReplyPart"]:
    async for piece in pieces:
        yield ReplyPart(piece)


class ReplyPart:
    """A part of a reply, read like the SDK's own; what is not in it is None."""

    def __init__(self, given: dict[str, Any]) -> None:
        self._given = given

    def __getattr__(self, name: str) -> Any:
        """What it holds by this name; asked for once."""
        value = self.__dict__[name] = _readable(self._given.get(name))
        return value

    def model_dump(self) -> dict[str, Any]:
        """The part as it came."""
        return dict(self._given)


def _readable(value: Any) -> Any:
    if isinstance(value, dict):
        return ReplyPart(value)
    return [_readable(one) for one in value] if isinstance(value, list) else value
