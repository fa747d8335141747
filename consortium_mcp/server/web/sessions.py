"""Browser sessions: a browser sends the token once, and gets a cookie that scripts and other sites cannot use."""

import secrets
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple
from urllib.parse import parse_qs

from mcp.server.auth.provider import AccessToken
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from consortium_mcp._util.caller import calling

COOKIE = "consortium_session"
"""The name of the cookie."""

SESSION_SECONDS = 12 * 3600
"""The time from a login to its end."""

MOST_SESSIONS = 100
"""The largest number of sessions; one more ends the oldest."""

LOGIN, LOGOUT = "/login", "/logout"


Verify = Callable[[str], Awaitable[AccessToken | None]]
"""Identifies the caller of a token; None for a token that is not valid."""


class _Session(NamedTuple):
    """One browser that has logged in."""

    token: str
    caller: str | None
    ends: float


class Sessions:
    """Lets requests pass that have a session, in the name of its caller; a browser that shows a token gets one.

    The token is verified again at each request, so that a session ends with it.
    """

    def __init__(
        self,
        app: ASGIApp,
        verify: Verify,
        ask: Callable[[Request, bool], Awaitable[Response]],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin without a session.

        Args:
            app: the application behind the login.
            verify: identifies the caller of a token.
            ask: the page that asks for the token; True says that the last one was wrong.
            now: the time in seconds.
        """
        self._app = app
        self._verify = verify
        self._ask = ask
        self._now = now
        self._sessions: dict[str, _Session] = {}
        """The sessions by their ids, oldest first."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the login; every other request needs a session."""
        request = Request(scope, receive)
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if path == LOGIN:
            response = await self._log_in(request)
        elif (session := await self._known(request)) is None:
            response = await self._ask(request, False)
        elif path == LOGOUT and request.method == "POST":
            self._sessions.pop(request.cookies[COOKIE], None)
            response = RedirectResponse(address(request, LOGIN), 303)
        else:
            with calling(session.caller):
                await self._app(scope, receive, send)
            return
        await response(scope, receive, send)

    async def _log_in(self, request: Request) -> Response:
        """Begin a session for a valid token, from the link or the form."""
        given = request.query_params.get("token")
        if request.method == "POST":
            given = (await form_of(request)).get("token")
        if given is None:
            return await self._ask(request, False)
        access = await self._verify(given.strip())
        if access is None:
            return await self._ask(request, True)
        if len(self._sessions) >= MOST_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        cookie = secrets.token_urlsafe(32)
        caller = access.client_id or None
        self._sessions[cookie] = _Session(given.strip(), caller, self._now() + SESSION_SECONDS)
        response = RedirectResponse(address(request, "/"), 303)
        response.set_cookie(
            COOKIE,
            cookie,
            max_age=SESSION_SECONDS,
            path=request.scope.get("root_path") or "/",
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )
        return response

    async def _known(self, request: Request) -> _Session | None:
        """The session of a request; None without one, or if its time or its token is over."""
        session = self._sessions.get(request.cookies.get(COOKIE, ""))
        if session is None or session.ends <= self._now():
            return None
        access = await self._verify(session.token)
        return session if access is not None and (access.client_id or None) == session.caller else None


def address(request: Request, path: str) -> str:
    """The address of one of our pages, with the root path."""
    return f"{request.scope.get('root_path', '')}{path}"


LONGEST_FORM = 4_000_000
"""Bytes of a form that is read."""

MOST_FIELDS = 50
"""The largest number of fields of a form."""


class FormTooLongError(Exception):
    """A form is longer than `LONGEST_FORM`, or has more than `MOST_FIELDS` fields."""


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form; the last value of a name counts. Raises FormTooLongError."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > LONGEST_FORM:
            raise FormTooLongError
    try:
        fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError as error:
        raise FormTooLongError from error
    return {name: values[-1] for name, values in fields.items()}
