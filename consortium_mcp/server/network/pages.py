"""Serves the pages to the person at this machine."""

import hmac
import secrets
import socket
from collections.abc import Callable

import anyio
from mcp.server.auth.provider import AccessToken
from starlette.types import ASGIApp

from consortium_mcp._util.event_loop import run
from consortium_mcp.errors import Door, speaking_at
from consortium_mcp.server.network.http import WebServer, end_on_signal, server_config
from consortium_mcp.server.network.sockets import allowed_hosts, listening, urls
from consortium_mcp.server.network.web_app import HostCheck
from consortium_mcp.server.web.sessions import Verify
from consortium_mcp.server.web.site import site
from consortium_mcp.service.runner import Runner
from consortium_mcp.service.service import ConsortiumService
from consortium_mcp.settings import Settings


def serve_pages(settings: Settings, tell: Callable[[str], None]) -> None:
    """Serve the pages until a signal comes.

    Args:
        settings: its `host` must be this machine.
        tell: receives the URL with the token, once it can be opened.

    Raises:
        ConsortiumError: the address is taken, or is not of this machine alone.
    """
    token = secrets.token_urlsafe(24)
    with listening(settings, asks_for_token=False) as listener, ConsortiumService(settings) as service:
        (url,) = urls(settings, listener, ["/login"])
        with speaking_at(Door.COMMANDS):
            run(_serve, service, listener, token, lambda: tell(f"{url}?token={token}"))


async def _serve(service: ConsortiumService, listener: socket.socket, token: str, ready: Callable[[], None]) -> None:
    async with Runner(service) as runner:
        app: ASGIApp = HostCheck(site(runner, _only(token)), allowed_hosts(service.settings, listener))
        web = WebServer(server_config(app, service.settings))
        async with anyio.create_task_group() as group:
            group.start_soon(end_on_signal, runner, web)
            ready()
            await web.serve(sockets=[listener])
            group.cancel_scope.cancel()


def _only(token: str) -> Verify:
    """Accepts this token alone; its caller has no name, as on the command line."""

    async def verify(given: str) -> AccessToken | None:
        is_right = hmac.compare_digest(given.encode("utf-8", "replace"), token.encode())
        return AccessToken(token="", client_id="", scopes=[]) if is_right else None

    return verify
