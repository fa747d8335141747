"""The real server in a process of its own, and the SDK's client connected to it."""

import array
import fcntl
import json
import os
import re
import subprocess
import sys
import termios
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx2
from mcp import Client, StdioServerParameters, stdio_client
from mcp.client.session import SamplingFnT
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult

from tests.ready import python

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "tests", "version": "1"}},
}
JSON = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
"""The client's Content-Type and Accept headers."""

_FULL_PIPE = 60_000
"""Bytes; Linux gives a pipe 65,536."""


@asynccontextmanager
async def connected(
    mode: str,
    errlog: Path,
    *arguments: str,
    command: str | None = None,
    sampling: SamplingFnT | None = None,
    **environment: str,
) -> AsyncIterator[Client]:
    """A client of `python -m consortium_mcp`, started with this process's environment and more.

    Args:
        mode: `auto` negotiates the newest revision, `legacy` the handshake of 2025-11-25.
        errlog: where the server's stderr goes.
        command: an installed command to start instead.
        sampling: the client's own model; None lends none.
    """
    line = [command, *arguments] if command else python("-m", "consortium_mcp", *arguments)
    server = StdioServerParameters(command=line[0], args=line[1:], env={**os.environ, **environment})
    with errlog.open("w") as log:
        async with Client(stdio_client(server, errlog=log), mode=mode, sampling_callback=sampling) as client:
            yield client


def said(result: CallToolResult) -> str:
    """The text of a tool's result."""
    return "".join(getattr(block, "text", "") for block in result.content)


def structured(result: CallToolResult) -> dict[str, Any]:
    """The structured content of a result that is no error."""
    assert not result.is_error, said(result)
    assert result.structured_content is not None
    return dict(result.structured_content)


async def read(client: Client, uri: str) -> str:
    """The text of a resource."""
    return "".join(getattr(content, "text", "") for content in (await client.read_resource(uri)).contents)


class StdioServer:
    """`python -m consortium_mcp` on pipes, controlled line by line, for tests that the SDK's client does not allow."""

    def __init__(self, errlog: Path, *arguments: str, **environment: str) -> None:
        """Start it and shake hands (revision 2025-11-25)."""
        with errlog.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "consortium_mcp", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, **environment},
            )
        self._last_id = 0
        self.heard: list[str] = []
        """The methods of the notifications that have arrived."""
        client = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "tests", "version": "1"}}
        self.answer(self.request("initialize", **client))
        self.notify("notifications/initialized")

    def __enter__(self) -> "StdioServer":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        with self.process:  # closes the pipes, and waits
            pass

    def request(self, method: str, **params: Any) -> int:
        """Send a request; its id."""
        self._last_id += 1
        self._send({"id": self._last_id, "method": method, "params": params})
        return self._last_id

    def notify(self, method: str, **params: Any) -> None:
        """Send a notification."""
        self._send({"method": method, "params": params})

    def call(self, tool: str, **arguments: Any) -> int:
        """Call a tool; the request's id."""
        return self.request("tools/call", name=tool, arguments=arguments)

    def answer(self, request_id: int) -> dict[str, Any]:
        """Wait for the result of a request; messages before it are skipped."""
        return dict(self._wait(lambda message: message.get("id") == request_id)["result"])

    def error(self, request_id: int) -> dict[str, Any]:
        """Wait for the error that a request is answered with."""
        return dict(self._wait(lambda message: message.get("id") == request_id)["error"])

    def wait_for(self, notification: str) -> None:
        """Wait for a notification, unless it came already."""
        if notification not in self.heard:
            self._wait(lambda message: message.get("method") == notification)

    def _wait(self, is_meant: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            message: dict[str, Any] = json.loads(line)
            if "id" not in message:
                self.heard.append(message["method"])
            if is_meant(message):
                return message
        raise EOFError("the server ended without saying what is waited for")

    def close_stdin(self) -> None:
        """Close stdin, as a client does when it leaves."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def close_stdout(self) -> None:
        """Close stdout, as a client does that stops reading."""
        assert self.process.stdout is not None
        self.process.stdout.close()

    def wait_until_nothing_more_fits(self) -> None:
        """Return when unread answers fill the pipe: the server waits in the middle of one."""
        assert self.process.stdout is not None
        waiting = array.array("i", [0])
        while waiting[0] < _FULL_PIPE:
            time.sleep(0.01)
            fcntl.ioctl(self.process.stdout, termios.FIONREAD, waiting)

    def wait(self) -> int:
        """The exit status, once it has ended."""
        return self.process.wait(timeout=30)

    def _send(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        self.process.stdin.flush()


@contextmanager
def http_server(
    errlog: Path, transport: str = "http", *flags: str, **environment: str
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The server on a free port of loopback, and its first URL; killed at the end if it still runs then."""
    command = python("-m", "consortium_mcp", "serve", "--transport", transport, "--port", "0", *flags)
    with errlog.open("w") as log:  # a file, not a pipe, which a server that logs much would fill and wait
        pipe, environment = subprocess.PIPE, {**os.environ, **environment}
        process = subprocess.Popen(command, stdout=pipe, stderr=log, text=True, env=environment)
    try:
        yield process, _announced(process, errlog)
    finally:
        process.kill()
        process.communicate()  # its stdout ends with the server itself, of which the process may be a launcher


def _announced(process: subprocess.Popen[str], errlog: Path) -> str:
    """The first URL that the server announces; "" if it ends before."""
    while process.poll() is None:
        if found := re.search(r"^Serving on (\S+?)[; ]", errlog.read_text(), re.MULTILINE):
            return found[1]
        time.sleep(0.02)
    return ""


def resident_mb(pid: int) -> float:
    """A process's memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@asynccontextmanager
async def http_client(url: str, mode: str, token: str | None = None) -> AsyncIterator[Client]:
    """A client of a server over Streamable HTTP, or over SSE by the URL; None sends no token."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with AsyncExitStack() as stack:
        if url.endswith("/sse"):
            transport: Any = sse_client(url, headers=headers, timeout=60)
        else:
            http = await stack.enter_async_context(httpx2.AsyncClient(headers=headers, timeout=60))
            transport = streamable_http_client(url, http_client=http)
        yield await stack.enter_async_context(Client(transport, mode=mode))
