"""The Python API: a consult as one call, as events, and for callers without an event loop; and the runs of before."""

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterable, Sequence
from contextlib import closing
from functools import partial
from queue import SimpleQueue
from typing import Annotated, Any, Required, TypeVar, Unpack

import anyio.to_thread
from anyio.from_thread import start_blocking_portal
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict  # typing's own is none that pydantic reads before Python 3.12

from consortium_mcp.errors import ConsortiumError, InvalidConsortiumError
from consortium_mcp.models.catalogue import load_catalogue
from consortium_mcp.records import AnswerPiece, Budget, Iteration, Progress, Run, Status, Turn
from consortium_mcp.records.consortium import Consortium, define, parse_members
from consortium_mcp.reports.export import ExportFormat, exported
from consortium_mcp.service.runner import Runner
from consortium_mcp.service.service import answered
from consortium_mcp.service.sharing import shared_service
from consortium_mcp.settings import MOST_SECONDS, Settings, current_settings
from consortium_mcp.store import Store

T = TypeVar("T")

Event = Progress | Iteration | AnswerPiece | Run
"""What is told of a consult: how far it is, each judged iteration, the answer as it is written, and at last the run."""


class Terms(TypedDict, total=False):
    """Whom to ask, and on what terms; what is left out, or None, is as in `consortium-mcp consult`."""

    consortium: str | Consortium | None
    """A saved name, or a definition; without it and without models, the default consortium."""

    models: Annotated[Sequence[str], Field(min_length=1)] | None
    """`"model"`, `"model:count"` or `"model|backup"` each, instead of a consortium."""

    count: int
    """Instances of a model that is named without a count."""

    arbiter: str | None
    system_prompt: str | None
    confidence_threshold: float | None
    max_iterations: int | None
    min_iterations: int | None
    strategy: str | None
    judging_method: str | None
    stop_on: str | None
    check_order: bool | None
    embedding_model: str | None
    """These, from `arbiter` on, are the fields of Consortium, and win over the definition's own."""

    history: Sequence[Turn]
    """Earlier turns of the conversation, oldest first."""

    output_schema: dict[str, Any] | None
    """The JSON schema that the answer must follow; None means free text."""

    follow_up_to: str | None
    """The run whose conversation goes on; its consortium is asked where none is named."""

    own_answer: str | None
    """The caller's, judged as one more anonymous response."""

    budget: Budget | None
    """What the run may spend; None means no limit of its own."""

    deadline_seconds: Annotated[float, Field(gt=0, le=MOST_SECONDS)] | None
    """How long it may take; None means the setting."""

    settings: Settings | None
    """None reads the environment."""


@with_config(ConfigDict(extra="forbid", arbitrary_types_allowed=True))
class _Asked(Terms):
    """A whole call."""

    prompt: Required[str]


_ASKED = TypeAdapter(_Asked)

_TAKES = {
    "prompt": "a text",
    "models": 'a list of one or more, as in ["gpt-5:2", "claude-opus-5"]',
    "history": 'a list of turns, as in [Turn(role="user", text="…")]',
    "budget": "a Budget, as in Budget(max_calls=20)",
    "deadline_seconds": f"a number above 0, and {MOST_SECONDS} at most",
}
"""What a term takes, where pydantic's own words would say little to a caller."""


async def consult(prompt: str, **terms: Unpack[Terms]) -> Run:
    """Ask a consortium and return the run with its answer; cancelling it cancels the run.

    Raises:
        RunFailedError: no member gave a response; the run is kept.
        ConsortiumError: it could not be started; nothing was asked.
    """
    _require_asyncio()
    return await _consult(lambda event: None, None, **_checked(prompt, terms))


