"""The use-case: work on a run, save everything as it lands, close it; resume what was interrupted."""

import logging
import os
import secrets
import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from typing import Self

import anyio
import anyio.abc
import anyio.to_thread
from opentelemetry.trace import Span

from consortium_mcp._util.caller import calling
from consortium_mcp._util.places import Places
from consortium_mcp.engine.answer_stream import AnswerStream
from consortium_mcp.engine.loop import iterations
from consortium_mcp.engine.outcome import closed, ended
from consortium_mcp.errors import ConsortiumError, RunFailedError, StoreUnusableError
from consortium_mcp.models.calling import ChunkSink, ignore, limits_of, take_place
from consortium_mcp.models.catalogue import Models
from consortium_mcp.models.llm_log import LlmLog
from consortium_mcp.models.sampling_queue import SamplingQueue
from consortium_mcp.records import CallSpec, Iteration, Run
from consortium_mcp.records.tracing import describe_run, run_span
from consortium_mcp.service.opening import RunOpener, from_now
from consortium_mcp.service.run_calls import RunCalls, seconds_until
from consortium_mcp.service.stats import Stats, make_stats
from consortium_mcp.settings import Settings, current_settings, llm_user_path, using
from consortium_mcp.store import LEASE_SECONDS, Store
from consortium_mcp.store.llm_consortium_import import take_over
from consortium_mcp.text.masking import masked

logger = logging.getLogger(__name__)


class _CannotResumeError(Exception):
    """An interrupted run cannot be gone on with here and now; its cause says why."""


