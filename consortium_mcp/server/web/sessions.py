"""Who is logged in: a browser shows the token once, and gets a cookie that no script reads and no other page sends."""

import hmac
import secrets
import time
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

COOKIE = "consortium_session"
"""The name of the cookie."""

SESSION_SECONDS = 12 * 3600
"""The time from a login to its end."""

MOST_SESSIONS = 100
"""The largest number of sessions; one more ends the oldest."""

LOGIN, LOGOUT = "/login", "/logout"


class Sessions:
    """Lets requests pass that have a session, and begins a session for each browser that shows the token."""

    def __init__(
        self,
        app: ASGIApp,
        token: str,
        ask: Callable[[Request, bool], Awaitable[Response]],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin without a session.

        Args:
            app: what is behind the login.
            token: the token that a browser must show.
            ask: the page that asks for the token; True tells that the last one was wrong.
            now: the time in seconds.
        """
        self._app = app
        self._token = token
        self._ask = ask
        self._now = now
        self._ends: dict[str, float] = {}
        """When each session ends, by its id, oldest first."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the login itself; everything else needs a session."""
        request = Request(scope, receive)
        if request.url.path == LOGIN:
            response = await self._log_in(request)
        elif not self._is_known(request):
            response = await self._ask(request, False)
        elif request.url.path == LOGOUT and request.method == "POST":
            self._ends.pop(request.cookies[COOKIE], None)
            response = RedirectResponse(LOGIN, 303)
        else:
            await self._app(scope, receive, send)
            return
        await response(scope, receive, send)

    async def _log_in(self, request: Request) -> Response:
        """Begin a session for the right token, from the link or the form."""
        given = request.query_params.get("token")
        if request.method == "POST":
            given = (await form_of(request)).get("token")
        if given is None:
            return await self._ask(request, False)
        if not hmac.compare_digest(given.strip().encode(), self._token.encode()):
            return await self._ask(request, True)
        session = secrets.token_urlsafe(32)
        if len(self._ends) >= MOST_SESSIONS:
            del self._ends[next(iter(self._ends))]
        self._ends[session] = self._now() + SESSION_SECONDS
        response = RedirectResponse("/", 303)
        response.set_cookie(COOKIE, session, max_age=SESSION_SECONDS, httponly=True, samesite="strict")
        return response

    def _is_known(self, request: Request) -> bool:
        return self._ends.get(request.cookies.get(COOKIE, ""), float("-inf")) > self._now()


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
