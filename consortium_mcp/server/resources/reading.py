"""The resources: saved consortiums, models, and the history of runs; long ones are read in chunks."""

import json
from collections import defaultdict
from collections.abc import Callable
from typing import Any, TypeVar

import anyio.to_thread
from mcp.server.context import ServerRequestContext
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError
from mcp.server.mcpserver.resources.templates import ResourceSecurity
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    Annotations,
    ReadResourceRequestParams,
    ReadResourceResult,
    Role,
    TextResourceContents,
)

from consortium_mcp.errors import ConsortiumError, NotFoundError
from consortium_mcp.records import CallId, Iteration, MemberResponse, Run
from consortium_mcp.records.uris import CONSORTIUMS, MODELS, RUNS, STATS
from consortium_mcp.reports.markdown import transcript
from consortium_mcp.server.base.mcp_server import StrictServer
from consortium_mcp.server.base.sdk_private import lowlevel
from consortium_mcp.server.resources.listing import CONSORTIUM_NOTES, RUN_NOTES, add_listing, definition_json
from consortium_mcp.server.tools import list_known_models, list_saved
from consortium_mcp.server.tools.results import RunSummary
from consortium_mcp.service.runner import Runner
from consortium_mcp.service.stats import load_stats
from consortium_mcp.text.chunks import PIECE, piece_of, read_piece_uri
from consortium_mcp.text.templates import plain

T = TypeVar("T")

NEWEST = 50
"""The number of runs in `consortium://runs`."""

MOST_BEGUN = 4
"""The number of long texts kept per caller from the first chunk on, so that later chunks match it."""

_JSON = "application/json"
_MARKDOWN = "text/markdown"


def add_resources(server: StrictServer, runner: Runner) -> None:
    """Register every resource and template, their lists, and reading in chunks."""
    _add_consortiums(server, runner)
    _add_runs(server, runner)
    _add_parts_of_runs(server, runner)
    add_listing(server, runner.service.store)
    _read_in_pieces(server, _Begun(runner.service.store.database.reader))


def _notes(priority: float, *audience: Role) -> Annotations:
    """The annotations of a resource: its audience and its priority, of which 1 is the highest."""
    return Annotations(audience=list(audience or ("user", "assistant")), priority=priority)


def _add_consortiums(server: StrictServer, runner: Runner) -> None:
    store = runner.service.store

    @server.resource(
        CONSORTIUMS, name="consortiums", title="Saved consortiums", mime_type=_JSON, annotations=_notes(0.6)
    )
    async def consortiums() -> str:
        """Every saved consortium, with the reason if it cannot run now."""
        return (await _read(lambda: list_saved(runner))).model_dump_json(indent=1)

    @server.resource(
        f"{CONSORTIUMS}/{{name}}",
        name="consortium",
        title="A saved consortium",
        mime_type=_JSON,
        annotations=CONSORTIUM_NOTES,
        security=ResourceSecurity(exempt_params={"name"}),  # a key of our table, never a path
    )
    async def consortium(name: str) -> str:
        """The definition of one saved consortium."""
        return definition_json(await _read(lambda: store.consortiums.load.sync(name)))

    @server.resource(MODELS, name="models", title="Models", mime_type=_JSON, annotations=_notes(0.5, "assistant"))
    async def models() -> str:
        """The models for members and arbiters, usable ones first, and what the others need."""
        return (await _read(lambda: list_known_models(runner))).model_dump_json(indent=1)

    @server.resource(STATS, name="stats", title="Statistics", mime_type=_JSON, annotations=_notes(0.3))
    async def stats() -> str:
        """How often confidences were right, and how the members did."""
        return (await _read(lambda: load_stats(runner.service.store))).model_dump_json(indent=1)


def _add_runs(server: StrictServer, runner: Runner) -> None:
    store = runner.service.store

    @server.resource(RUNS, name="runs", title="Newest runs", mime_type=_JSON, annotations=_notes(0.4))
    async def runs() -> str:
        """The newest 50 consultations."""
        newest = await _read(lambda: store.outlines.find.sync(limit=NEWEST))
        return json.dumps([RunSummary.of(run).model_dump(mode="json") for run in newest], indent=1)

    @server.resource(f"{RUNS}/{{run_id}}", name="run", title="A run", mime_type=_JSON, annotations=RUN_NOTES)
    async def run(run_id: str) -> str:
        """The whole record of one consultation."""
        return (await _read(lambda: store.runs.load.sync(run_id))).model_dump_json(indent=1)

    @server.resource(
        f"{RUNS}/{{run_id}}/transcript.md",
        name="transcript",
        title="A transcript",
        mime_type=_MARKDOWN,
        annotations=_notes(0.4),
    )
    async def run_transcript(run_id: str) -> str:
        """The readable transcript of one consultation."""
        return await _read(lambda: transcript(store.runs.load.sync(run_id)))


