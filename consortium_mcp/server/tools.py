"""The tools; their docstrings speak to the model that chooses among them."""

import re
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

import anyio.to_thread
from mcp.server.mcpserver import Context
from mcp_types import CallToolResult, ToolAnnotations
from pydantic import Field

from consortium_mcp.catalogue import Catalogue, load_catalogue
from consortium_mcp.consortium import Consortium
from consortium_mcp.errors import ConsortiumError
from consortium_mcp.run import Budget, Progress, Rating, Status
from consortium_mcp.runner import Runner
from consortium_mcp.server.cancellation import Cancellations
from consortium_mcp.server.results import (
    ConsortiumList,
    ConsortiumSummary,
    ConsultResult,
    ModelList,
    ModelSummary,
    RunList,
    RunSummary,
    SavedConsortium,
    consult_result,
    definition_text,
    plan_result,
    result,
)
from consortium_mcp.server.sampling import lends_its_model, lent_model, take_answers
from consortium_mcp.server.strict import StrictServer

Models = Annotated[
    list[str] | None,
    Field(
        description='Who is asked: "model", "model:count", "model|backup", "model as role"; ids as in list_models. '
        '"client" is your own model.'
    ),
]
Arbiter = Annotated[str | None, Field(description="Model that judges the responses; default: the first member's.")]
SystemPrompt = Annotated[str | None, Field(description="System prompt for the members.")]
Threshold = Annotated[
    float | None,
    Field(ge=0, le=100, description="Confidence at which to stop: 0-1, or a percentage above 1. Default 0.8."),
]
MaxIterations = Annotated[int | None, Field(ge=1, le=100, description="Ask the members at most so often. Default 3.")]
MinIterations = Annotated[int | None, Field(ge=1, le=100, description="Ask them at least so often. Default 1.")]
Strategy = Annotated[
    str | None, Field(description="Who is asked what in each iteration: refine (default), debate, eliminate.")
]
JudgingMethod = Annotated[
    str | None, Field(description="synthesize (default), pick, rank, peer_rank or vote; the last two need no arbiter.")
]
Deadline = Annotated[float | None, Field(gt=0, le=86_400, description="Seconds the whole run may take. Default 600.")]
MaxCalls = Annotated[int | None, Field(ge=1, description="The most model calls that the run may make.")]
MaxCost = Annotated[float | None, Field(gt=0, description="The most US dollars that the run may cost.")]
Wait = Annotated[
    float | None,
    Field(ge=0, le=600, description="Seconds to wait for the answer before returning status running. Default 45."),
]


def add_tools(server: StrictServer, runner: Runner, cancellations: Cancellations) -> None:
    """Register every tool."""
    _add_consulting(server, runner, cancellations)
    _add_history(server, runner)
    _add_rating(server, runner)
    _add_definitions(server, runner)


def _hints(title: str, *, reads: bool = False, destroys: bool = False, again: bool = False, world: bool = False) -> Any:
    return ToolAnnotations(
        title=title, read_only_hint=reads, destructive_hint=destroys, idempotent_hint=again, open_world_hint=world
    )


