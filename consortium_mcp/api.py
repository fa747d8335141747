"""The Python API: a consult as one call, as events, and for callers without an event loop; and the runs of before."""

import asyncio
import math
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import closing
from functools import partial
from typing import Any, Unpack

import anyio.to_thread
from anyio.from_thread import start_blocking_portal

from consortium_mcp.errors import ConsortiumError, InvalidConsortiumError
from consortium_mcp.models.catalogue import load_catalogue
from consortium_mcp.records import AnswerPiece, Budget, Iteration, Progress, Run, Status
from consortium_mcp.records.consortium import Consortium
from consortium_mcp.records.request import ConsultRequest, DefinitionRequest, read_request
from consortium_mcp.records.terms import ConsultTerms, FurtherRules
from consortium_mcp.reports.export import ExportFormat, exported
from consortium_mcp.service.answers import answered
from consortium_mcp.service.definitions import defined
from consortium_mcp.service.runner import Runner
from consortium_mcp.service.sharing import shared_service
from consortium_mcp.settings import Settings, current_settings
from consortium_mcp.store import Store

Event = Progress | Iteration | AnswerPiece | Run
"""What is told of a consult: how far it is, each judged iteration, the answer as it is written, and at last the run."""


class Terms(ConsultTerms, total=False):
    """The arguments of a consult; a missing one, or None, has the default of `consortium-mcp consult`."""

    budget: Budget | None
    """max_calls, max_tokens and max_cost_usd in one value; a limit that is given alone wins over it."""

    settings: Settings | None
    """None reads the environment."""


async def consult(prompt: str, **terms: Unpack[Terms]) -> Run:
    """Ask a consortium and return the run with its answer; cancelling it cancels the run.

    Raises:
        RunFailedError: no member gave a response; the run is kept.
        ConsortiumError: it could not be started; nothing was asked.
    """
    _require_asyncio()
    request, settings = _read(prompt, terms)
    return await _consult(request, settings, lambda event: None)


async def consult_events(prompt: str, **terms: Unpack[Terms]) -> AsyncGenerator[Event, None]:
    """As `consult`, telling what happens; the first event names the run, and the last one is the run.

    An iteration is told when it has been judged. Pieces of the answer come only where it is certain while its arbiter
    still writes it, as with a single iteration; `Run.answer` is what counts. Leaving the loop early cancels the run,
    at once where the iterator is closed (`contextlib.aclosing`).
    """
    _require_asyncio()
    request, settings = _read(prompt, terms)
    events: asyncio.Queue[Event | None] = asyncio.Queue()

    def tell_text(text: str) -> None:
        events.put_nowait(AnswerPiece(text=text))

    # A task, and no task group: an iterator may be closed from another task than the one that began it.
    task = asyncio.create_task(_consult(request, settings, events.put_nowait, tell_text))
    task.add_done_callback(lambda _: events.put_nowait(None))
    try:
        while (event := await events.get()) is not None:
            yield event
        yield await task
    finally:
        task.cancel()
        await asyncio.wait([task])


def consult_sync(prompt: str, **terms: Unpack[Terms]) -> Run:
    """As `consult`, for any thread, one with a running event loop included (which it holds up): it has its own."""
    with start_blocking_portal() as portal:
        return portal.call(partial(consult, prompt, **terms))


def create_consortium(
    models: Sequence[str] | None = None,
    confidence_threshold: float = 0.8,
    max_iterations: int = 3,
    min_iterations: int = 1,
    arbiter: str | None = None,
    system_prompt: str | None = None,
    default_count: int = 1,
    raw: bool = False,
    *,
    settings: Settings | None = None,
    **further: Unpack[FurtherRules],
) -> Consortium:
    """A definition to consult, with the parameters of llm-consortium and every further rule; nothing is saved.

    Args:
        models: `"model"`, `"model:count"` or `"model|backup"` each; None means llm's default model.
        arbiter: None means the first of the models.
        default_count: the name that llm-consortium gave to `count`.
        raw: has no effect, as in llm-consortium.
        settings: say which models there are; None reads the environment.

    Raises:
        InvalidConsortiumError: a rule is broken.
    """
    catalogue = load_catalogue(settings)
    named: dict[str, Any] = {
        "models": [catalogue.default_model] if models is None else models,
        "count": default_count,
        "confidence_threshold": confidence_threshold,
        "max_iterations": max_iterations,
        "min_iterations": min_iterations,
        "arbiter": arbiter,
        "system_prompt": system_prompt,
    }
    request = read_request(DefinitionRequest, {**named, **further})
    return defined(request, catalogue.knows)


