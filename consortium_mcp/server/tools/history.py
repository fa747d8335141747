"""The tools that list past runs and rate them."""

from collections.abc import Sequence
from typing import Annotated, Literal

from mcp_types import CallToolResult
from pydantic import Field

from consortium_mcp.errors import ConsortiumError
from consortium_mcp.records import LONGEST_NOTE, Rating, RunOutline, Status
from consortium_mcp.server.base.cursors import read_cursor, write_cursor
from consortium_mcp.server.base.mcp_server import StrictServer
from consortium_mcp.server.base.result_size import fits
from consortium_mcp.server.tools.parameters import RunId, hints
from consortium_mcp.server.tools.results import RunList, RunSummary, result
from consortium_mcp.service.answers import require_answer
from consortium_mcp.service.run_ids import found_run_id
from consortium_mcp.service.runner import Runner


def add_history(server: StrictServer, runner: Runner) -> None:
    """Register list_runs and rate_run."""
    _add_list_runs(server, runner)
    _add_rate_run(server, runner)


def _add_list_runs(server: StrictServer, runner: Runner) -> None:
    store = runner.service.store

    @server.tool(title="List runs", annotations=hints("List runs", reads=True, again=True))
    async def list_runs(
        query: Annotated[
            str | None, Field(description='Words and "phrases"; the prompt or the answer contains all of them.')
        ] = None,
        consortium: Annotated[str | None, Field(description="Only runs of this saved consortium.")] = None,
        status: Annotated[Status | None, Field(description="Only runs with this status.")] = None,
        limit: Annotated[int, Field(ge=1, le=100, description="Largest number of runs.")] = 20,
        cursor: Annotated[str | None, Field(description="next_cursor of the previous page.")] = None,
    ) -> Annotated[CallToolResult, RunList]:
        """List past consultations, newest first."""
        before = read_cursor(cursor, "run")[1] if cursor else None
        runs = await store.outlines.find(query, consortium, status, limit + 1, before)
        page = _page(runs, limit)
        lines = [_line(run) for run in page.runs]
        if page.next_cursor:
            lines.append(f'For the next page give cursor="{page.next_cursor}".')
        return result("\n".join(lines) or "No run matches.", page, "give a smaller limit")


def _line(run: RunSummary) -> str:
    """A run on one line."""
    confidence = "" if run.confidence is None else f", confidence {run.confidence:.2f}"
    asked = f", {run.consortium}" if run.consortium else ""
    inside = f", inside {run.inside}" if run.inside else ""
    return f"{run.run_id} {run.created_utc[:16]}Z {run.status}{confidence}{asked}{inside}: {run.prompt[:80]!r}"


def _page(runs: Sequence[RunOutline], limit: int) -> RunList:
    """The first runs that fit into a result, and the cursor of the next page."""
    page = RunList(
        runs=tuple(RunSummary.of(run) for run in runs[:limit]),
        next_cursor=write_cursor("run", runs[limit - 1].run_id) if len(runs) > limit else None,
    )
    return page if limit == 1 or fits(page.model_dump(mode="json")) else _page(runs, min(limit, len(runs)) // 2)


def _add_rate_run(server: StrictServer, runner: Runner) -> None:
    store = runner.service.store

    @server.tool(title="Rate a run", annotations=hints("Rate a run", again=True))
    async def rate_run(
        run_id: RunId,
        verdict: Annotated[
            Literal["correct", "wrong"] | None, Field(description="Whether the answer was right.")
        ] = None,
        score: Annotated[float | None, Field(ge=0, le=1, description="Or a score of how right it was, 0-1.")] = None,
        note: Annotated[str | None, Field(max_length=LONGEST_NOTE, description="In words.")] = None,
    ) -> Annotated[CallToolResult, Rating]:
        """Rate a run's answer when you know how right it was; later confidences use the ratings."""
        if (verdict is None) == (score is None):
            raise ConsortiumError("Give either verdict (correct or wrong) or score (from 0 to 1).")
        run_id = await found_run_id(store, run_id)
        given = score if score is not None else float(verdict == "correct")
        rating = Rating(run_id=run_id, score=given, note=note)
        require_answer(await store.runs.load(run_id), "to rate")
        await store.ratings.save(rating)
        return result(f"Rated {run_id}: {given:g}.", rating, "the whole note is saved")