def _add_consulting(server: StrictServer, runner: Runner, cancellations: Cancellations) -> None:
    office = runner.consultancy

    async def follow(
        ctx: Context[Any, Any], run_id: str, wait_seconds: float | None, detail: str = "answer"
    ) -> CallToolResult:
        with cancellations.following(ctx.request_context, run_id):
            return await _follow(ctx, runner, run_id, wait_seconds, detail)

    @server.tool(title="Consult a consortium", annotations=_hints("Consult a consortium", world=True))
    async def consult_consortium(
        ctx: Context[Any, Any],
        prompt: Annotated[str, Field(min_length=1, description="The question, complete in itself.")],
        consortium: Annotated[str | None, Field(description="A saved consortium, as in list_consortiums.")] = None,
        models: Models = None,
        arbiter: Arbiter = None,
        system_prompt: SystemPrompt = None,
        confidence_threshold: Threshold = None,
        max_iterations: MaxIterations = None,
        min_iterations: MinIterations = None,
        strategy: Strategy = None,
        judging_method: JudgingMethod = None,
        follow_up_to: Annotated[
            str | None, Field(description="Run id: continue its conversation, with its consortium unless one is named.")
        ] = None,
        own_answer: Annotated[
            str | None, Field(description="Your own answer, judged anonymously beside the members'.")
        ] = None,
        wait_seconds: Wait = None,
        deadline_seconds: Deadline = None,
        max_calls: MaxCalls = None,
        max_cost_usd: MaxCost = None,
        dry_run: Annotated[bool, Field(description="Only say what it would do and cost.")] = False,
    ) -> Annotated[CallToolResult, ConsultResult]:
        """Ask several language models one question and get one answer with its confidence and dissent.

        Use it for questions where being wrong is costly; it costs several model calls and may take minutes. Without
        `consortium` and `models` the default consortium is asked. If it returns status running, call get_run with
        the run_id until there is an answer; do not consult again. The same call again joins a run that is under way.
        """
        budget = Budget(max_calls=max_calls, max_cost_usd=max_cost_usd)
        definition: dict[str, Any] = {
            "consortium": consortium,
            "models": models,
            "arbiter": arbiter,
            "system_prompt": system_prompt,
            "confidence_threshold": confidence_threshold,
            "max_iterations": max_iterations,
            "min_iterations": min_iterations,
            "strategy": strategy,
            "judging_method": judging_method,
            "follow_up_to": follow_up_to,
            "own_answer": own_answer,
            "has_client": lends_its_model(ctx),
        }
        if run_id := take_answers(ctx, office.client_calls):
            return await follow(ctx, run_id, wait_seconds)
        if dry_run:
            plan = await anyio.to_thread.run_sync(lambda: office.plan(prompt, budget=budget, **definition))
            return plan_result(plan)
        run = await anyio.to_thread.run_sync(
            lambda: office.open_run(prompt, budget=budget, deadline_seconds=deadline_seconds, join=True, **definition)
        )
        runner.submit(run.run_id)
        return await follow(ctx, run.run_id, wait_seconds)

    @server.tool(title="Get a run", annotations=_hints("Get a run", reads=True, again=True))
    async def get_run(
        ctx: Context[Any, Any],
        run_id: Annotated[str, Field(description="From consult_consortium or list_runs.")],
        wait_seconds: Wait = None,
        detail: Annotated[
            Literal["answer", "responses", "full"],
            Field(description="answer: the result; responses: with each response's text; full: the transcript."),
        ] = "answer",
    ) -> Annotated[CallToolResult, ConsultResult]:
        """Wait for a run and return its answer, or what is there so far; also reads finished runs.

        An interrupted run is continued: what was paid for is not paid for again.
        """
        take_answers(ctx, office.client_calls)
        if (await runner.load(run_id)).status == "interrupted":
            runner.submit(run_id)
        return await follow(ctx, run_id, wait_seconds, detail)

    @server.tool(title="Cancel a run", annotations=_hints("Cancel a run", destroys=True, again=True))
    async def cancel_run(
        run_id: Annotated[str, Field(description="From consult_consortium or list_runs.")],
    ) -> Annotated[CallToolResult, ConsultResult]:
        """Stop a run: no further model is asked, what has arrived is kept."""
        await runner.cancel(run_id)
        progress = await anyio.to_thread.run_sync(office.store.load_progress, run_id)
        shown = consult_result(await runner.load(run_id), progress)
        return shown.model_copy(update={"is_error": False})


async def _follow(
    ctx: Context[Any, Any], runner: Runner, run_id: str, wait_seconds: float | None, detail: str = "answer"
) -> CallToolResult:
    """The run's result when it has ended or the time is over; until then progress is reported, and the client asked."""
    wait = runner.consultancy.settings.wait_seconds if wait_seconds is None else wait_seconds
    async with lent_model(ctx, runner.consultancy.client_calls, run_id):
        progress = await _report(ctx, runner.follow(run_id, wait))
    run = await runner.load(run_id)
    if run.answer is not None and not await _has_left(ctx):
        await runner.consultancy.mark_received(run_id)
    return consult_result(run, progress, detail)