async def consult_events(prompt: str, **terms: Unpack[Terms]) -> AsyncGenerator[Event, None]:
    """As `consult`, telling what happens; the last event is the run.

    An iteration is told when it has been judged. Pieces of the answer come only where it is certain while its arbiter
    still writes it, as with a single iteration; `Run.answer` is what counts. Leaving the loop early cancels the run,
    at once where the iterator is closed (`contextlib.aclosing`).
    """
    _require_asyncio()
    asked = _checked(prompt, terms)
    events: asyncio.Queue[Event | None] = asyncio.Queue()

    def tell_text(text: str) -> None:
        events.put_nowait(AnswerPiece(text=text))

    # A task, and no task group: an iterator may be closed from another task than the one that began it.
    task = asyncio.create_task(_consult(events.put_nowait, tell_text, **asked))
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
    models: Sequence[str] = (),
    confidence_threshold: float = 0.8,
    max_iterations: int = 3,
    min_iterations: int = 1,
    arbiter: str | None = None,
    system_prompt: str | None = None,
    default_count: int = 1,
    raw: bool = False,
    *,
    strategy: str | None = None,
    judging_method: str | None = None,
    settings: Settings | None = None,
) -> Consortium:
    """A definition to consult, with the parameters of llm-consortium; nothing is saved.

    Args:
        models: `"model"`, `"model:count"` or `"model|backup"` each; none means llm's default model.
        arbiter: None means the first of the models.
        default_count: instances of a model that is named without a count.
        raw: has no effect, as in llm-consortium.
        settings: say which models there are; None reads the environment.

    Raises:
        InvalidConsortiumError: a rule is broken.
    """
    _checked("", {"models": models or None, "count": default_count})
    catalogue = load_catalogue(settings)
    members = parse_members(models or [catalogue.default_model], catalogue.knows, default_count)
    return define(
        members=[member.model_dump() for member in members],
        arbiter=arbiter,
        system_prompt=system_prompt,
        confidence_threshold=confidence_threshold,
        max_iterations=max_iterations,
        min_iterations=min_iterations,
        strategy=strategy,
        judging_method=judging_method,
    )


def load_run(run_id: str, *, settings: Settings | None = None) -> Run:
    """A run with all that was said in it. Raises NotFoundError."""
    with _history(settings) as store:
        return store.load_run(run_id)


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
        return store.list_runs(query, consortium, status, limit)


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
        chosen = store.list_run_ids() if run_ids is None else run_ids
        return "".join(exported(map(store.load_run, chosen), format))


def _history(settings: Settings | None) -> closing[Store]:
    settings = settings or current_settings()
    return closing(Store(settings.database_path, settings.shared))


def iterate(events: Callable[[], AsyncIterator[T]]) -> Generator[T, None, None]:
    """What an asynchronous iterator yields, read in a thread of its own; leaving the loop cancels it."""
    queue: SimpleQueue[T | None] = SimpleQueue()

    async def read() -> None:
        try:
            async for event in events():
                queue.put(event)
        finally:
            queue.put(None)

    with start_blocking_portal() as portal:
        reading = portal.start_task_soon(read)
        try:
            while (event := queue.get()) is not None:
                yield event
            reading.result()
        finally:
            reading.cancel()


def _checked(prompt: str, terms: Terms) -> dict[str, Any]:
    """A call with every part of its kind; raises InvalidConsortiumError before anything is opened."""
    try:
        return dict(_ASKED.validate_python({"prompt": prompt, **terms}))
    except ValidationError as error:
        problem = error.errors()[0]
    term = str(problem["loc"][0])
    takes = f"it takes {_TAKES[term]}" if term in _TAKES else str(problem["msg"])
    given = terms.get(term, prompt)
    raise InvalidConsortiumError(f"{term} is {repr(given)[:80]}: {takes}.")


async def _consult(
    tell: Callable[[Event], None],
    on_text: Callable[[str], None] | None,
    *,
    prompt: str,
    settings: Settings | None = None,
    budget: Budget | None = None,
    deadline_seconds: float | None = None,
    history: Sequence[Turn] = (),
    **definition: Any,
) -> Run:
    def open_run() -> Run:
        return service.open_run(prompt, history, budget=budget, deadline_seconds=deadline_seconds, **definition)

    async with shared_service(settings) as service:
        opened = await anyio.to_thread.run_sync(open_run)
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
            "This needs asyncio, for which llm's models are made. Under trio, call consult_sync in a thread: "
            "`await trio.to_thread.run_sync(consult_sync, prompt)`."
        ) from error