def _add_parts_of_runs(server: StrictServer, runner: Runner) -> None:
    store = runner.service.store

    @server.resource(
        f"{RUNS}/{{run_id}}/iterations/{{iteration}}",
        name="iteration",
        title="An iteration",
        mime_type=_JSON,
        annotations=_notes(0.2, "assistant"),
    )
    async def run_iteration(run_id: str, iteration: str) -> str:
        """One iteration of a run, counted from 1: the responses and the verdict."""
        return (await _read(lambda: _iteration(store.runs.load.sync(run_id), iteration))).model_dump_json(indent=1)

    @server.resource(
        f"{RUNS}/{{run_id}}/responses/{{response_id}}",
        name="response",
        title="A response",
        mime_type=_MARKDOWN,
        annotations=_notes(0.2),
    )
    async def run_response(run_id: str, response_id: str) -> str:
        """The response of one instance in one iteration; response_id is i1-m3 for the response i1/m3."""
        response = await _read(lambda: _response(store.runs.load.sync(run_id), response_id))
        return plain(response.text or f"No text: {response.error}")


def _iteration(run: Run, number: str) -> Iteration:
    for iteration in run.iterations:
        if str(iteration.number) == number:
            return iteration
    raise NotFoundError(f"The run {run.run_id} has no iteration {number[:40]!r}; it has {len(run.iterations)}, from 1.")


def _response(run: Run, segment: str) -> MemberResponse:
    responses: dict[str, MemberResponse] = {
        one.response_id: one for iteration in run.iterations for one in iteration.responses
    }
    try:
        wanted: str = CallId.of_segment(segment)
    except ValueError:
        wanted = segment
    if wanted not in responses:
        there = ", ".join(list(responses)[:20]) or "none yet"
        raise NotFoundError(f"The run {run.run_id} has no response {wanted[:40]!r}. There are: {there}.")
    return responses[wanted]


class _Begun:
    """The long texts whose reading has begun; each is kept for its reader only."""

    def __init__(self, reader: Callable[[], str | None]) -> None:
        self._reader = reader
        self._contents: defaultdict[str | None, dict[str, TextResourceContents]] = defaultdict(dict)

    def find(self, uri: str) -> TextResourceContents | None:
        return self._contents[self._reader()].get(uri)

    def keep(self, uri: str, content: TextResourceContents) -> None:
        own = self._contents[self._reader()]
        own.pop(uri, None)
        if len(content.text) > PIECE:
            own[uri] = content
            if len(own) > MOST_BEGUN:
                del own[next(iter(own))]


def _read_in_pieces(server: StrictServer, begun: _Begun) -> None:
    """Allow every resource to be read at an offset, in chunks of limited length."""
    entry = lowlevel(server).get_request_handler("resources/read")
    assert entry is not None

    async def load(ctx: ServerRequestContext[Any, Any], params: ReadResourceRequestParams) -> TextResourceContents:
        whole = await entry.handler(ctx, params)
        assert isinstance(whole, ReadResourceResult)
        (content,) = whole.contents
        assert isinstance(content, TextResourceContents)
        begun.keep(params.uri, content)
        return content

    async def read(ctx: ServerRequestContext[Any, Any], params: ReadResourceRequestParams) -> ReadResourceResult:
        uri, offset = read_piece_uri(params.uri)
        known = begun.find(uri) if offset else None
        content = known or await load(ctx, params.model_copy(update={"uri": uri}))
        return _one_piece(content, uri, offset, params.uri)

    lowlevel(server).add_request_handler("resources/read", ReadResourceRequestParams, read)


def _one_piece(content: TextResourceContents, uri: str, offset: int | None, asked_uri: str) -> ReadResourceResult:
    """The chunk, unchanged, after a note with its position; a short text is returned alone."""
    if offset is None or offset and offset >= len(content.text):
        sentence = f"{asked_uri[-80:]} has no valid offset; {uri} has {len(content.text)} characters, counted from 0."
        raise MCPError(INVALID_PARAMS, sentence, {"uri": asked_uri})
    piece = piece_of(content.text, uri, offset)
    text = content.model_copy(update={"uri": asked_uri, "text": piece.text})
    note = TextResourceContents(uri=asked_uri, mime_type="text/plain", text=f"{piece.note}\n")
    return ReadResourceResult(contents=[note, text] if piece.note else [text])


async def _read(load: Callable[[], T]) -> T:
    try:
        return await anyio.to_thread.run_sync(load)
    except NotFoundError as error:
        raise ResourceNotFoundError(str(error)) from error
    except ConsortiumError as error:
        raise ResourceError(str(error)) from error
