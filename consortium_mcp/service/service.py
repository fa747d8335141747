"""The service: works on a run, stores each result at once, closes the run; resumes interrupted runs."""

import logging
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress
from functools import partial
from typing import Self

import anyio
import anyio.abc
import anyio.to_thread
from opentelemetry.trace import Span

from consortium_mcp._util.caller import calling
from consortium_mcp._util.places import Places
from consortium_mcp._util.processes import own_name
from consortium_mcp._util.timing import DEFAULT_TIMING, Timing
from consortium_mcp.engine.loop import iterations
from consortium_mcp.engine.outcome import closed, ended
from consortium_mcp.errors import ConsortiumError, StoreUnusableError
from consortium_mcp.models.calling import limits_of, take_place
from consortium_mcp.models.catalogue import Models, RecentCatalogue, with_short_texts
from consortium_mcp.models.llm_log import LlmLog
from consortium_mcp.models.openai_clients import KeptClients
from consortium_mcp.models.sampling_queue import SamplingQueue
from consortium_mcp.records import Iteration, Run
from consortium_mcp.records.tracing import describe_run, run_span
from consortium_mcp.service.definitions import Definitions
from consortium_mcp.service.ledger import Ledger
from consortium_mcp.service.live_run import LiveRun, LiveRuns
from consortium_mcp.service.opening import RunOpener, from_now
from consortium_mcp.service.patience import Patience
from consortium_mcp.service.run_calls import ModelDoor, RunCalls, seconds_until
from consortium_mcp.service.spending import typical_price
from consortium_mcp.service.track_record import TrackRecordReading
from consortium_mcp.settings import Settings, current_settings, llm_user_path, using
from consortium_mcp.store import Store, lacks_contents
from consortium_mcp.store.llm_consortium_import import take_over
from consortium_mcp.text.masking import masked

logger = logging.getLogger(__name__)


class _CannotResumeError(Exception):
    """An interrupted run cannot be resumed here and now; its cause has the reason."""


