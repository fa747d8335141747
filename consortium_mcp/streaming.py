"""Streamed chat completions of an OpenAI SDK client, without the two things that the SDK takes longest for.

It walks through the request to translate what llm has already said in the API's words (a quarter of a call's processor
time), and builds a model of pydantic out of each piece of a reply (0.1 ms, where a long reply has a thousand).
"""

from collections.abc import AsyncIterator
from typing import Any

from consortium_mcp.lazy import openai

_OPTIONS = {"extra_headers": "headers", "extra_query": "params", "extra_body": "extra_json", "timeout": "timeout"}
"""What a caller of the SDK may say beside the request, and what its `post` calls that."""


def stream_quickly(client: Any) -> None:
    """Make an asynchronous client's streamed chat completions quick; what is not streamed stays the SDK's."""
    completions = client.chat.completions
    create = completions.create
    left_out = (openai.NotGiven, openai.Omit)

    async def quick_create(*, stream: bool = False, **parameters: Any) -> Any:
        if not stream:
            return await create(stream=stream, **parameters)
        given = {name: value for name, value in parameters.items() if not isinstance(value, left_out)}
        options = {ours: given.pop(theirs) for theirs, ours in _OPTIONS.items() if theirs in given}
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
