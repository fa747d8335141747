"""Ends a caller's open requests when its token is revoked or expires."""

import asyncio

import anyio
from mcp.server.auth.provider import TokenVerifier
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LEAVING_SECONDS = 1.0
"""The seconds that a request may take to end after it is told that its client has left."""


class WhileKnown:
    """Serves a request while its token belongs to the same caller; later bytes are not sent."""

    def __init__(self, app: ASGIApp, verifier: TokenVerifier, seconds: float) -> None:
        """Create it without a check; a request's token is verified before it arrives here.

        Args:
            verifier: identifies the caller of a token.
            seconds: between two checks of the token of an open request.
        """
        self._app = app
        self._verifier = verifier
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle the request; its stream ends when the token becomes invalid."""
        request = _Watched(receive, send)
        with anyio.CancelScope() as reach:
            watch = asyncio.create_task(self._watch(scope, request, reach))
            try:
                await self._app(scope, request.receive, request.send)
            finally:
                watch.cancel()
        if request.over.is_set():
            await request.end(scope)

    async def _watch(self, scope: Scope, request: "_Watched", reach: anyio.CancelScope) -> None:
        headers = dict(scope["headers"])
        token = headers.get(b"authorization", b"").decode("latin-1").partition(" ")[2].strip()
        caller = scope["user"].access_token.client_id
        while True:
            await asyncio.sleep(self._seconds)
            access = await self._verifier.verify_token(token)
            if access is None or access.client_id != caller:
                break
        request.over.set()
        await asyncio.sleep(LEAVING_SECONDS)
        reach.cancel()


class _Watched:
    """A request's messages, which end in both directions when its token becomes invalid."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self.over = asyncio.Event()
        self._has_begun = self._has_ended = False

    async def receive(self) -> Message:
        """The next message of the client, or its disconnection."""
        message: Message = {"type": "http.disconnect"}
        async with anyio.create_task_group() as group:

            async def leave() -> None:
                await self.over.wait()
                group.cancel_scope.cancel()

            group.start_soon(leave)
            message = await self._receive()
            group.cancel_scope.cancel()
        return message

    async def send(self, message: Message) -> None:
        """Send a message, unless the token is invalid."""
        if self.over.is_set():
            return
        self._has_begun = True
        self._has_ended = message["type"] == "http.response.body" and not message.get("more_body", False)
        await self._send(message)

    async def end(self, scope: Scope) -> None:
        """Complete an unfinished response."""
        if not self._has_begun:
            await PlainTextResponse("The token is no longer valid.", 401)(scope, self._receive, self._send)
        elif not self._has_ended:
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