async def _report(ctx: Context[Any, Any], followed: AsyncIterator[Progress]) -> Progress:
    """Report how far a run is, ever increasing; the last of it."""
    reported = 0.0
    async for progress in followed:
        done = float(progress.calls_done)
        # What is said between two results moves half of what is left to the next one: more, but never too much.
        reported = done if done > reported else (reported + int(reported) + 1) / 2
        await ctx.report_progress(reported, None, progress.message)
    return progress


async def _has_left(ctx: Context[Any, Any]) -> bool:
    """Whether the caller hung up, which in revision 2025-11-25 of Streamable HTTP does not end its request."""
    http = ctx.request_context.request
    return http is not None and "mcp-session-id" in http.headers and await http.is_disconnected()


def _add_history(server: StrictServer, runner: Runner) -> None:
    store = runner.consultancy.store

    @server.tool(title="List runs", annotations=_hints("List runs", reads=True, again=True))
    async def list_runs(
        query: Annotated[str | None, Field(description="Words that stand in the prompt or the answer.")] = None,
        consortium: Annotated[str | None, Field(description="Only runs of this saved consortium.")] = None,
        status: Annotated[Status | None, Field(description="Only runs that stand or ended so.")] = None,
        limit: Annotated[int, Field(ge=1, le=100, description="How many at most.")] = 20,
        cursor: Annotated[str | None, Field(description="next_cursor of the page before.")] = None,
    ) -> Annotated[CallToolResult, RunList]:
        """List past consultations, newest first."""
        if cursor is not None and not re.fullmatch(r"[0-9a-z]{26}", cursor):
            raise ConsortiumError(f"The cursor {cursor[:40]!r} is not one; take next_cursor of the page before.")
        load = lambda: store.list_runs(query, consortium, status, limit + 1, cursor)  # noqa: E731 - one use
        runs = await anyio.to_thread.run_sync(load)
        page = RunList(
            runs=tuple(RunSummary.of(run) for run in runs[:limit]),
            next_cursor=runs[limit - 1].run_id if len(runs) > limit else None,
        )
        lines = [f"{run.run_id} {run.status}: {run.prompt[:80]!r}" for run in page.runs]
        return result("\n".join(lines) or "No such runs.", page)


def _add_rating(server: StrictServer, runner: Runner) -> None:
    store = runner.consultancy.store

    @server.tool(title="Rate a run", annotations=_hints("Rate a run", again=True))
    async def rate_run(
        run_id: Annotated[str, Field(description="From consult_consortium or list_runs.")],
        verdict: Annotated[
            Literal["correct", "wrong"] | None, Field(description="Whether the answer was right.")
        ] = None,
        score: Annotated[float | None, Field(ge=0, le=1, description="Or how right it was, 0-1.")] = None,
        note: Annotated[str | None, Field(max_length=10_000, description="In words.")] = None,
    ) -> Annotated[CallToolResult, Rating]:
        """Say afterwards how right a run's answer was; consortium://stats learns from it."""
        if (verdict is None) == (score is None):
            raise ConsortiumError("Give either a verdict (correct or wrong) or a score from 0 to 1.")
        given = score if score is not None else float(verdict == "correct")
        rating = Rating(run_id=run_id, score=given, note=note)
        await anyio.to_thread.run_sync(store.load_progress, run_id)
        await anyio.to_thread.run_sync(store.save_rating, rating)
        return result(f"Rated {run_id}: {given:g}.", rating)


