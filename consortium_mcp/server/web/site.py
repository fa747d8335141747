"""The pages: their addresses, their contents, and their buttons."""

from collections.abc import Awaitable, Callable, Mapping
from functools import cache, partial
from importlib import resources
from typing import Any

import anyio.to_thread
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from consortium_mcp._util.lazy import jinja2
from consortium_mcp.errors import ConsortiumError, InvalidConsortiumError, NotFoundError
from consortium_mcp.models.catalogue import load_catalogue
from consortium_mcp.records import Rating, Run
from consortium_mcp.records.request import ConsultRequest, read_request
from consortium_mcp.reports.html import templates
from consortium_mcp.server.web.sessions import FormTooLongError, Sessions, Verify, address, form_of
from consortium_mcp.service.answers import require_answer
from consortium_mcp.service.replay import open_replay
from consortium_mcp.service.runner import Runner
from consortium_mcp.service.stats import load_stats

PAGE_RUNS = 50
"""Runs on one page of the list."""

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    b"content-security-policy": _POLICY.encode(),
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"same-origin",
    b"cache-control": b"no-store",
}

_STATIC = {"htmx.min.js": "text/javascript", "style.css": "text/css"}

Handler = Callable[[Request], Awaitable[Response]]


def site(runner: Runner, verify: Verify, shortened: Callable[[str], str] = str) -> Starlette:
    """The application with all pages, behind the login.

    Args:
        verify: identifies the caller of a token.
        shortened: removes from an error what its reader must not see.
    """
    pages = _Pages(runner, shortened)
    routes = [
        Route("/", pages.runs),
        Route("/ask", pages.ask, methods=["GET", "POST"]),
        Route("/stats", pages.stats),
        Route("/consortiums", pages.consortiums),
        Route("/runs/{run_id}", pages.run),
        Route("/runs/{run_id}/live", pages.live),
        *(Route(f"/runs/{{run_id}}/{name}", do, methods=["POST"]) for name, do in pages.buttons.items()),
    ]
    inside = Starlette(
        routes=routes,
        exception_handlers={
            ConsortiumError: pages.refused,
            FormTooLongError: pages.too_long,
            404: pages.not_found,
        },
    )
    guarded = Sessions(inside, verify, pages.login)
    outside = [Route(f"/static/{name}", partial(_static, name)) for name in _STATIC]
    app = Starlette(routes=outside, middleware=[Middleware(_WithHeaders)])
    app.mount("/", guarded)
    return app


async def _static(name: str, request: Request) -> Response:
    """A file of the site."""
    folder = resources.files("consortium_mcp")
    place = folder / "reports" / "pages" if name == "style.css" else folder / "server" / "web" / "static"
    return Response((place / name).read_bytes(), media_type=_STATIC[name])


