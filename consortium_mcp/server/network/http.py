"""Serves Streamable HTTP and SSE, on this machine or for a team."""

import logging
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import click
import uvicorn
from mcp.server.context import ServerMiddleware

from consortium_mcp._util.event_loop import run
from consortium_mcp.errors import ConsortiumError, Door, StoreUnusableError, speaking_at
from consortium_mcp.server.app import build_server
from consortium_mcp.server.base.choices import SchemaChoices
from consortium_mcp.server.base.toolset import offered_tools
from consortium_mcp.server.handshake import Front
from consortium_mcp.server.network.admission import Admission, AuditedVerifier
from consortium_mcp.server.network.h11_with_timeout import PromptConfig
from consortium_mcp.server.network.hidden_paths import HiddenPaths
from consortium_mcp.server.network.reopening import Reopening, not_ready
from consortium_mcp.server.network.sockets import allow_files, allowed_hosts, listening, urls
from consortium_mcp.server.network.tokens import Verifier, verifier_of
from consortium_mcp.server.network.web_app import Readiness, add_pages, web_app
from consortium_mcp.server.shutdown import end_soon
from consortium_mcp.server.web.site import site
from consortium_mcp.service.runner import Runner
from consortium_mcp.service.service import ConsortiumService
from consortium_mcp.settings import Settings, llm_user_path

logger = logging.getLogger(__name__)

PATHS = {"http": "/mcp", "sse": "/sse"}
"""The path of each transport."""

_OTHER_FILES = 1000
"""The number of open files besides clients' connections: database, providers, clients that are refused."""

_ANSWER_SECONDS = 0.5
"""The seconds that open answers may take after every run has been stopped."""

_IDLE_SECONDS = 75
"""The seconds that an idle connection stays open. Clients close theirs after 4 or 5 s and must be first: a request on a
closing connection is lost.
"""


def serve_http(settings: Settings) -> None:
    """Serve until a signal arrives; the addresses are written to stderr.

    If the database cannot be opened, every tool call returns that error, and each call tries to open it again.

    Raises:
        ConsortiumError: a tool name is unknown, the address is in use or reachable for others without a token, or the
            tokens cannot be read.
    """
    offered_tools(settings)  # a wrong name is reported before anything is opened
    verifier = verifier_of(settings)
    if settings.web_pages and verifier is None:
        raise ConsortiumError(
            "CONSORTIUM_WEB_PAGES needs a token, with which a person logs in: set CONSORTIUM_TOKEN or a token file. "
            "For yourself alone, `consortium-mcp web` serves the pages."
        )
    allow_files(settings.max_connections + _OTHER_FILES)
    with listening(settings, asks_for_token=verifier is not None) as listener:
        service = _opened(settings)
        reached = " and ".join(urls(settings, listener, [PATHS[one] for one in settings.transport]))
        click.echo(f"Serving on {reached}; Ctrl-C ends.", err=True)
        with speaking_at(Door.TOOLS):
            if service is None:
                service = run(_serve_reopening, settings, listener, verifier)
            if service is not None:
                with service:
                    run(_serve, service, listener, verifier)


def _opened(settings: Settings) -> ConsortiumService | None:
    """The service; None if its database cannot be opened, for a reason that is written to stderr."""
    try:
        return ConsortiumService(settings)
    except StoreUnusableError as error:
        click.echo(f"Error: {error}", err=True)
        return None


async def _serve_reopening(
    settings: Settings, listener: socket.socket, verifier: Verifier | None
) -> ConsortiumService | None:
    """Serve without a database until it can be opened; returns the service, or None after a signal."""
    reopening = Reopening(settings)
    before, admission = _middleware(settings, verifier)
    front = Front(SchemaChoices(list, settings), None, [*before, reopening], settings)
    admission.tools = front.server.tool_names()
    web = _web(web_app(front.server, settings, not_ready, allowed_hosts(settings, listener), verifier), settings)

    async def end_when_opened() -> None:
        await reopening.opened.wait()
        await _finish_answers(web)

    async with anyio.create_task_group() as group:
        group.start_soon(end_on_signal, None, web)
        group.start_soon(end_when_opened)
        await web.serve(sockets=[listener.dup()])  # it closes the sockets that it gets
        group.cancel_scope.cancel()
    return reopening.service


