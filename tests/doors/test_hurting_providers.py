"""A provider that sends too much, or redirects the question: one sentence, and no memory is used for it."""

import gzip
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from consortium_mcp.models import calling, reply_bounds, reply_reader
from consortium_mcp.models.openai_clients import KeptClients
from consortium_mcp.models.reply_faults import ReplyFault
from consortium_mcp.service.service import ConsortiumService
from tests.consulted import consulted
from tests.doors.test_streaming_contract import Way, said_by
from tests.provider import Fault, Provider

pytestmark = pytest.mark.anyio

EVENT = b'data: {"choices": [{"index": 0, "delta": {"content": "so"}, "finish_reason": %s}]}\n\n'
STREAM = EVENT % b"null" + EVENT % b'"stop"' + b"data: [DONE]\n\n"
BODY = b'{"choices": [{"index": 0, "message": {"content": "so"}, "finish_reason": "stop"}]}'
MEGABYTE = b" " * 2**20


@pytest.fixture(params=[True, False], ids=["direct", "by the SDK"])
async def way(request: pytest.FixtureRequest, provider: Provider) -> Any:
    """Each way in which our clients ask a model."""
    way = Way("arbiter", KeptClients(direct_streaming=request.param), {})
    yield way
    await way.aclose()


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip"])
@pytest.mark.parametrize(("body", "kind"), [(STREAM, "text/event-stream"), (BODY, "application/json")])
async def test_a_compressed_reply_is_read(provider: Provider, way: Way, encoding: str, body: bytes, kind: str) -> None:
    headers = (("content-encoding", encoding),)
    provider.on("arbiter", Fault("compressed", body=gzip.compress(body), content_type=kind, headers=headers))

    said = await said_by(way.entry, {})

    assert (said["failure"], "".join(said["pieces"])) == (None, "soso" if body is STREAM else "so")


TOO_MUCH: dict[str, tuple[Fault, str]] = {
    "a small body of gzip that is a large one": (
        Fault(
            "bomb",
            body=gzip.compress(b"{" + MEGABYTE * 100),
            headers=(("content-encoding", "gzip"),),
        ),
        "more than 16,777,216 bytes",
    ),
    "an event without an end": (
        Fault("line", body=EVENT % b"null" + b"data: " + MEGABYTE * 5, content_type="text/event-stream"),
        "more than 4,194,304 bytes",
    ),
    "lines of an event without an end": (
        Fault(
            "lines", body=EVENT % b"null" + (b"data: " + b"a" * 1_000 + b"\n") * 5_000, content_type="text/event-stream"
        ),
        "more than 4,194,304 bytes",
    ),
    "a stream of nothing": (
        Fault("nothing", body=b": ping\n\n" * 200_000, content_type="text/event-stream"),
        "not in the form of a model's reply",
    ),
    "a page without an end": (
        Fault("page", body=b"<html>" + MEGABYTE, content_type="text/html"),
        "sent a web page instead of a model's reply",
    ),
    "a picture": (
        Fault("picture", body=MEGABYTE, content_type="image/png"),
        "sent image/png instead of a model's reply",
    ),
    "an encoding that was not asked for": (
        Fault("br", body=b"\x0b\x02\x80", headers=(("content-encoding", "br"),)),
        "an encoding that was not requested",
    ),
    "no gzip": (Fault("broken", body=BODY, headers=(("content-encoding", "gzip"),)), "cannot be decompressed"),
}


@pytest.mark.parametrize("name", TOO_MUCH)
async def test_what_is_too_much_or_no_reply_is_not_read_on(provider: Provider, way: Way, name: str) -> None:
    answer, problem = TOO_MUCH[name]
    provider.on("arbiter", answer)

    said = await said_by(way.entry, {})

    assert said["failure"] and problem in reason(said["failure"])


def reason(failure: dict[str, Any]) -> str:
    """Why a call failed, in our words."""
    return str(failure["text"])


async def test_a_reply_is_bounded_as_a_whole(provider: Provider, way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reply_reader, "MOST_BYTES", 1_000)
    provider.on("arbiter", Fault("endless", body=(EVENT % b"null") * 100, content_type="text/event-stream"))

    said = await said_by(way.entry, {})

    assert "more than 1,000 bytes" in reason(said["failure"])


async def test_the_text_of_any_model_is_bounded(
    provider: Provider, service: ConsortiumService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calling, "MOST_CHARACTERS", 1_000)
    provider.on("a", "word " * 500)

    run = await consulted(service, "a", "b")

    error = run.iterations[0].responses[0].error
    assert error == "The provider's reply has more than 1,000 characters; the rest was not read."


async def test_an_error_is_told_by_its_beginning(provider: Provider, way: Way) -> None:
    body = b'{"error": {"message": "No such temperature."}}' + MEGABYTE * 50
    headers = (("content-encoding", "gzip"), ("x-should-retry", "false"))
    provider.on("arbiter", Fault("error", status=400, body=gzip.compress(body), headers=headers))

    said = await said_by(way.entry, {})

    assert said["failure"]["status_code"] == 400


@contextmanager
def server(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[tuple[str, list[str]]]:
    """A server on a port of its own; its address, and what it was sent."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            seen.append(f"{self.headers}{body.decode()}")
            answer(self)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listening.serve_forever, args=[0.01])
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.server_port}", seen
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()


def not_found(handler: BaseHTTPRequestHandler) -> None:
    """Answer 404."""
    handler.send_response(404)
    handler.send_header("content-length", "0")
    handler.end_headers()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_to_another_server_takes_neither_the_question_nor_the_key(
    provider: Provider, way: Way, status: int
) -> None:
    with server(not_found) as (elsewhere, seen):
        headers = (("location", f"{elsewhere}/v1/chat/completions"),)
        provider.on("arbiter", Fault("moved", status=status, body=b"", headers=headers))

        said = await said_by(way.entry, {})

    assert seen == [] and f"redirects to {elsewhere}" in reason(said["failure"])


async def test_redirects_to_the_same_server_are_few(provider: Provider, way: Way) -> None:
    headers = (("location", "/v1/chat/completions"),)
    provider.on("arbiter", lambda _: Fault("moved", status=308, body=b"", headers=headers))

    said = await said_by(way.entry, {})

    assert said["failure"] and provider.count() <= 5


@pytest.mark.parametrize(
    ("location", "leaves"),
    [
        ("/v2/chat", False),
        ("https://api.example/v2", False),
        ("https://user:word@api.example/v2", False),
        ("http://api.example/v2", True),
        ("https://api.example:8443/v2", True),
        ("https://api.example.evil/v2", True),
        ("//evil.example/", True),
        ("https://api.example@evil.example/", True),
    ],
)
def test_another_server_is_another_scheme_host_or_port(location: str, leaves: bool) -> None:
    assert reply_bounds.leaves_its_server("https://api.example/v1/chat", location) is leaves


def test_a_small_chunk_becomes_no_large_one() -> None:
    decoder = reply_bounds.Decoder("gzip")

    pieces = decoder.feed(gzip.compress(MEGABYTE * 20))

    assert len(next(pieces)) <= 2**16  # the others are made when they are asked for


def test_an_unknown_encoding_is_a_fault() -> None:
    with pytest.raises(ReplyFault):
        list(reply_bounds.Decoder("zstd").feed(b"x"))
