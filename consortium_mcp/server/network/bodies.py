"""Reads request bodies completely, and refuses those whose parsing would delay all callers."""

from typing import Any

import anyio.lowlevel
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES = 4 * 1024 * 1024
"""The SDK's own limit."""

MOST_VALUES = 10_000
"""The most values and names in a body: parsing 4 MiB of `[],` would take a quarter of a second."""


class WholeBodies:
    """Passes on requests with a complete body that is fast to parse.

    A request whose client leaves in the middle of it is dropped: the SDK would handle it and log a traceback. A client
    that asks for what it missed gets a new stream: the SDK, which keeps nothing here, would not answer it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle the request, or say why its body is refused."""
        kept = {**scope, "headers": [(name, value) for name, value in scope["headers"] if name != b"last-event-id"]}
        if scope["method"] != "POST":
            await self._app(kept, receive, send)
            return
        try:
            body = await _read(Request(scope, receive))
        except ClientDisconnect:
            return
        if body is None:
            refusal = PlainTextResponse(f"The body has more than {MOST_BYTES} bytes. Send less.", 413)
            await refusal(scope, receive, send)
        elif problem := problem_of(body):
            await PlainTextResponse(problem, 400)(scope, receive, send)
        else:
            await anyio.lowlevel.checkpoint()  # other callers go on before it is parsed
            await self._app(kept, _with(body, receive), send)


async def _read(request: Request) -> bytes | None:
    """The body; None if it is too long. Raises ClientDisconnect."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > MOST_BYTES:
        return None
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            return None
    return bytes(body)


def _with(body: bytes, receive: Receive) -> Receive:
    """Receives the body first."""
    first: list[dict[str, Any]] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_next() -> Message:
        return first.pop() if first else await receive()

    return receive_next


def problem_of(body: bytes) -> str | None:
    """Why a body is refused; None if it is not."""
    if b"\0" in body:  # in UTF-16, quotation marks cannot be found by their byte
        return "The body is not JSON in UTF-8."
    if values_in(body) > MOST_VALUES:
        return f"The body has more than {MOST_VALUES} values. Send less."
    return None


def values_in(body: bytes) -> int:
    """At most how many values and names the beginning of a body has that is JSON; above the limit, only that it is.

    Each of them but the first stands behind a comma, a colon or a bracket outside of the texts.
    """
    without_escapes = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    outside = b"".join(without_escapes.split(b'"', 2 * MOST_VALUES + 2)[::2])
    return 1 + sum(outside.count(mark) for mark in (b",", b":", b"[", b"{"))
