"""The web application: `/mcp`, `/sse`, `/healthz` and `/readyz`, behind the checks of host and token."""

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import anyio
import anyio.to_thread
from mcp.server.auth.middleware.bearer_auth import BearerAuthBackend, RequireAuthMiddleware
from mcp.server.auth.routes import build_resource_metadata_url, create_protected_resource_routes
from mcp.server.transport_security import TransportSecurityMiddleware, TransportSecuritySettings
from pydantic import AnyHttpUrl
from starlette.applications import Starlette
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from consortium_mcp._util.timing import DEFAULT_TIMING, Timing
from consortium_mcp.errors import ConsortiumError, StoreUnusableError
from consortium_mcp.models.catalogue import load_catalogue
from consortium_mcp.server.base.mcp_server import StrictServer
from consortium_mcp.server.base.sdk_private import open_sessions
from consortium_mcp.server.network.admission import AuditedVerifier
from consortium_mcp.server.network.bodies import WholeBodies
from consortium_mcp.server.network.shares import Shares
from consortium_mcp.server.network.token_watch import WhileKnown
from consortium_mcp.server.network.tokens import Verifier
from consortium_mcp.service.runner import Runner
from consortium_mcp.settings import Settings

READY_SECONDS = 5
"""The seconds for which an answer of `/readyz` is reused, so that frequent requests cost nothing."""

Endpoint = Callable[[Request], Awaitable[Response]]
"""Answers the requests for one path."""

_UNCHECKED = TransportSecuritySettings(enable_dns_rebinding_protection=False)
"""For the SDK's apps: `HostCheck` has already checked, and the SDK's check logs a traceback for each refusal."""


def web_app(
    server: StrictServer,
    settings: Settings,
    ready: Endpoint,
    hosts: Sequence[str],
    verifier: Verifier | None,
    timing: Timing = DEFAULT_TIMING,
) -> Starlette:
    """The web application.

    Args:
        ready: answers `/readyz`.
        hosts: the exact Host headers that are accepted.
        verifier: identifies the caller of a token; None requires no token.
    """
    routed = Shares(
        WholeBodies(Starlette(routes=_mcp_routes(server, settings))), settings, lambda: open_sessions(server)
    )
    guarded = _guarded(routed, settings, verifier, timing.token_check)
    asked = HostCheck(guarded, hosts)
    routes = [Route("/healthz", _health), Route("/readyz", ready), *_metadata_routes(settings)]
    lifespan = (lambda _: server.session_manager.run()) if "http" in settings.transport else None
    return Starlette(routes=[*routes, Mount("", app=asked)], lifespan=lifespan)


def add_pages(app: Starlette, pages: ASGIApp, hosts: Sequence[str]) -> None:
    """Serve the pages for a browser below `/app`; they have a login of their own."""
    app.router.routes.insert(0, Mount("/app", app=HostCheck(pages, hosts)))


def _mcp_routes(server: StrictServer, settings: Settings) -> list[BaseRoute]:
    """The SDK's routes of each enabled transport."""
    routes: list[BaseRoute] = []
    if "http" in settings.transport:
        routes += server.streamable_http_app(transport_security=_UNCHECKED, max_sessions=settings.max_sessions).routes
    if "sse" in settings.transport:
        routes += server.sse_app(transport_security=_UNCHECKED).routes
    return routes


def _guarded(app: ASGIApp, settings: Settings, verifier: Verifier | None, check_seconds: float) -> ASGIApp:
    """The application, only for requests with a valid token, and only while it is valid."""
    if verifier is None:
        return app
    resource = _resource(settings)
    known = WhileKnown(app, verifier, check_seconds)
    guard = RequireAuthMiddleware(known, [], build_resource_metadata_url(resource) if resource else None)
    return AuthenticationMiddleware(guard, backend=BearerAuthBackend(AuditedVerifier(verifier)))


def _metadata_routes(settings: Settings) -> list[Route]:
    """The routes from which clients learn the accepted OAuth issuer."""
    resource = _resource(settings)
    return create_protected_resource_routes(resource, [AnyHttpUrl(settings.oauth_issuer or "")]) if resource else []


def _resource(settings: Settings) -> AnyHttpUrl | None:
    """This server's URL in OAuth tokens; None without OAuth."""
    return AnyHttpUrl(settings.oauth_resource) if settings.oauth_issuer and settings.oauth_resource else None


class Readiness:
    """Whether a consult could be answered now; no model is called for it."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._asking = anyio.Lock()
        self._problem: str | None = None
        self._asked = float("-inf")

    async def answer(self, request: Request) -> Response:
        """200, or 503 with the reason; it needs no token, so it names no path and no model."""
        async with self._asking:
            if self._asked + READY_SECONDS < time.monotonic():
                self._problem = await anyio.to_thread.run_sync(self._find_problem)
                self._asked = time.monotonic()
        problem = "the server is shutting down" if self._runner.service.live_runs.leaving else self._problem
        return JSONResponse({"ready": problem is None, "why": problem}, 200 if problem is None else 503)

    def _find_problem(self) -> str | None:
        service = self._runner.service
        try:
            service.store.database.check_writable()
        except StoreUnusableError:
            return "the database cannot be written; the log has the reason"
        try:
            usable = load_catalogue(service.settings).usable_ids(service.settings.allowed_models)
        except ConsortiumError:
            return "llm's configuration cannot be read; the log has the reason"
        if not usable:
            return "no model can be used: keys are missing, or none is allowed; `consortium-mcp models` says which"
        return None


async def _health(request: Request) -> Response:
    """200, because the process responds."""
    return PlainTextResponse("ok")


class HostCheck:
    """Refuses foreign Host headers, and requests from foreign web pages, by their Origin header."""

    def __init__(self, app: ASGIApp, hosts: Sequence[str]) -> None:
        self._app = app
        origins = [f"{scheme}://{host}" for host in hosts for scheme in ("http", "https")]
        settings = TransportSecuritySettings(allowed_hosts=list(hosts), allowed_origins=origins)
        self._check = TransportSecurityMiddleware(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal: Any = await self._check.validate_request(Request(scope))
        await (refusal or self._app)(scope, receive, send)
