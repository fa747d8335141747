"""The servers that replace providers, in their own thread, and the redirection of llm's plugins to them."""

import asyncio
import importlib
import json
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

from tests.clients.plugin_replies import Shapes

Answer = Sequence[bytes] | int
"""The pieces of a stream, or the status of an error."""

LOST = b""
"""A piece that stands for a lost connection."""


class Endpoint:
    """One provider, which answers every question with the same pieces or error until it is changed."""

    def __init__(self, shapes: Shapes) -> None:
        self.shapes = shapes
        self.answer: Answer = []
        self.body: Any = None
        """Of an error."""
        self.connections = 0
        self.asked: list[dict[str, Any]] = []
        """The questions."""
        self.heard: threading.Event | None = None
        """Awaited, for a second, after the first piece: only a reader that processes the stream at once can set it."""
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """All requests of one connection."""
        is_counted = False
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                path = head.split(b" ", 2)[1].decode().partition("?")[0]
                headers = [line.partition(b":") for line in head.lower().split(b"\r\n")]
                length = next((int(value) for name, _, value in headers if name == b"content-length"), 0)
                body = await reader.readexactly(length)
                if path in self.shapes.own:
                    _send(writer, 200, json.dumps(self.shapes.own[path]).encode())
                    continue
                self.connections += not is_counted
                is_counted = True
                self.asked.append(json.loads(body))
                if isinstance(self.answer, int):
                    _send(writer, self.answer, json.dumps(self.body).encode())
                elif not await self._stream(writer, self.answer):
                    return
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            return
        finally:
            writer.close()

    async def _stream(self, writer: asyncio.StreamWriter, pieces: Sequence[bytes]) -> bool:
        """Send the pieces; False if the connection is to be lost."""
        kind = self.shapes.content_type
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        for place, piece in enumerate(pieces):
            if piece == LOST:
                await writer.drain()
                return False
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            await writer.drain()
            if place == 0 and self.heard is not None:
                await asyncio.to_thread(self.heard.wait, 1)
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True


def _send(writer: asyncio.StreamWriter, status: int, body: bytes) -> None:
    wait = "Retry-After: 1\r\n" if status == 429 else ""
    head = f"HTTP/1.1 {status} Said\r\nContent-Type: application/json\r\n{wait}Content-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextmanager
def serving(*handlers: Serve) -> Iterator[list[str]]:
    """Servers on this machine, one for each handler, and their addresses."""
    urls: list[str] = []
    ready, over = threading.Event(), threading.Event()

    async def serve() -> None:
        for handler in handlers:
            server = await asyncio.start_server(handler, "127.0.0.1", 0)
            urls.append(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        ready.set()
        await asyncio.to_thread(over.wait)

    # asyncio.run cancels the connections that are still open
    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    ready.wait()
    yield urls
    over.set()
    thread.join()


@contextmanager
def hosts_at(urls: dict[str, str]) -> Iterator[None]:
    """Redirect requests of httpx and httpx2 for these hosts to these addresses."""
    with ExitStack() as stack:
        for client in map(importlib.import_module, ("httpx", "httpx2")):
            for transport, name in (
                ("AsyncHTTPTransport", "handle_async_request"),
                ("HTTPTransport", "handle_request"),
            ):
                owner = getattr(client, transport)
                stack.enter_context(mock.patch.object(owner, name, _moved(getattr(owner, name), urls)))
        yield


def _moved(send: Any, urls: dict[str, str]) -> Any:
    """A send function that redirects a request if `urls` has an address for its host."""

    def send_there(transport: Any, request: Any) -> Any:
        if url := urls.get(request.url.host):
            request.url = type(request.url)(url).copy_with(raw_path=request.url.raw_path)
        return send(transport, request)

    return send_there


@contextmanager
def api_base_at(url: str, *classes: type) -> Iterator[None]:
    """Give models of these classes, which have a fixed address, another one."""

    def moved(build: Any) -> Any:
        def build_there(model: Any, *arguments: Any, **named: Any) -> None:
            build(model, *arguments, **named)
            model.api_base = url

        return build_there

    patches = [mock.patch.object(one, "__init__", moved(one.__init__)) for one in classes]  # type: ignore[misc]
    for patch in patches:
        patch.start()
    yield
    for patch in patches:
        patch.stop()
