"""The tools that consult, wait and cancel."""

import time
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

import anyio.to_thread
from mcp.server.mcpserver import Context, Resolve
from mcp_types import CallToolResult
from pydantic import Field

from consortium_mcp.records import Progress, Run, now_utc
from consortium_mcp.records.request import ConsultRequest
from consortium_mcp.server.base.mcp_server import StrictServer
from consortium_mcp.server.tools.attaching import gather_with_files
from consortium_mcp.server.tools.cancellation import Cancellations
from consortium_mcp.server.tools.confirming import CONSULTED, Outcome, spending, was_asked
from consortium_mcp.server.tools.parameters import RunId, Wait, hints, takes
from consortium_mcp.server.tools.results import ConsultResult, consult_result, part_result, plan_result
from consortium_mcp.server.tools.sampling import lends_its_model, lent_model, take_answers
from consortium_mcp.service.run_ids import found_run_id
from consortium_mcp.service.runner import Runner
from consortium_mcp.settings import MOST


def add_consulting(server: StrictServer, runner: Runner, cancellations: Cancellations) -> None:
    """Register consult_consortium, get_run and cancel_run."""
    _add_consult(server, runner, cancellations)
    _add_get_run(server, runner, cancellations)
    _add_cancel_run(server, runner)


def _add_consult(server: StrictServer, runner: Runner, cancellations: Cancellations) -> None:
    service = runner.service
    with_files = gather_with_files(runner)

    @server.tool(title="Consult a consortium", annotations=hints("Consult a consortium", world=True))
    @takes(ConsultRequest, required=CONSULTED)
    async def consult_consortium(
        ctx: Context[Any, Any],
        request: Annotated[ConsultRequest, Resolve(with_files)],
        confirmed: Annotated[Outcome, Resolve(spending(runner, with_files))],
        wait_seconds: Wait = None,
        dry_run: Annotated[bool, Field(description="Only report the plan and its cost.")] = False,
    ) -> Annotated[CallToolResult, ConsultResult]:
        """Ask several language models one question and get one answer with its confidence and dissent.

        Use it for questions where a wrong answer is costly. It costs several model calls and may take minutes. Without
        `consortium` and `models` the default consortium is asked. If it returns status running, call get_run with
        the run_id until there is an answer; do not consult again. The same call again joins the active run.
        """
        was_asked(confirmed, "no model was asked and nothing was spent.")
        if run_id := take_answers(ctx, service.sampling_queue):
            with cancellations.following(ctx.request_context, run_id):
                return await _follow(ctx, runner, run_id, wait_seconds)
        has_client, asked_utc = lends_its_model(ctx), now_utc()
        if dry_run:
            return plan_result(
                await anyio.to_thread.run_sync(lambda: service.opener.plan(request, has_client=has_client))
            )
        run = await service.opener.opened(request, join=True, has_client=has_client)
        runner.submit(run)
        note = None if run.created_utc >= asked_utc else _joined(run)
        with cancellations.following(ctx.request_context, run.run_id):
            return await _follow(ctx, runner, run.run_id, wait_seconds, note=note)


def _joined(run: Run) -> str:
    """The note that a call joined an earlier run, and whose limits apply."""
    return f"Joined the run of the same call of {run.created_utc[:19]}Z; its deadline is {run.deadline_utc[:19]}Z."


def _add_get_run(server: StrictServer, runner: Runner, cancellations: Cancellations) -> None:
    # Not read-only: it resumes an interrupted run, which makes the remaining calls.
    @server.tool(title="Get a run", annotations=hints("Get a run", again=True, world=True))
    async def get_run(
        ctx: Context[Any, Any],
        run_id: RunId,
        wait_seconds: Wait = None,
        detail: Annotated[
            Literal["answer", "responses", "full"],
            Field(description="answer: the result; responses: with each response's text; full: the transcript."),
        ] = "answer",
        part: Annotated[int | None, Field(ge=1, le=MOST, description="next_part of a long answer.")] = None,
    ) -> Annotated[CallToolResult, ConsultResult]:
        """Wait for a run and return its answer, or its progress so far. It also reads ended runs.

        An interrupted run is continued: no finished call is paid for again.
        """
        take_answers(ctx, runner.service.sampling_queue)
        run_id = await found_run_id(runner.service.store, run_id)
        continues = not runner.service.settings.read_only
        with cancellations.following(ctx.request_context, run_id):
            if continues and (await runner.load(run_id)).status == "interrupted":
                runner.submit(run_id)
            shown = await _follow(ctx, runner, run_id, wait_seconds, detail, continues=continues)
        run = await runner.load(run_id)
        if part is None or (detail == "answer" and run.answer is None):
            return shown
        return await anyio.to_thread.run_sync(part_result, run, detail, part)


def _add_cancel_run(server: StrictServer, runner: Runner) -> None:
    store = runner.service.store

    @server.tool(title="Cancel a run", annotations=hints("Cancel a run", destroys=True, again=True))
    async def cancel_run(run_id: RunId) -> Annotated[CallToolResult, ConsultResult]:
        """Stop a run: no further model is asked, and the responses so far are kept."""
        run_id = await found_run_id(store, run_id)
        before = await runner.load(run_id)
        await runner.cancel(run_id)
        progress = await store.progress.load(run_id)
        note = None if before.ended_utc is None else f"Nothing was stopped: this run had ended as {before.status}."
        shown = consult_result(await runner.load(run_id), progress, note=note)
        return shown.model_copy(update={"is_error": False})


async def _follow(
    ctx: Context[Any, Any],
    runner: Runner,
    run_id: str,
    wait_seconds: float | None,
    detail: str = "answer",
    note: str | None = None,
    continues: bool = False,
) -> CallToolResult:
    """The run's result when it has ended or the time is over; until then, report progress and make the client's calls.

    Args:
        continues: whether to resume the run here if its process ends meanwhile.
    """
    wait = runner.service.settings.wait_seconds if wait_seconds is None else wait_seconds
    ends = time.monotonic() + wait
    async with lent_model(ctx, runner.service.sampling_queue, run_id):
        progress = await _report(ctx, runner.follow(run_id, wait))
        live = runner.service.live_runs.get(run_id)
        if continues and progress.status == "interrupted" and not (live and live.end):
            runner.submit(run_id)
            progress = await _report(ctx, runner.follow(run_id, max(0.0, ends - time.monotonic())))
    run = await runner.load(run_id)
    if run.answer is not None and not await _has_left(ctx):
        runner.start(runner.service.note_received, run_id)  # written before the caller's next request
    return consult_result(run, progress, detail, note)


async def _report(ctx: Context[Any, Any], followed: AsyncIterator[Progress]) -> Progress:
    """Report the run's progress, as an ever increasing figure; returns the last progress."""
    reported = 0.0
    async for progress in followed:
        done = float(progress.calls_done)
        # Between two results, each report adds half of the rest up to the next one, so that the figure grows.
        reported = done if done > reported else (reported + int(reported) + 1) / 2
        await ctx.report_progress(reported, None, progress.message)
    return progress


async def _has_left(ctx: Context[Any, Any]) -> bool:
    """Whether the caller has disconnected, which does not end its request in Streamable HTTP of revision 2025-11-25."""
    http = ctx.request_context.request
    return http is not None and "mcp-session-id" in http.headers and await http.is_disconnected()
