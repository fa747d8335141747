"""The contract of direct streaming: a provider and a caller see the same as with the OpenAI SDK alone.

Of a whole reply, and of an error's status, both ways tell what the SDK alone tells. Of a broken reply, both tell the
same; `test_replies.py` says what.

`make test-oldest` runs it with the oldest supported SDK, `make test` with the newest.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.resources.chat.completions import AsyncCompletions

from consortium_mcp.models.catalogue import ModelEntry, load_catalogue
from consortium_mcp.models.openai_clients import KeptClients
from consortium_mcp.models.reply_faults import ReplyFault
from consortium_mcp.service.service import ConsortiumService
from tests.consulted import consulted
from tests.provider import Answer, Fault, Provider, Reply, verdict

LONG_QUESTION: dict[str, Any] = {
    "system": "be brief",
    "schema": {"type": "object", "properties": {"synthesis": {"type": "string"}}},
    "options": {"temperature": 0.5, "max_tokens": 9, "seed": 3, "stop": "end"},
}

QUESTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "with system prompt, schema and options": LONG_QUESTION,
    "in several scripts": {"system": 'Ünï \U0001f600 \u2028 \x00 \\ "', "options": {"stop": "日本"}},
}

ANSWERS: dict[str, Answer] = {
    "whole": Reply("an answer in some pieces"),
    "in several scripts": Reply("größer \U0001f600 日本 \u2028 \\n"),
    "truncated": Reply("an answer in some pieces", finish_reason="length", input_tokens=7, output_tokens=5),
    "filtered": Fault.content_filter("half an"),
    "empty, without usage": Reply("", reports_usage=False),
    "of another model": Reply("so", resolved_model="another-2026-01-01"),
    "bad request": Fault.context_length(),
    "wrong key": Fault.wrong_key(),
    "forbidden": Fault.refused("forbidden", 403, None, "Not from here."),
    "unknown model": Fault.unknown_model(),
    "conflict": Fault.refused("conflict", 409, None, "Again, please."),
    "unprocessable": Fault.refused("unprocessable", 422, "bad_value", "No such temperature."),
    "rate limit": Fault.rate_limit(7),
    "out of money": Fault.billing(),
    "server error": Fault.server_error(503),
    "server error without a body": Fault("no body", status=500, body=b""),
    "server error as a page": Fault("page", status=502, body=b"<h1>Bad gateway</h1>", content_type="text/html"),
    "not modified": Fault("not modified", status=304, body=b""),
    "broken off before it began": Fault.reset_mid_stream(after_chunks=0),
    "broken off": Fault.reset_mid_stream(),
}
"""Valid and invalid answers of a provider that the SDK alone reports correctly."""

BROKEN: dict[str, Answer] = {
    "error in stream": Fault.error_in_stream(),
    "error in stream after text": Fault.garbage(
        b'data: {"choices": [{"index": 0, "delta": {"content": "so"}}]}\n\n'
        b'event: error\ndata: {"error": {"message": "overloaded", "type": "server_error", "code": "x"}}\n\n',
        "text/event-stream",
    ),
    "garbled stream": Fault.garbled_stream(),
    "a page": Fault.garbage(),
    "no stream": Fault.garbage(b'{"choices": []}', "application/json"),
    "strange pieces": Fault.garbage(b'data: {"object": "x"}\n\ndata: [1]\n\ndata: [DONE]\n\n', "text/event-stream"),
}
"""Replies that the SDK alone reports wrongly, or in Python's words."""

OF_EACH_ANSWER = {"id", "created"}
"""What is new in each answer."""

OF_THE_CARRIER = {"date", "content-length", "transfer-encoding"}
"""Headers about the transport of a reply; direct streaming omits them in an error's response."""


async def said_by(entry: ModelEntry, question: dict[str, Any]) -> dict[str, Any]:
    """Everything that llm and its caller learn from a call."""
    response: Any = entry.async_model.prompt("why?", **question)  # type: ignore[union-attr]
    pieces: list[str] = []
    failure = None
    try:
        async for piece in response:
            pieces.append(piece)
    except Exception as error:
        failure = told(error)
    payload = response.response_json or {}
    return {
        "pieces": pieces,
        "failure": failure,
        "payload": {name: value for name, value in payload.items() if name not in OF_EACH_ANSWER},
        "usage": (response.input_tokens, response.output_tokens, response.token_details),
        "model": response.resolved_model,
    }