def _add_definitions(server: StrictServer, runner: Runner) -> None:
    office = runner.consultancy

    @server.tool(title="Save a consortium", annotations=_hints("Save a consortium", destroys=True, again=True))
    async def save_consortium(
        name: Annotated[str, Field(min_length=1, max_length=100, description="What to consult it by.")],
        models: Annotated[list[str], Field(min_length=1, description='"model" or "model:count" each.')],
        arbiter: Arbiter = None,
        system_prompt: SystemPrompt = None,
        confidence_threshold: Threshold = None,
        max_iterations: MaxIterations = None,
        min_iterations: MinIterations = None,
        strategy: Strategy = None,
        judging_method: JudgingMethod = None,
        description: Annotated[str | None, Field(description="What it is for.")] = None,
        overwrite: Annotated[bool, Field(description="Replace a saved one of the same name.")] = False,
    ) -> Annotated[CallToolResult, SavedConsortium]:
        """Save a consortium of models under a name, for later consults."""

        def save() -> tuple[Consortium, str | None]:
            catalogue = load_catalogue()
            _, consortium = office.definitions.resolve(
                catalogue,
                models=models,
                arbiter=arbiter,
                system_prompt=system_prompt,
                confidence_threshold=confidence_threshold,
                max_iterations=max_iterations,
                min_iterations=min_iterations,
                strategy=strategy,
                judging_method=judging_method,
                description=description,
            )
            office.definitions.save(name, consortium, overwrite=overwrite)
            return consortium, office.definitions.problem(name, consortium, catalogue)

        consortium, problem = await anyio.to_thread.run_sync(save)
        text = f"Saved {definition_text(name, consortium)}."
        if problem:
            text += f" It cannot run yet: {problem}"
        return result(text, SavedConsortium(name=name, definition=consortium))

    @server.tool(title="List consortiums", annotations=_hints("List consortiums", reads=True, again=True))
    async def list_consortiums() -> Annotated[CallToolResult, ConsortiumList]:
        """List every saved consortium, and which of them cannot run now and why."""
        listed = await anyio.to_thread.run_sync(lambda: list_saved(runner))
        lines = [
            (definition_text(one.name, one.definition) if one.definition else one.name)
            + (f" - CANNOT RUN: {one.problem}" if one.problem else "")
            for one in listed.consortiums
        ]
        return result("\n".join(lines) or "None is saved yet; save_consortium saves one.", listed)

    @server.tool(title="Remove a consortium", annotations=_hints("Remove a consortium", destroys=True, again=True))
    async def remove_consortium(
        name: Annotated[str, Field(description="As in list_consortiums.")],
    ) -> Annotated[CallToolResult, SavedConsortium]:
        """Remove a saved consortium; its runs stay."""
        removed = await anyio.to_thread.run_sync(office.store.delete_consortium, name)
        text = f"Removed {definition_text(name, removed) if removed else name}."
        return result(text, SavedConsortium(name=name, definition=removed))

    @server.tool(title="List models", annotations=_hints("List models", reads=True, again=True))
    async def list_models(
        query: Annotated[str | None, Field(description="Part of an id or alias.")] = None,
    ) -> Annotated[CallToolResult, ModelList]:
        """List the models that can be members or arbiters, usable ones first, and what the others lack."""
        catalogue = await anyio.to_thread.run_sync(load_catalogue)
        listed = list_known_models(catalogue, query)
        lines = [f"{one.model}" + (f" - not usable: {one.problem}" if one.problem else "") for one in listed.models]
        return result("\n".join(lines) or "No such model.", listed)


def list_saved(runner: Runner) -> ConsortiumList:
    """Every saved consortium with its problem, damaged rows included."""
    office = runner.consultancy
    catalogue = load_catalogue()
    loaded, damaged = office.store.list_consortiums()
    summaries = [
        ConsortiumSummary(name=name, problem=office.definitions.problem(name, one, catalogue), definition=one)
        for name, one in loaded.items()
    ]
    summaries += [ConsortiumSummary(name=name, problem=why, definition=None) for name, why in damaged.items()]
    return ConsortiumList(consortiums=tuple(sorted(summaries, key=lambda one: one.name)))


def list_known_models(catalogue: Catalogue, query: str | None = None) -> ModelList:
    """The models whose id or an alias contains the query, usable ones first."""
    summaries = [
        ModelSummary(model=entry.model_id, aliases=entry.aliases, plugin=entry.plugin, problem=problem)
        for entry, problem in catalogue.search(query)
    ]
    return ModelList(models=tuple(summaries), default=catalogue.default_model)