def load_run(run_id: str, *, settings: Settings | None = None) -> Run:
    """A run with all that was said in it. Raises NotFoundError."""
    with _history(settings) as store:
        return store.runs.load.sync(run_id)


def list_runs(
    query: str | None = None,
    *,
    consortium: str | None = None,
    status: Status | None = None,
    limit: int | None = 20,
    settings: Settings | None = None,
) -> list[Run]:
    """Past runs, newest first, without their iterations.

    Args:
        query: words that must stand in the prompt or the answer; None means all.
        consortium: the saved name that was consulted; None means all.
        status: None means all.
        limit: how many at most; None means all.
    """
    with _history(settings) as store:
        return store.runs.find.sync(query, consortium, status, limit)


def export(
    run_ids: Iterable[str] | None = None, format: ExportFormat = "jsonl", *, settings: Settings | None = None
) -> str:
    """Runs as a text: JSON lines, Markdown (`md`), or one HTML page that needs nothing else (`html`).

    Args:
        run_ids: None means all, newest first.

    Raises:
        NotFoundError: there is no such run.
    """
    with _history(settings) as store:
        chosen = store.outlines.list_ids.sync() if run_ids is None else run_ids
        return "".join(exported(map(store.runs.load.sync, chosen), format))


def _history(settings: Settings | None) -> closing[Store]:
    settings = settings or current_settings()
    return closing(Store(settings.database_path, settings.shared))


def _read(prompt: str, terms: Terms) -> tuple[ConsultRequest, Settings | None]:
    """The request and the settings of a call; raises InvalidConsortiumError before anything is opened."""
    given: dict[str, Any] = {"prompt": prompt, **terms}
    settings, budget = given.pop("settings", None), given.pop("budget", None)
    if settings is not None and not isinstance(settings, Settings):
        raise InvalidConsortiumError(f"settings is {repr(settings)[:80]}: give Settings, as load_settings() returns.")
    if budget is not None and not isinstance(budget, Budget):
        raise InvalidConsortiumError(f"budget is {repr(budget)[:80]}: give a Budget, as in Budget(max_calls=20).")
    limits = budget.model_dump() if budget else {}
    return read_request(ConsultRequest, {**limits, **given}), settings


async def _consult(
    request: ConsultRequest,
    settings: Settings | None,
    tell: Callable[[Event], None],
    on_text: Callable[[str], None] | None = None,
) -> Run:
    async with shared_service(settings) as service:
        opened = await anyio.to_thread.run_sync(service.opener.open_run, request)
        tell(Progress(run_id=opened.run_id, status="running", iteration=0, calls_done=0))
        async with Runner(service, keep_clients=True) as runner:
            runner.submit(opened, on_text)
            await _tell_progress(runner, opened.run_id, tell)
            run = await runner.load(opened.run_id)
        run = answered(run)
        await service.note_received(run.run_id)
        return run


async def _tell_progress(runner: Runner, run_id: str, tell: Callable[[Event], None]) -> None:
    """Tell how far a run is until it has ended, and each iteration when it has been judged."""
    judged = 0
    async for progress in runner.follow(run_id, math.inf):
        tell(progress)
        finished = progress.iteration - (progress.status == "running")
        if finished > judged:
            for iteration in (await runner.load(run_id)).iterations[judged:finished]:
                tell(iteration)
            judged = finished


def _require_asyncio() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError as error:
        raise ConsortiumError(
            "This function needs asyncio, because llm's models run only there. Under trio, call consult_sync in a "
            "thread: "
            "`await trio.to_thread.run_sync(consult_sync, prompt)`."
        ) from error