def told(error: Exception) -> dict[str, Any]:
    """What an error says to a caller who knows the SDK."""
    names = ("message", "status_code", "code", "param", "type", "body", "request_id")
    response, request = getattr(error, "response", None), getattr(error, "request", None)
    return {
        "class": type(error),
        "kind": getattr(error, "kind", None),
        "text": str(error),
        **{name: getattr(error, name, None) for name in names},
        "request": request and (request.method, str(request.url)),
        "headers": response is not None
        and {name: value for name, value in response.headers.items() if name not in OF_THE_CARRIER},
    }


class Way:
    """One way to a provider: a model of llm's, and how its clients are closed."""

    def __init__(self, model: str, clients: KeptClients | None, options: dict[str, Any]) -> None:
        self.entry = load_catalogue().usable(model)
        self.clients = clients
        self._built: list[openai.AsyncOpenAI] = []
        of_llm: Any = self.entry.async_model
        build: Callable[..., openai.AsyncOpenAI] = of_llm.get_client

        def get_client(key: Any, *, async_: bool = False) -> openai.AsyncOpenAI:
            self._built.append(build(key, async_=async_).with_options(max_retries=0, **options))
            return self._built[-1]

        of_llm.get_client = get_client
        if clients is not None:
            clients.use_in(self.entry)

    async def aclose(self) -> None:
        """Close the clients that llm would leave open."""
        for client in self._built:
            await client.close()
        if self.clients is not None:
            await self.clients.aclose()


async def in_each_way(
    provider: Provider, question: dict[str, Any] = LONG_QUESTION, model: str = "arbiter", **options: Any
) -> list[dict[str, Any]]:
    """What is sent, said and counted: by llm's own client, by ours with direct streaming off, and on.

    Args:
        options: of the SDK's client.
    """
    seen = []
    for clients in (None, KeptClients(direct_streaming=False), KeptClients(direct_streaming=True)):
        way, before = Way(model, clients, options), provider.count()
        said = await said_by(way.entry, question)
        await way.aclose()
        sent = [(json.loads(request.body), dict(request.headers)) for request in provider.requests[before:]]
        seen.append({**said, "sent": sent})
    return seen


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
async def test_a_provider_is_sent_the_same_headers_and_body(provider: Provider, question: dict[str, Any]) -> None:
    plain, off, on = await in_each_way(provider, question)

    assert len(plain["sent"]) == 1 and plain == off == on


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
async def test_a_caller_gets_the_same_text_usage_and_error(provider: Provider, answer: Answer) -> None:
    provider.on("arbiter", answer)

    plain, off, on = await in_each_way(provider)

    assert plain == off == on


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
async def test_of_a_broken_reply_a_caller_gets_the_same_in_both_ways(provider: Provider, answer: Answer) -> None:
    provider.on("arbiter", answer)

    _, off, on = await in_each_way(provider)

    assert off == on and off["failure"]["class"] is ReplyFault


@pytest.mark.parametrize("after_chunks", [0, 2])
async def test_a_provider_that_goes_silent_is_the_same_timeout(provider: Provider, after_chunks: int) -> None:
    provider.on("arbiter", Fault.hang(after_chunks))

    plain, off, on = await in_each_way(provider, timeout=0.3)

    assert plain["failure"]["class"] is openai.APITimeoutError and plain == off == on


async def test_a_provider_that_cannot_be_reached_is_the_same_error(provider: Provider, llm_home: Path) -> None:
    provider.write_llm_config(llm_home, [], refused=["away"])

    plain, off, on = await in_each_way(provider, {}, model="away")

    assert plain["failure"]["class"] is openai.APIConnectionError and plain == off == on


@pytest.mark.parametrize(("switch", "by_sdk"), [("0", 2), ("1", 0)], ids=["off", "on"])
async def test_the_switch_says_whether_calls_go_through_the_sdk(
    provider: Provider,
    open_service: Callable[..., ConsortiumService],
    monkeypatch: pytest.MonkeyPatch,
    switch: str,
    by_sdk: int,
) -> None:
    created: list[str] = []
    create: Callable[..., Any] = AsyncCompletions.create

    async def counted(self: AsyncCompletions, **parameters: Any) -> Any:
        created.append(parameters["model"])
        return await create(self, **parameters)

    monkeypatch.setattr(AsyncCompletions, "create", counted)
    monkeypatch.setenv("CONSORTIUM_DIRECT_STREAMING", switch)
    provider.on("arbiter", verdict("Paris"))

    run = await consulted(open_service(), "a")

    assert (run.answer, provider.count(), len(created)) == ("Paris", 2, by_sdk)
