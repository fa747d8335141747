"""The paged lists of resources and templates: the fixed ones, saved consortiums, and runs, newest first."""

from collections.abc import Sequence
from typing import Any

import anyio.to_thread
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    Annotations,
    ListResourcesResult,
    ListResourceTemplatesResult,
    PaginatedRequestParams,
    Resource,
)

from consortium_mcp.errors import ConsortiumError, StoreUnusableError
from consortium_mcp.records import RunOutline
from consortium_mcp.records.consortium import Consortium
from consortium_mcp.records.uris import CONSORTIUMS, RUNS, consortium_uri, transcript_uri
from consortium_mcp.reports.definitions import definition_text
from consortium_mcp.server.base.cursors import read_cursor, write_cursor
from consortium_mcp.server.base.mcp_server import StrictServer
from consortium_mcp.server.base.sdk_private import lowlevel
from consortium_mcp.store import Store
from consortium_mcp.text.templates import plain

PAGE = 50
"""The most consortiums and the most runs on a page."""

CONSORTIUM_NOTES = Annotations(audience=["user", "assistant"], priority=0.5)
RUN_NOTES = Annotations(audience=["user", "assistant"], priority=0.3)


def add_listing(server: StrictServer, store: Store) -> None:
    """Serve resources/list and resources/templates/list, because the SDK supports neither pages nor runs."""

    async def list_resources(ctx: ServerRequestContext[Any, Any], params: PaginatedRequestParams) -> Any:
        fixed = await server.list_resources()
        return await anyio.to_thread.run_sync(_answered, lambda: _page(store, fixed, params.cursor))

    async def list_templates(ctx: ServerRequestContext[Any, Any], params: PaginatedRequestParams) -> Any:
        if params.cursor is not None:
            _answered(lambda: read_cursor(params.cursor or ""))  # there is one page, so no cursor is valid
        return ListResourceTemplatesResult(resource_templates=await server.list_resource_templates())

    lowlevel(server).add_request_handler("resources/list", PaginatedRequestParams, list_resources)
    lowlevel(server).add_request_handler("resources/templates/list", PaginatedRequestParams, list_templates)


def _answered(make: Any) -> Any:
    try:
        return make()
    except StoreUnusableError as error:
        raise MCPError(INTERNAL_ERROR, str(error)) from error
    except ConsortiumError as error:
        raise MCPError(INVALID_PARAMS, str(error)) from error


def _page(store: Store, fixed: Sequence[Resource], cursor: str | None) -> ListResourcesResult:
    """The page after a cursor; runs begin on the page on which the consortiums end."""
    kind, key = (None, "") if cursor is None else read_cursor(cursor, "consortium", "run")
    resources: list[Resource] = []
    if kind is None:
        resources += _dated(store, fixed)
    if kind != "run":
        saved = [one for one in _consortiums(store) if one.name > key]
        resources += saved[:PAGE]
        if len(saved) > PAGE:
            return ListResourcesResult(resources=resources, next_cursor=write_cursor("consortium", resources[-1].name))
    runs = store.outlines.find.sync(limit=PAGE + 1, before=key if kind == "run" else None)
    more = write_cursor("run", runs[PAGE - 1].run_id) if len(runs) > PAGE else None
    return ListResourcesResult(resources=[*resources, *map(_run, runs[:PAGE])], next_cursor=more)


def _dated(store: Store, fixed: Sequence[Resource]) -> list[Resource]:
    """The fixed resources; lists have the time of their last change."""
    newest = store.outlines.find.sync(limit=1)
    dates = {
        CONSORTIUMS: max(store.consortiums.list_save_times.sync().values(), default=None),
        RUNS: max((newest[0].ended_utc or newest[0].created_utc for _ in newest), default=None),
    }
    return [_modified(one, dates.get(one.uri)) for one in fixed]


def _modified(resource: Resource, when: str | None) -> Resource:
    notes = (resource.annotations or Annotations()).model_copy(update={"last_modified": when})
    return resource.model_copy(update={"annotations": notes})


def _consortiums(store: Store) -> list[Resource]:
    """Every readable saved consortium, by name."""
    loaded, _ = store.consortiums.list_all.sync()
    saved = store.consortiums.list_save_times.sync()
    return [_consortium(name, one, saved.get(name)) for name, one in sorted(loaded.items())]


def _consortium(name: str, consortium: Consortium, saved_utc: str | None) -> Resource:
    return Resource(
        uri=consortium_uri(name),
        name=name,
        title=f"Consortium {name}",
        description=one_line(consortium.description or definition_text(name, consortium), 200),
        mime_type="application/json",
        size=len(definition_json(consortium).encode()),
        annotations=CONSORTIUM_NOTES.model_copy(update={"last_modified": saved_utc}),
    )


def _run(run: RunOutline) -> Resource:
    """A run; its size is unknown until it is read, and its last change until it has ended."""
    asked = f" by {run.consortium_name}" if run.consortium_name else ""
    confidence = "" if run.confidence is None else f" with confidence {run.confidence:.2f}"
    stands = f"Opened {run.created_utc[:16]}Z, {run.status}{confidence}{asked}"
    return Resource(
        uri=run.uri,
        name=run.run_id,
        title=one_line(run.prompt, 80) or f"Run {run.run_id}",
        description=f"{stands}; transcript: {transcript_uri(run.run_id)}",
        mime_type="application/json",
        annotations=RUN_NOTES.model_copy(update={"last_modified": run.ended_utc}),
    )


def definition_json(consortium: Consortium) -> str:
    """A definition in the form of its resource."""
    return consortium.model_dump_json(indent=1)


def one_line(text: str, limit: int) -> str:
    """The beginning of a text on one line, without control characters."""
    line = " ".join(plain(text).split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
