"""Serving over Streamable HTTP and SSE, on this machine's loopback addresses only."""

import logging
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import anyio
import click
import uvicorn
from mcp.server.transport_security import TransportSecuritySettings

from consortium_mcp.consultancy import Consultancy
from consortium_mcp.errors import ConsortiumError
from consortium_mcp.runner import Runner
from consortium_mcp.server.app import build_server
from consortium_mcp.server.exit import end_soon
from consortium_mcp.settings import Settings

PATHS = {"http": "/mcp", "sse": "/sse"}
"""Where each transport is reached."""

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_ANSWER_SECONDS = 0.5
"""How long answers that are under way may take once every run has been stopped."""

_IDLE_SECONDS = 75
"""How long an idle connection stays open. Clients close theirs after 4 or 5 s and must be the first to do so: a request
that meets a closing connection is lost."""


def serve_http(settings: Settings, transport: str, host: str, port: int) -> None:
    """Serve until a signal comes; what was asked is told on stderr.

    Args:
        transport: `http` or `sse`.
        port: 0 means any free one.

    Raises:
        ConsortiumError: the address is not on loopback, or taken.
    """
    if host not in _LOOPBACK:
        raise ConsortiumError(
            f"--host {host} would let others spend your money and read your answers: there is no access control yet. "
            f"Use {', '.join(_LOOPBACK)}."
        )
    with _listening(host, port) as listener, Consultancy(settings) as consultancy:
        names = [f"{name}:{listener.getsockname()[1]}" for name in ("127.0.0.1", "localhost", "[::1]")]
        click.echo(f"Serving on http://{names[_LOOPBACK.index(host)]}{PATHS[transport]}; Ctrl-C ends.", err=True)
        anyio.run(_serve, consultancy, transport, listener, names)


async def _serve(consultancy: Consultancy, transport: str, listener: socket.socket, names: Sequence[str]) -> None:
    # No origin but our own is allowed: a browser page, of this machine or another, has no business here.
    origins = [f"http://{name}" for name in names]
    security = TransportSecuritySettings(allowed_hosts=list(names), allowed_origins=origins)
    async with Runner(consultancy) as runner:
        if consultancy.settings.resume == "auto":
            await runner.recover()
        server = build_server(runner)
        app: Any = (
            server.streamable_http_app(transport_security=security)
            if transport == "http"
            else server.sse_app(transport_security=security)
        )
        level = consultancy.settings.log_level.lower()
        web = _Server(uvicorn.Config(app, log_level=level, log_config=None, timeout_keep_alive=_IDLE_SECONDS))
        async with anyio.create_task_group() as group:
            group.start_soon(_end_on_signal, runner, web)
            await web.serve(sockets=[listener])
            group.cancel_scope.cancel()


class _Server(uvicorn.Server):
    """Leaves signals to us: uvicorn's own handling kills the process before runs are closed."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture nothing."""
        yield


async def _end_on_signal(runner: Runner, web: uvicorn.Server) -> None:
    """Stop spending first, then answer what can be answered, then end."""
    with suppress(NotImplementedError), anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            end_soon(0)
            web.should_exit = True
            logging.getLogger("uvicorn.error").disabled = True  # a traceback for each connection that is cut now
            await runner.stop()
            await anyio.sleep(_ANSWER_SECONDS)
            web.force_exit = True


def _listening(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise ConsortiumError(f"Nothing can listen on {host}:{port}: {error.strerror}. Give another --port.") from error
