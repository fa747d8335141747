"""Replies of OpenAI's Responses API, by which llm asks the newer models: each way in which one ends is told apart."""

import asyncio
import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from consortium_mcp.service.service import ConsortiumService
from tests.consulted import consulted
from tests.replies import AT_ONCE, GOOD, RawEndpoint, write_config

pytestmark = pytest.mark.anyio

BEGUN = "The answer is for"
TEXT = "The answer is forty-two."
DELTA: dict[str, Any] = {"type": "response.output_text.delta", "delta": BEGUN, "item_id": "i", "output_index": 0}


class Row(NamedTuple):
    """A reply, and the expected text, kind, attempts and sentence."""

    events: list[dict[str, Any]]
    text: str | None
    kind: str | None
    attempts: int
    says: str | None


def response(**fields: Any) -> dict[str, Any]:
    """A response of the API."""
    return {"id": "r", "object": "response", "status": "completed", "model": "real", "output": [], **fields}


def message(**part: Any) -> dict[str, Any]:
    """An output item with one part."""
    return {"type": "message", "id": "i", "role": "assistant", "status": "completed", "content": [part]}


COMPLETED = response(output=[message(type="output_text", text=TEXT, annotations=[])], usage=None)

ROWS = {
    "completed": Row(
        [DELTA, {**DELTA, "delta": "ty-two."}, {"type": "response.completed", "response": COMPLETED}],
        TEXT,
        None,
        1,
        None,
    ),
    "cut at its length": Row(
        [
            DELTA,
            {
                "type": "response.incomplete",
                "response": response(status="incomplete", incomplete_details={"reason": "max_output_tokens"}),
            },
        ],
        BEGUN,
        "truncated",
        1,
        "The reply was cut at its length limit (max_output_tokens).",
    ),
    "withheld": Row(
        [
            {
                "type": "response.incomplete",
                "response": response(status="incomplete", incomplete_details={"reason": "content_filter"}),
            }
        ],
        None,
        "content_filter",
        1,
        "The provider withheld the reply (content_filter).",
    ),
    "failed": Row(
        [
            DELTA,
            {
                "type": "response.failed",
                "response": response(
                    status="failed", error={"code": "server_error", "message": "The server had an error."}
                ),
            },
        ],
        BEGUN,
        "server",
        3,
        "The server had an error. Try again later, or choose another model.",
    ),
    "an error event": Row(
        [{"type": "error", "code": "rate_limit_exceeded", "message": "Rate limit reached.", "param": None}],
        None,
        "rate_limit",
        3,
        "Rate limit reached. Wait, or raise the limits of the account of its key.",
    ),
    "an error event with an object": Row(
        [{"type": "error", "error": {"type": "invalid_request_error", "code": "insufficient_quota", "message": "No."}}],
        None,
        "billing",
        1,
        "No. Check the account of its key.",
    ),
    "refused": Row(
        [
            {"type": "response.refusal.delta", "delta": "I can't ", "item_id": "i", "output_index": 0},
            {"type": "response.refusal.delta", "delta": "help.", "item_id": "i", "output_index": 0},
            {
                "type": "response.completed",
                "response": response(output=[message(type="refusal", refusal="I can't help.")], usage=None),
            },
        ],
        None,
        "content_filter",
        1,
        "The model refused to answer: I can't help.",
    ),
}
WAYS = {"streamed": True, "whole": False}


def content(row: Row, streams: bool) -> bytes | None:
    """The bytes of a reply; None if this way of replying has none of its kind."""
    if streams:
        kind, body = (
            "text/event-stream",
            "".join(f"event: {one['type']}\ndata: {json.dumps(one)}\n\n" for one in row.events),
        )
    elif "response" in row.events[-1]:
        kind, body = "application/json", json.dumps(row.events[-1]["response"])
    else:
        return None
    return f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n{body}".encode()


async def asked(service: ConsortiumService, body: bytes, streams: bool) -> tuple[Any, int]:
    """The response of a member that is asked by the Responses API, and the number of requests."""
    service.timing = AT_ONCE
    endpoint = RawEndpoint({"r": body} | GOOD)
    server = await asyncio.start_server(endpoint.serve, "127.0.0.1", 0)
    write_config(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", [*GOOD], responses=["r"], streams=streams)
    run = await consulted(service, "r", "whole", max_iterations=1)
    server.close()
    return run.iterations[0].responses[0], endpoint.requests["r"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ROWS)
async def test_each_end_of_a_reply_is_told_apart(
    service: ConsortiumService, llm_home: Path, name: str, way: str
) -> None:
    row = ROWS[name]
    if (body := content(row, WAYS[way])) is None:
        return

    found, requests = await asked(service, body, WAYS[way])

    text = row.text if WAYS[way] or row.kind is None else None
    assert (found.text, found.error_kind, requests, found.error) == (text, row.kind, row.attempts, row.says)


@pytest.mark.parametrize("way", WAYS)
async def test_a_web_page_is_no_reply(service: ConsortiumService, llm_home: Path, way: str) -> None:
    page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<html><title>Log in</title></html>"

    found, _ = await asked(service, page, WAYS[way])

    assert found.error_kind == "invalid_reply"
    assert found.error.startswith("The provider sent a web page (Log in) instead of a model's reply.")