def _middleware(settings: Settings, verifier: Verifier | None) -> tuple[list[ServerMiddleware[Any]], Admission]:
    """The middleware before every request over the network, and the part of it that admits callers."""
    admission = Admission(settings.max_requests_per_caller, needs_caller=verifier is not None)
    return [_hidden(settings), admission], admission


def _hidden(settings: Settings) -> HiddenPaths:
    return HiddenPaths([settings.database_path.parent.absolute(), llm_user_path().absolute(), Path.home()])


def _web(app: object, settings: Settings) -> "WebServer":
    logging.getLogger("uvicorn.error").disabled = False
    return WebServer(server_config(app, settings))


async def _serve(service: ConsortiumService, listener: socket.socket, verifier: Verifier | None) -> None:
    settings = service.settings
    async with Runner(service) as runner:
        if settings.resume != "manual" and not settings.read_only:
            await runner.recover()
        before, admission = _middleware(settings, verifier)
        server = build_server(runner, *before)
        admission.tools = server.tool_names()
        ready, hosts = Readiness(runner).answer, allowed_hosts(settings, listener)
        app = web_app(server, settings, ready, hosts, verifier, service.timing)
        if settings.web_pages and verifier is not None:
            add_pages(app, site(runner, AuditedVerifier(verifier).verify_token, _hidden(settings).shortened), hosts)
        web = _web(app, settings)
        async with anyio.create_task_group() as group:
            group.start_soon(end_on_signal, runner, web)
            if verifier is not None and hasattr(signal, "SIGHUP"):  # not on Windows
                group.start_soon(_reload_on_hangup, verifier)
            await web.serve(sockets=[listener])
            group.cancel_scope.cancel()


def server_config(app: object, settings: Settings) -> PromptConfig:
    return PromptConfig(
        app,
        settings.request_timeout_seconds,
        log_level=settings.log_level.lower(),
        log_config=None,
        access_log=False,  # it would log session ids, and the audit log is more complete
        root_path=settings.root_path.rstrip("/"),
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        limit_concurrency=settings.max_connections,
        timeout_keep_alive=_IDLE_SECONDS,
        server_header=False,
    )


class WebServer(uvicorn.Server):
    """A uvicorn server without signal handling, which would end the process before runs are closed."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture no signals."""
        yield


async def _finish_answers(web: uvicorn.Server) -> None:
    """End a web server after its open answers, or after a short time."""
    web.should_exit = True
    logging.getLogger("uvicorn.error").disabled = True  # every closed connection would log a traceback
    await anyio.sleep(_ANSWER_SECONDS)
    web.force_exit = True


async def end_on_signal(runner: Runner | None, web: uvicorn.Server) -> None:
    """On a signal: let runs finish within the grace period, release the others, finish open answers, then end.

    Args:
        runner: None if the database cannot be opened, so that there are no runs.
    """
    hurry = anyio.Event()

    async def end() -> None:
        if runner is not None:
            await runner.leave(runner.service.settings.grace_seconds, hurry)
        end_soon(0 if runner else 1)
        await _finish_answers(web)

    with suppress(NotImplementedError), anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with anyio.create_task_group() as group:
            await anext(signals)
            group.start_soon(end)
            async for _ in signals:
                hurry.set()


async def _reload_on_hangup(verifier: Verifier) -> None:
    with suppress(NotImplementedError), anyio.open_signal_receiver(signal.SIGHUP) as signals:
        async for _ in signals:
            try:
                verifier.reload()
                logger.warning("The token file was read again")
            except ConsortiumError as error:
                logger.error("The token file cannot be read, so the earlier tokens stay valid: %s", error)