class _WithHeaders:
    """Tells the browser with each response to load nothing from elsewhere, to keep nothing and to tell nothing."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *_HEADERS.items()]}
            await send(message)

        await self._app(scope, receive, send_with_headers if scope["type"] == "http" else send)


class _Pages:
    """The content of each page."""

    def __init__(self, runner: Runner, shortened: Callable[[str], str]) -> None:
        self._runner = runner
        self._shortened = shortened
        self._service = runner.service
        self.buttons: Mapping[str, Handler] = {
            "cancel": self._cancel,
            "rate": self._rate,
            "replay": self._replay,
            "resume": self._resume,
        }

    async def runs(self, request: Request) -> Response:
        """The list of runs, newest first, a page at a time."""
        given = {name: request.query_params.get(name) or None for name in ("query", "consortium", "status", "before")}
        found = await self._service.store.outlines.find(
            given["query"], given["consortium"], given["status"], PAGE_RUNS + 1, given["before"]
        )
        following = found[PAGE_RUNS - 1].run_id if len(found) > PAGE_RUNS else None
        saved = await self._saved()
        return await _shown(request, "runs.html", runs=found[:PAGE_RUNS], following=following, given=given, saved=saved)

    async def ask(self, request: Request) -> Response:
        """The form of a question; it shows its plan, or opens its run."""
        if request.method == "GET":
            return await self._form(request, {**request.query_params})
        self._require_writing()
        fields = await form_of(request)
        try:
            wanted = _request_of(fields)
            if "plan" in fields:
                plan = await anyio.to_thread.run_sync(self._service.opener.plan, wanted)
                return await self._form(request, fields, plan=plan)
            run = await self._service.opener.opened(wanted, join=True)
        except ConsortiumError as error:
            return await self._form(request, fields, problem=self._shortened(str(error)), status=400)
        self._runner.submit(run)
        return RedirectResponse(address(request, f"/runs/{run.run_id}"), 303)

    async def run(self, request: Request) -> Response:
        """One run: live while it is active, else its answer and all its texts."""
        run = await self._load(request)
        progress = None if run.ended_utc else await self._service.store.progress.load(run.run_id)
        ratings = await self._service.store.ratings.find([run.run_id])
        return await _shown(request, "one_run.html", run=run, progress=progress, rating=ratings.get(run.run_id))

    async def live(self, request: Request) -> Response:
        """The progress of a run, for the page that shows it; the page is loaded again when the run has ended."""
        run = await self._load(request)
        if run.status != "running":
            return Response(headers={"HX-Refresh": "true"})
        progress = await self._service.store.progress.load(run.run_id)
        return await _shown(request, "progress.html", run=run, progress=progress)

    async def stats(self, request: Request) -> Response:
        """The calibration of each consortium, and the members."""
        stats = await anyio.to_thread.run_sync(load_stats, self._service.store)
        return await _shown(request, "statistics.html", stats=stats)

    async def consortiums(self, request: Request) -> Response:
        """The saved consortiums."""
        catalogue = await anyio.to_thread.run_sync(load_catalogue, self._service.settings)
        problems = await anyio.to_thread.run_sync(self._service.definitions.list_problems, catalogue)
        found, damaged = await self._service.store.consortiums.list_all()
        return await _shown(request, "consortiums.html", consortiums=found, damaged=damaged, problems=problems)

    async def login(self, request: Request, is_wrong: bool) -> Response:
        """The form that asks for the token."""
        return await _shown(request, "login.html", 401, is_wrong=is_wrong)

    async def refused(self, request: Request, error: Exception) -> Response:
        """The reason why something cannot be done."""
        return await _shown(
            request,
            "problem.html",
            404 if isinstance(error, NotFoundError) else 400,
            problem=self._shortened(str(error)),
        )

    async def too_long(self, request: Request, error: Exception) -> Response:
        """The form has too many bytes or fields."""
        return await _shown(request, "problem.html", 413, problem="The form is too long. Shorten the question.")

    async def not_found(self, request: Request, error: Exception) -> Response:
        """There is no such page."""
        return await _shown(request, "problem.html", 404, problem="There is no such page.")

    async def _form(self, request: Request, fields: Mapping[str, str], status: int = 200, **shown: Any) -> Response:
        saved = await self._saved()
        values = {name: fields.get(name, "") for name in ("prompt", "consortium", "models", "follow_up_to")}
        known = {"fields": values, "saved": saved, "plan": None, "problem": None, **shown}
        return await _shown(request, "ask.html", status, **known)

    async def _saved(self) -> list[str]:
        """The names of the saved consortiums."""
        found, _ = await self._service.store.consortiums.list_all()
        return sorted(found)

    def _require_writing(self) -> None:
        if self._service.settings.read_only:
            raise ConsortiumError("This server is read-only: it shows runs, and asks, changes and stops none.")

    async def _load(self, request: Request) -> Run:
        return await self._runner.load(request.path_params["run_id"])

    async def _cancel(self, request: Request) -> Response:
        self._require_writing()
        run = await self._load(request)
        await self._runner.cancel(run.run_id)
        return RedirectResponse(address(request, f"/runs/{run.run_id}"), 303)

    async def _rate(self, request: Request) -> Response:
        self._require_writing()
        run = await self._load(request)
        verdict = (await form_of(request)).get("verdict")
        if verdict not in ("correct", "wrong"):
            raise InvalidConsortiumError("Rate the answer as correct or as wrong.")
        require_answer(run, "to rate")
        await self._service.store.ratings.save(Rating(run_id=run.run_id, score=float(verdict == "correct")))
        return RedirectResponse(address(request, f"/runs/{run.run_id}"), 303)

    async def _replay(self, request: Request) -> Response:
        self._require_writing()
        run = await self._load(request)
        without = (await form_of(request)).get("without", "")
        left_out = [without] if without else []
        opened = await anyio.to_thread.run_sync(partial(open_replay, self._service, run.run_id, without=left_out))
        self._runner.submit(opened.run_id)
        return RedirectResponse(address(request, f"/runs/{opened.run_id}"), 303)

    async def _resume(self, request: Request) -> Response:
        self._require_writing()
        run = await self._load(request)
        if run.status == "interrupted":
            self._runner.submit(run.run_id)
        return RedirectResponse(address(request, f"/runs/{run.run_id}"), 303)


def _request_of(fields: Mapping[str, str]) -> ConsultRequest:
    """The request of a form. Raises InvalidConsortiumError."""
    models = [line.strip() for line in fields.get("models", "").splitlines() if line.strip()]
    given: dict[str, Any] = {
        "prompt": fields.get("prompt", "").replace("\r\n", "\n"),
        "consortium": fields.get("consortium") or None,
        "models": models or None,
        "follow_up_to": fields.get("follow_up_to") or None,
    }
    return read_request(ConsultRequest, given)


async def _shown(request: Request, template: str, status: int = 200, **values: Any) -> Response:
    """A page, written in a thread: long Markdown takes time."""
    root = request.scope.get("root_path", "")
    text = await anyio.to_thread.run_sync(partial(_templates().get_template(template).render, root=root, **values))
    return HTMLResponse(text, status)


@cache
def _templates() -> "jinja2.Environment":
    return templates(jinja2.PackageLoader("consortium_mcp.server.web", "pages"))
