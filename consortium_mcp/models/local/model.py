"""The embedded model as llm models, sync and async; knows nothing of llama.cpp."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import llm
from llm.parts import TextPart
from pydantic import Field, JsonValue

from consortium_mcp.models.local import LOCAL_MODEL_ID
from consortium_mcp.models.local.engine import SLOTS, Event, Finished, Reply, local_model_problem
from consortium_mcp.models.local.errors import LocalModelError

LOCAL_MODEL_ALIAS = "local"


class LocalModelOptions(llm.Model.Options):
    """What can be set for one prompt."""

    temperature: float = Field(default=0.2, ge=0, le=2, description="The randomness of the reply, from 0 to 2.")
    top_p: float = Field(
        default=0.9,
        gt=0,
        le=1,
        description=("Samples only the likeliest tokens whose probabilities add up to this, 0 to 1."),
    )
    max_tokens: int = Field(default=512, ge=1, description="The longest reply, in tokens.")
    seed: int | None = Field(default=None, ge=0, description="The same seed mostly gives the same reply.")
    repeat_penalty: float = Field(
        default=1.0,
        ge=0.5,
        le=2,
        description=("A value above 1 avoids words that were already used, also those of the question."),
    )


class _Shared:
    """The common part of both models."""

    model_id = LOCAL_MODEL_ID
    can_stream = True
    supports_schema = True

    needs_short_texts = True
    """A model of this size follows a few short sentences; longer instructions confuse it."""

    max_parallel_calls = SLOTS
    """How many prompts it answers at once; further prompts wait."""

    def __init__(self, weights: Path | None = None) -> None:
        """Create the model without loading anything.

        Args:
            weights: a GGUF file; None means the fetched weights.
        """
        self._weights = weights

    def problem(self) -> str | None:
        """Why it cannot be used now, and what to do; None if it can."""
        return local_model_problem(self._weights)


class LocalModel(_Shared, llm.Model):
    """The embedded model for synchronous callers."""

    Options = LocalModelOptions

    def execute(
        self,
        prompt: llm.Prompt,
        stream: bool,
        response: llm.Response,
        conversation: llm.Conversation | None = None,
    ) -> Iterator[str]:
        """Yield the reply piece by piece; closing the iterator stops the model."""
        events: SimpleQueue[Event] = SimpleQueue()
        reply = Reply(self._weights, _request(prompt), _schema(prompt), events.put)
        try:
            while isinstance(event := _checked(events.get()), str):
                yield event
        finally:
            reply.stop()
        _record(response, event)


class AsyncLocalModel(_Shared, llm.AsyncModel):
    """The embedded model for callers in an event loop, which it does not block."""

    Options = LocalModelOptions

    async def execute(
        self,
        prompt: llm.Prompt,
        stream: bool,
        response: llm.AsyncResponse,
        conversation: llm.AsyncConversation | None = None,
    ) -> AsyncGenerator[str, None]:
        """Yield the reply piece by piece; cancelling the caller stops the model."""
        events: asyncio.Queue[Event] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def deliver(event: Event) -> None:
            loop.call_soon_threadsafe(events.put_nowait, event)

        reply = Reply(self._weights, _request(prompt), _schema(prompt), deliver)
        try:
            while isinstance(event := _checked(await events.get()), str):
                yield event
        finally:
            reply.stop()
        _record(response, event)


def register_local_model(register: Callable[..., None], weights: Path | None = None) -> None:
    """Offer the embedded model to llm.

    Args:
        register: the function that llm passes to `register_models`.
        weights: a GGUF file; None means the fetched weights.
    """
    register(LocalModel(weights), AsyncLocalModel(weights), aliases=(LOCAL_MODEL_ALIAS,))


def _request(prompt: llm.Prompt) -> dict[str, JsonValue]:
    options = prompt.options.model_dump(exclude_none=True)
    return options | {"messages": _messages(prompt)}


def _messages(prompt: llm.Prompt) -> list[JsonValue]:
    """The conversation in llama.cpp's form: system prompt, earlier turns, this prompt."""
    messages: list[JsonValue] = []
    for message in prompt.messages:
        text = "".join(part.text for part in message.parts if isinstance(part, TextPart))
        if text:
            messages.append({"role": message.role, "content": text})
    return messages


def _schema(prompt: llm.Prompt) -> dict[str, Any] | None:
    schema = prompt.schema
    return schema if isinstance(schema, dict) else None


def _checked(event: Event) -> str | Finished:
    if isinstance(event, LocalModelError):
        raise llm.ModelError(str(event)) from event
    if isinstance(event, Exception):
        raise event
    return event


def _record(response: llm.Response | llm.AsyncResponse, end: Finished) -> None:
    response.set_usage(input=end.input_tokens, output=end.output_tokens)
    response.response_json = {"finish_reason": end.finish_reason}