class ConsortiumService:
    """The parts that all consults of this process share: settings, store, limits, llm's log."""

    def __init__(self, settings: Settings | None = None, timing: Timing = DEFAULT_TIMING) -> None:
        """Open the store; a new one imports the runs of llm-consortium. Raises StoreUnusableError."""
        self.settings = settings or current_settings()
        self.timing = timing
        self.store = Store(self.settings.database_path, self.settings.shared, self.settings.read_timeout_seconds)
        self.owner = own_name()
        """The name of this process in the leases of its runs."""
        self.definitions = Definitions(self.store, self.settings)
        self.catalogue = RecentCatalogue(self.settings)
        self.clients = KeptClients(self.settings.direct_streaming)
        self.limits = limits_of(self.settings)
        self.sampling_queue = SamplingQueue()
        self.llm_log = LlmLog(self.settings.writes_llm_log)
        self.live_runs = LiveRuns()
        self.opener = RunOpener(self.store, self.owner, self.definitions, self.catalogue, self.clients, self.live_runs)
        self._under_way: set[str] = set()
        take_over(self.store, llm_user_path())

    def close(self) -> None:
        """Finish pending writes and close the files."""
        self.clients.close()
        self.llm_log.close()
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def perform(self, run: Run | str, on_text: Callable[[str], None] | None = None) -> None:
        """Work on a run, given as a record or by id, until it has ended; see `work_on`."""
        live = self.live_runs.begin(run, on_text)
        try:
            await self.work_on(live)
        finally:
            self.live_runs.finish(live)

    async def work_on(self, live: LiveRun) -> None:
        """Work on a run until it has ended; calls with stored results are not repeated.

        A run that another process holds is left to that process. If a run has ended here and its end could not be
        stored, the end is stored now.

        Raises:
            ConsortiumError: an interrupted run needs a model that cannot be called now; it stays interrupted.
        """
        if live.end is not None:
            await self._close_at_last(live)
            return
        with anyio.CancelScope(shield=True):  # from here on a cancelled run is closed as cancelled
            run = live.record or await self.store.runs.load(live.run_id)
        if run.run_id in self._under_way:  # another consult in this process works on the same run
            return
        self._under_way.add(run.run_id)
        deadline = from_now(run.deadline_seconds) if run.status == "interrupted" else run.deadline_utc
        live.record = run.model_copy(update={"deadline_utc": deadline})
        try:
            with calling(run.caller), using(self.settings):
                if live.models is not None or await self.store.leases.claim(run.run_id, self.owner, deadline):
                    await self._in_turn(live, live.run)
        finally:
            self._under_way.discard(run.run_id)

    async def load(self, run_id: str) -> Run:
        """The current run: from the store, or, if its end could not be stored, from this process.

        Raises NotFoundError for a run that is not stored, or another caller's.
        """
        live = self.live_runs.get(run_id)
        if live and (end := live.end) and self.store.database.reader() in (None, end.caller):
            if end.ended_utc:
                await self._close_at_last(live)
            return end
        return await self.store.runs.load(run_id)

    async def _in_turn(self, live: LiveRun, run: Run) -> None:
        """Work on a run of this process when a place is free, and always close it."""
        failure: BaseException | None = None
        places = self.limits.runs if run.parent is None else Places(1)  # a nested run uses the place of its outer run
        async with anyio.create_task_group() as group:
            group.start_soon(self._hold, run.run_id, group.cancel_scope)
            try:
                if await take_place(places, seconds_until(run.deadline_utc)):
                    with ExitStack() as held:
                        held.callback(places.release)
                        span = held.enter_context(run_span(run))
                        await self._iterate(live, run, group)
                        await self._describe(span, run.run_id)
                else:
                    await self._close(live, closed(run.model_copy(update={"status": "deadline"})))
            except anyio.get_cancelled_exc_class():
                await self._let_go(live, run)
                raise
            except _CannotResumeError as error:
                with suppress(StoreUnusableError):  # then its lease expires
                    await self.store.leases.release(run.run_id, self.owner)
                failure = error.__cause__
            except Exception as error:  # an unexpected error: the run records it, and it is raised below
                await self._close(live, ended(run, "failed", masked(f"{type(error).__name__}: {error}")))
                failure = error
            finally:
                group.cancel_scope.cancel()
                live.tell()
        if failure is not None:
            raise failure  # outside the group, which would wrap it

    async def _iterate(self, live: LiveRun, run: Run, group: anyio.abc.TaskGroup) -> None:
        """Make a run's iterations, repeat those of before a crash from stored results, and close the run."""
        models = live.models = live.models or await self._found_models(run)
        run = await self.store.attachments.with_contents(run) if lacks_contents(run) else run
        ledger = Ledger(live, self.store, self.settings, self.owner)
        door = ModelDoor(self.limits, self.sampling_queue, self.llm_log.write, self.owner, self.timing)
        calls = RunCalls(live, models, ledger, door, self.settings.call_timeout_seconds, group)

        async def write(iteration: Iteration) -> None:
            await live.write(self.store.runs.save_iteration(run.run_id, iteration, self.owner))
            live.tell()

        async def save(iteration: Iteration) -> None:
            group.start_soon(write, iteration)  # no call waits for this: the journal already has each call's result

        def reads_schema(model: str) -> bool:
            return all(entry.supports_schema for entry in models[model])

        run = run.model_copy(update={"short_text_models": with_short_texts(models)})
        price_of = partial(typical_price, models)
        patience = Patience(run, live.calls, self.timing)
        last = live.record = run.model_copy(update={"iterations": ()})
        record = TrackRecordReading(self.store, run)
        group.start_soon(_when, live.asked, partial(patience.read_history, self.store), record.read)
        async for last in iterations(run, calls, reads_schema, calls.stop, save, patience, price_of, record):
            live.record = last
            if last.status == "running":  # the last one is written with the run's end
                await save(last.iterations[-1])
        if run.replay_of:
            await live.write(self.store.journal.forget_iterations(run.run_id, len(last.iterations)))
        if live.stopped and last.status != "converged":
            last = last.model_copy(update={"status": live.stopped})
        last = closed(last).model_copy(update={"usage": live.usage})  # for a run that cannot be written
        await self._close(live, last, last.iterations[-1] if last.iterations else None)

    async def _describe(self, span: Span, run_id: str) -> None:
        """Add the run's outcome to a recorded span; without effect if the run cannot be read."""
        if span.is_recording():
            with suppress(ConsortiumError):
                describe_run(span, await self.load(run_id))

    async def _found_models(self, run: Run) -> Models:
        """Every model that the run may call, ready to be called."""
        try:
            return await self.opener.find_models(run)
        except ConsortiumError as error:
            if run.status == "interrupted":
                raise _CannotResumeError from error
            raise

    async def _close(self, live: LiveRun, run: Run, last: Iteration | None = None) -> None:
        """Store how the run ended; if an earlier write failed, the answer says so."""
        if live.unsaved is not None:
            run = _not_saved(run, live.unsaved)
        try:
            await self.store.runs.close(run, self.owner, last)
        except StoreUnusableError as error:
            live.end = run if live.unsaved else _not_saved(run, str(error))

    async def _close_at_last(self, live: LiveRun) -> None:
        """Store the end of a run whose end could not be stored before; on failure it is kept for later."""
        assert live.end is not None
        with suppress(StoreUnusableError):
            await self.store.runs.close(live.end, self.owner)
            live.end = None
            self.live_runs.finish(live)

    async def _let_go(self, live: LiveRun, run: Run) -> None:
        """Release a stopped run so that it can be resumed; close it if it was cancelled."""
        with suppress(StoreUnusableError):  # then its lease expires
            if await self.store.leases.release(run.run_id, self.owner):
                return
        await self._close(live, ended(run, "cancelled", "The run was cancelled."))

    async def note_received(self, run_id: str) -> None:
        """Note that a caller has received the run's answer; a failure is only logged."""
        try:
            await self.store.runs.note_received(run_id)
        except StoreUnusableError as error:
            logger.warning("The receipt of the answer of %s could not be saved: %s", run_id, error)

    async def _hold(self, run_id: str, scope: anyio.CancelScope) -> None:
        """Renew the run's lease during the work; stop the work if the lease is lost or the run is cancelled."""
        while True:
            await anyio.sleep(self.timing.lease_renewal)
            try:
                if not await self.store.leases.renew(run_id, self.owner):
                    scope.cancel()
            except StoreUnusableError:
                continue  # the calls report that nothing can be saved; whether the lease is lost is unknown


async def _when(event: anyio.Event, *readings: Callable[[], Awaitable[None]]) -> None:
    """Await these one after the other, once an event is set."""
    await event.wait()
    for read in readings:
        await read()


def _not_saved(run: Run, why: str) -> Run:
    return run.model_copy(update={"degraded": (*run.degraded, f"The run could not be saved in full: {why}")})
