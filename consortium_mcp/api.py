"""The Python API: consults as one call, as events, and for synchronous callers; and the history of runs."""

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
from consortium_mcp.service.attachments.access import access_of_user
from consortium_mcp.service.attachments.reading import with_files_read
from consortium_mcp.service.definitions import defined
from consortium_mcp.service.runner import Runner
from consortium_mcp.service.sharing import shared_service
from consortium_mcp.settings import Settings, current_settings
from consortium_mcp.store import Store

Event = Progress | Iteration | AnswerPiece | Run
"""An event of a consult: its progress, a judged iteration, a piece of the answer, or at the end the run."""


class Terms(ConsultTerms, total=False):
    """The arguments of a consult; one that is missing or None has the default of `consortium-mcp consult`."""

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
    """Like `consult`, but yields events; the first one has the run's id, and the last one is the run.

    An iteration is an event when it has been judged. Pieces of the answer come only if the answer is certain while its
    arbiter writes it, as in a single iteration; `Run.answer` is authoritative. Leaving the loop early cancels the run,
    at once if the iterator is closed (`contextlib.aclosing`).
    """
    _require_asyncio()
    request, settings = _read(prompt, terms)
    events: asyncio.Queue[Event | None] = asyncio.Queue()

    def tell_text(text: str) -> None:
        events.put_nowait(AnswerPiece(text=text))

    # A task, not a task group, because another task may close the iterator.
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
    """Like `consult`, for any thread. It has its own event loop, and blocks a loop that runs in its thread."""
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
    """A definition for `consult`, with the parameters of llm-consortium and all other rules; nothing is saved.

    Args:
        models: `"model"`, `"model:count"` or `"model|backup"` each; None means llm's default model.
        arbiter: None means the first of the models.
        default_count: llm-consortium's name of `count`.
        raw: has no effect, as in llm-consortium.
        settings: determine the available models; None reads the environment.

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
    """A run with all its texts. Raises NotFoundError."""
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
        query: words that must occur in the prompt or the answer; None means all.
        consortium: the saved name of the consortium; None means all.
        status: None means all.
        limit: the largest number of runs; None means all.
    """
    with _history(settings) as store:
        return store.runs.find.sync(query, consortium, status, limit)


def export(
    run_ids: Iterable[str] | None = None, format: ExportFormat = "jsonl", *, settings: Settings | None = None
) -> str:
    """Runs as a text: JSON lines, Markdown (`md`), or one self-contained HTML page (`html`).

    Args:
        run_ids: None means all, newest first.

    Raises:
        NotFoundError: there is no such run.
    """
    with _history(settings) as store:
        chosen = store.outlines.list_ids.sync() if run_ids is None else run_ids
        return "".join(
            exported((store.attachments.with_contents.sync(store.runs.load.sync(one)) for one in chosen), format)
        )


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
        access = access_of_user(service.settings)
        request = await anyio.to_thread.run_sync(with_files_read, request, access)
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
    """Report the run's progress until it has ended, and each iteration when it has been judged."""
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