class ConsortiumService(RunOpener):
    """Everything that consults need in this process: settings, store, limits, llm's log."""

    def __init__(self, settings: Settings | None = None) -> None:
        """Open the store; a new one takes over what llm-consortium saved. Raises StoreUnusableError."""
        settings = settings or current_settings()
        super().__init__(settings, Store(settings.database_path, settings.shared), _owner())
        self.limits = limits_of(settings)
        self.sampling_queue = SamplingQueue()
        self.llm_log = LlmLog()
        self.unclosed: dict[str, Run] = {}
        """Runs as they ended, or cannot go on, whose records still say that they run."""
        self._under_way: set[str] = set()
        take_over(self.store, llm_user_path())

    def close(self) -> None:
        """Finish what is being written and let go of the files."""
        self.clients.close()
        self.llm_log.close()
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def perform(
        self,
        run: Run | str,
        on_change: Callable[[], None] = lambda: None,
        on_text: Callable[[str], None] | None = None,
    ) -> None:
        """Work on a run until it has ended; calls whose results are stored are not made again.

        A run that another process holds is left to it, and of one that ended here, where that could not be written,
        the end is written now.

        Args:
            run: as it was just opened, or its id.
            on_change: told after each thing that was written.
            on_text: told the answer piece by piece while its arbiter writes it; None when nobody reads along.

        Raises:
            ConsortiumError: an interrupted run needs a model that cannot be called now; it stays interrupted.
        """
        run_id = run if isinstance(run, str) else run.run_id
        ready = self.ready.pop(run_id, None)
        models = None if isinstance(run, str) else ready  # what is known by its id alone may be another's by now
        if (kept := self.unclosed.get(run_id)) and kept.ended_utc:
            await self._close_at_last(kept)
            return
        self.unclosed.pop(run_id, None)
        with anyio.CancelScope(shield=True):  # from here on a cancelled run is closed as such
            opened = await self.store.loaded(self.store.load_run, run) if isinstance(run, str) else run
        if run_id in self._under_way:  # another consult here asked the same in the same call, and has it
            return
        self._under_way.add(run_id)
        try:
            with calling(opened.caller), using(self.settings):
                await self._perform(opened, models, on_change, on_text)
        finally:
            self._under_way.discard(run_id)

    async def load(self, run_id: str) -> Run:
        """The run as it stands: from the store, or, where that could not be written until now, as it ended here.

        Raises NotFoundError for a run that is not stored, or another caller's.
        """
        ended_here = self.unclosed.get(run_id)
        if ended_here and self.store.reader() in (None, ended_here.caller):
            if ended_here.ended_utc:
                await self._close_at_last(ended_here)
            return ended_here
        return await self.store.loaded(self.store.load_run, run_id)

    async def _perform(
        self,
        run: Run,
        models: Models | None,
        on_change: Callable[[], None],
        on_text: Callable[[str], None] | None,
    ) -> None:
        """Work on a run; one whose models are known was just opened, and is ours."""
        run_id = run.run_id
        deadline = from_now(run.deadline_seconds) if run.status == "interrupted" else run.deadline_utc
        run = run.model_copy(update={"deadline_utc": deadline})
        if models is None and not await self.store.saved(self.store.claim_run, run_id, self.owner, deadline):
            return
        failure: BaseException | None = None
        places = self.limits.runs if run.parent is None else Places(1)  # the run that asks it has one already
        async with anyio.create_task_group() as group:
            group.start_soon(self._hold, run_id, group.cancel_scope)
            try:
                if await take_place(places, seconds_until(deadline)):
                    with ExitStack() as held:
                        held.callback(places.release)
                        span = held.enter_context(run_span(run))
                        await self._work_on(run, models, on_change, on_text, group)
                        await self._describe(span, run_id)
                else:
                    await self._close(closed(run.model_copy(update={"status": "deadline"})))
            except anyio.get_cancelled_exc_class():
                await self._let_go(run)
                raise
            except _CannotResumeError as error:
                with suppress(StoreUnusableError):  # then its lease ends by itself
                    await self.store.saved(self.store.release_run, run_id, self.owner)
                failure = error.__cause__
            except Exception as error:  # nothing foreseen: the run says so, and the error goes on its way below
                await self._close(ended(run, "failed", masked(f"{type(error).__name__}: {error}")))
                failure = error
            finally:
                group.cancel_scope.cancel()
                on_change()
        if failure is not None:
            raise failure  # outside of the group, which would wrap it

    async def _work_on(
        self,
        run: Run,
        models: Models | None,
        on_change: Callable[[], None],
        on_text: Callable[[str], None] | None,
        group: anyio.abc.TaskGroup,
    ) -> None:
        models = models or await self._found_models(run)
        telling = AnswerStream(run.consortium, on_text) if on_text else None
        last = run.model_copy(update={"iterations": ()})  # those of before a crash are gone through again

        def listen(spec: CallSpec) -> ChunkSink:
            return telling.listen(last, spec) if telling else ignore

        calls = RunCalls(
            run,
            self.store,
            self.owner,
            models,
            self.limits,
            self.sampling_queue,
            self.settings,
            self.llm_log.write,
            on_change,
            listen,
            group,
        )

        async def save(iteration: Iteration) -> None:
            await calls.write(self.store.save_iteration, run.run_id, iteration, self.owner)
            on_change()

        def reads_schema(model: str) -> bool:
            return all(entry.supports_schema for entry in models[model])

        async for last in iterations(run, calls, reads_schema, calls.stop, save):
            if last.status == "running":  # the last one is written with the run's end
                await save(last.iterations[-1])
        if run.replay_of:
            await calls.write(self.store.forget_iterations, run.run_id, len(last.iterations))
        if calls.stopped and last.status != "converged":
            last = last.model_copy(update={"status": calls.stopped})
        last = closed(last).model_copy(update={"usage": calls.used})  # for a run that cannot be written
        await self._close(last, calls.unsaved, last.iterations[-1] if last.iterations else None)

    async def _describe(self, span: Span, run_id: str) -> None:
        """Say in a span that somebody records how a run ended; of one that cannot be read, nothing."""
        if span.is_recording():
            with suppress(ConsortiumError):
                describe_run(span, await self.load(run_id))

    async def _found_models(self, run: Run) -> Models:
        """Every model that the run may call, ready to be called."""

        def find() -> Models:
            models = self.catalogue.use(partial(self.definitions.check, run.consortium_name, run.consortium))
            self.make_ready(models)
            return models

        try:
            return await anyio.to_thread.run_sync(find, limiter=self._opening)
        except ConsortiumError as error:
            if run.status == "interrupted":
                raise _CannotResumeError from error
            raise

    async def _close(self, run: Run, unsaved: str | None = None, last: Iteration | None = None) -> None:
        """Write how the run ended; where this or something before could not be written, the answer says so."""
        if unsaved is not None:
            run = _not_saved(run, unsaved)
        try:
            await self.store.saved(self.store.close_run, run, self.owner, last)
        except StoreUnusableError as error:
            self.unclosed[run.run_id] = run if unsaved else _not_saved(run, str(error))

    async def _close_at_last(self, run: Run) -> None:
        """Write how a run of `unclosed` ended; where that fails again, it stays there."""
        with suppress(StoreUnusableError):
            await self.store.saved(self.store.close_run, run, self.owner)
            self.unclosed.pop(run.run_id, None)

    async def _let_go(self, run: Run) -> None:
        """Close a run that was cut off as cancelled; one that was because we leave can be resumed.

        One inside another run stays open too: it goes on, or ends, with the other one.
        """
        if self.leaving or run.parent:
            with suppress(StoreUnusableError):  # then its lease ends by itself
                if await self.store.saved(self.store.release_run, run.run_id, self.owner):
                    return
        await self._close(ended(run, "cancelled", "The run was cancelled."))

    async def note_received(self, run_id: str) -> None:
        """Note that a caller has the run's answer; a caller whom we cannot note has it all the same."""
        try:
            await self.store.saved(self.store.note_received, run_id)
        except StoreUnusableError as error:
            logger.warning("That the answer of %s was received is not saved: %s", run_id, error)

    async def _hold(self, run_id: str, scope: anyio.CancelScope) -> None:
        """Renew the run's lease as long as we work on it; without it, somebody else does, or wants it cancelled."""
        while True:
            await anyio.sleep(LEASE_SECONDS / 4)
            try:
                if not await self.store.saved(self.store.renew_lease, run_id, self.owner):
                    scope.cancel()
            except StoreUnusableError:
                continue  # the calls say that nothing can be saved; whether the lease is lost nobody can tell


def load_stats(service: ConsortiumService, limit: int = 1000) -> Stats:
    """The statistics of the newest runs and all ratings."""
    ratings = service.store.list_ratings()
    run_ids = dict.fromkeys([rating.run_id for rating in ratings])
    run_ids |= dict.fromkeys(run.run_id for run in service.store.list_outlines(limit=limit))
    return make_stats((service.store.load_run(run_id) for run_id in run_ids), ratings)


def answered(run: Run) -> Run:
    """The run, when it has an answer; raises RunFailedError when it ended without one."""
    if run.answer is None and run.status != "running":
        raise RunFailedError(
            f"{run.error or 'The run ended without an answer.'} The run is kept as {run.uri}.", run.run_id
        )
    return run


def _not_saved(run: Run, why: str) -> Run:
    return run.model_copy(update={"degraded": (*run.degraded, f"The run could not be saved in full: {why}")})


def _owner() -> str:
    """What this process is called in the runs that it holds."""
    return f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}"
