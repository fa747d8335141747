"""The resources: saved consortiums, models, and the history of runs."""

import json
from collections.abc import Callable
from typing import TypeVar

import anyio.to_thread
from mcp.server.mcpserver.exceptions import ResourceNotFoundError

from consortium_mcp.catalogue import load_catalogue
from consortium_mcp.consultancy import load_stats
from consortium_mcp.errors import ConsortiumError
from consortium_mcp.report import transcript
from consortium_mcp.runner import Runner
from consortium_mcp.server.results import RunSummary
from consortium_mcp.server.strict import StrictServer
from consortium_mcp.server.tools import list_known_models, list_saved

T = TypeVar("T")

NEWEST = 50
"""How many runs `consortium://runs` lists."""

_JSON = "application/json"


def add_resources(server: StrictServer, runner: Runner) -> None:
    """Register every resource and template."""
    store = runner.consultancy.store

    @server.resource("consortium://consortiums", name="consortiums", title="Saved consortiums", mime_type=_JSON)
    async def consortiums() -> str:
        """Every saved consortium, and which of them cannot run now and why."""
        return (await _read(lambda: list_saved(runner))).model_dump_json(indent=1)

    @server.resource("consortium://consortiums/{name}", name="consortium", title="A saved consortium", mime_type=_JSON)
    async def consortium(name: str) -> str:
        """One saved definition."""
        return (await _read(lambda: store.load_consortium(name))).model_dump_json(indent=1)

    @server.resource("consortium://models", name="models", title="Models", mime_type=_JSON)
    async def models() -> str:
        """The models that can be members or arbiters, usable ones first, and what the others lack."""
        return (await _read(lambda: list_known_models(load_catalogue()))).model_dump_json(indent=1)

    @server.resource("consortium://stats", name="stats", title="Statistics", mime_type=_JSON)
    async def stats() -> str:
        """How far stated confidences were right, and how the members did."""
        return (await _read(lambda: load_stats(runner.consultancy))).model_dump_json(indent=1)

    @server.resource("consortium://runs", name="runs", title="Newest runs", mime_type=_JSON)
    async def runs() -> str:
        """The newest 50 consultations."""
        newest = await _read(lambda: store.list_runs(limit=NEWEST))
        return json.dumps([RunSummary.of(run).model_dump(mode="json") for run in newest], indent=1)

    @server.resource("consortium://runs/{run_id}", name="run", title="A run", mime_type=_JSON)
    async def run(run_id: str) -> str:
        """The whole record of one consultation."""
        return (await _read(lambda: store.load_run(run_id))).model_dump_json(indent=1)

    @server.resource(
        "consortium://runs/{run_id}/transcript.md", name="transcript", title="A transcript", mime_type="text/markdown"
    )
    async def run_transcript(run_id: str) -> str:
        """Everything that was said in one consultation, to read."""
        return await _read(lambda: transcript(store.load_run(run_id)))


async def _read(load: Callable[[], T]) -> T:
    try:
        return await anyio.to_thread.run_sync(load)
    except ConsortiumError as error:
        raise ResourceNotFoundError(str(error)) from error
