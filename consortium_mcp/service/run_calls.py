"""Makes the calls of one run: each once, retried if useful, within the deadline and the budget, and saves them."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import anyio
import anyio.abc
import anyio.lowlevel

from consortium_mcp._util.timing import Timing
from consortium_mcp.engine.judging import judging_methods
from consortium_mcp.errors import StoreUnusableError
from consortium_mcp.models.adapting import adaptations_of
from consortium_mcp.models.attaching import fitted
from consortium_mcp.models.calling import ChunkSink, ConcurrencyLimits, ResponseSink, make_call
from consortium_mcp.models.catalogue import ModelEntry, Models
from consortium_mcp.models.failures import INTERNAL
from consortium_mcp.models.sampling_queue import SamplingQueue, call_client
from consortium_mcp.records import CallResult, CallSpec, ErrorKind, Parent, Run, Status, now_utc
from consortium_mcp.records.consortium import CLIENT
from consortium_mcp.records.outer_call import OuterCall, outer_call, within_call
from consortium_mcp.records.tracing import call_span, describe_call
from consortium_mcp.service.ledger import BudgetUnheld, Ledger
from consortium_mcp.service.live_run import LiveCall, LiveRun
from consortium_mcp.service.retry import Outcome, further_attempts, with_retries
from consortium_mcp.store import AlreadyPaid, LeaseLost, OverBudget

logger = logging.getLogger(__name__)


@dataclass
class CallDeadline:
    """The deadline of a call over all its attempts; time in a queue is not counted."""

    ends: float
    """The time by which the call must have its reply (`time.monotonic()`)."""

    over: float
    """The time at which the run stops waiting for the call, even if the call is still queued (`time.monotonic()`)."""

    def add(self, waited: float) -> None:
        """Extend the deadline by the seconds that the call spent in a queue."""
        self.ends = min(self.over, self.ends + waited)

    def seconds_left(self) -> float:
        """The seconds until the deadline."""
        return self.ends - time.monotonic()


@dataclass(frozen=True)
class ModelDoor:
    """Asks the models of all runs of this process: llm's models here, the client's model through its queue."""

    limits: ConcurrencyLimits
    sampling_queue: SamplingQueue
    log: ResponseSink
    owner: str
    """The name of this process in the leases of its runs."""

    timing: Timing
    """The waits before further attempts, and the arbiter's share of a run's time."""

    async def ask(
        self,
        run: Run,
        entry: ModelEntry,
        spec: CallSpec,
        deadline: CallDeadline,
        hear: ChunkSink,
        on_turn: Callable[[], None],
        heard: Callable[[], None],
    ) -> CallResult:
        """A model's result; `on_turn` is called when the model is asked, `heard` at each sign that it sends."""
        timeout_seconds = max(0.001, deadline.seconds_left())
        if entry.model_id == CLIENT:
            on_turn()
            return await call_client(self.sampling_queue, run.run_id, spec, timeout_seconds)
        around = outer_call()

        def heard_inside() -> None:
            heard()
            if around:
                around.heard()

        with within_call(OuterCall(Parent(run_id=run.run_id, call_id=spec.call_id), self.owner, heard_inside)):
            return await make_call(entry, spec, self.limits, timeout_seconds, self.log, deadline.over, hear, on_turn)


class RunCalls:
    """Makes the calls of one run; a request for a call that is under way or paid for waits for its result."""

    def __init__(
        self,
        live: LiveRun,
        models: Models,
        ledger: Ledger,
        door: ModelDoor,
        timeout_seconds: float,
        group: anyio.abc.TaskGroup,
    ) -> None:
        """Use these parts to make a run's calls.

        Args:
            models: every model that the run may call, ready to be called.
            timeout_seconds: how long one call may take.
            group: runs the calls, which continue if their requester stops waiting.
        """
        self._live = live
        self._models = models
        self._ledger = ledger
        self._door = door
        self._timeout_seconds = timeout_seconds
        self._group = group
        self._given_seconds = seconds_until(live.run.deadline_utc)
        """The seconds until the deadline when work on the run began or was resumed."""

    async def __call__(self, spec: CallSpec) -> CallResult:
        """The result of the call; the call is made only if it was not made before."""
        call = self._live.calls.get(spec.call_id)
        if call is None:
            call = self._live.calls[spec.call_id] = LiveCall()
            self._group.start_soon(self._make, spec, call)
        await call.done.wait()
        assert call.result is not None
        return call.result

    async def stop(self, run: Run, specs: Sequence[CallSpec]) -> Status | None:
        """Why the next iteration, which asks these instances, may not begin, as a status; None if it may."""
        if run.iterations and self._seconds_left(for_arbiter=False) <= 0:
            return "deadline"
        try:
            if run.iterations and not await self._ledger.allows(self._needed(run, specs)):
                return "budget"
        except StoreUnusableError:
            return "budget"  # a budget that cannot be read cannot be enforced
        return self._live.stopped

    def _needed(self, run: Run, specs: Sequence[CallSpec]) -> int:
        """The number of calls of an iteration without retries; instances with a late response are not asked again."""
        asked = sum(spec.response is None and spec.call_id not in self._live.calls for spec in specs)
        return asked + judging_methods()[run.consortium.judging_method].calls(len(specs))

    async def _make(self, spec: CallSpec, call: LiveCall) -> None:
        try:
            call.result = await self._with_backups(spec)
        except Exception as error:  # an unexpected error fails this call only
            call.result = self._unexpected(spec, error)
            await self._ledger.finish(spec, call.result)
        finally:
            if call.result is None:
                call.result = CallResult(error_kind="cancelled", error="The call was cancelled.")
            call.done.set()
            self._live.tell()

    async def _with_backups(self, spec: CallSpec) -> CallResult:
        """The first usable result of the model and its backups; else the failure of the last one."""
        if spec.response is not None:  # the caller's own answer, stored like a response of a model
            said = CallResult(text=spec.response, datetime_utc=now_utc())
            await self._ledger.finish(spec, said)
            return said
        for place, entry in enumerate(self._models[spec.model]):
            outcome = await self._of_model(entry, spec, is_backup=place > 0)
            if outcome.result.ok or not outcome.was_asked:
                break
        if not outcome.result.ok:  # a usable result was written with its attempt
            await self._ledger.finish(spec, outcome.result, outcome.was_asked)
        return outcome.result

    async def _of_model(self, entry: ModelEntry, spec: CallSpec, *, is_backup: bool) -> Outcome:
        """The outcome of all attempts at one model."""
        left = self._seconds_left(for_arbiter=not spec.asks_member)
        if left <= 0:
            self._live.note_stopped(spec, "deadline")
            return _not_asked("timeout", "Not asked: the run has reached its deadline.")
        spec = fitted(entry, spec).model_copy(update={"options": entry.options_for(spec.options, spec.seed)})
        began = time.monotonic()
        deadline = CallDeadline(began + min(left, self._timeout_seconds), over=began + left)
        attempt = partial(self._attempt, entry, spec, deadline, is_backup=is_backup)
        outcome = await with_retries(attempt, deadline.seconds_left, self._door.timing)
        if outcome.was_asked and outcome.result.error_kind == "timeout" and time.monotonic() >= deadline.over:
            self._live.note_stopped(spec, "deadline")
        return outcome

    async def _attempt(self, entry: ModelEntry, spec: CallSpec, deadline: CallDeadline, *, is_backup: bool) -> Outcome:
        """One attempt: reserved in the journal before, settled after, and withdrawn if it was never its turn."""
        begun = await self._ledger.begin(entry, spec)
        self._live.tell()
        if isinstance(begun, LeaseLost):
            self._group.cancel_scope.cancel()
            await anyio.lowlevel.checkpoint()  # where the cancellation arrives
            return _not_asked("cancelled", "Not asked: another process now holds the run.")
        if isinstance(begun, AlreadyPaid):
            return Outcome(begun.result)
        if isinstance(begun, BudgetUnheld):
            return _not_asked("cancelled", begun.why)
        if isinstance(begun, OverBudget):
            self._live.note_stopped(spec, "budget")
            return _not_asked("cancelled", begun.why)
        known = adaptations_of(entry)
        result, had_turn = await self._made(entry, spec, deadline, begun.attempt)
        if not had_turn:
            await self._ledger.withdraw(spec, begun.attempt)
            if result.error_kind == "timeout":
                self._live.note_stopped(spec, "deadline")
            return Outcome(result, was_asked=False)
        by = {"answered_by": entry.model_id} if is_backup else {}
        result = result.model_copy(update={"unseen": spec.unseen, **by})
        result = await self._ledger.settle(entry, spec, begun.attempt, result)
        self._live.tell()
        was_adapted = not result.ok and adaptations_of(entry) != known  # a request that was rejected is not sent again
        return Outcome(result, further_attempts=further_attempts(result.error_kind), was_adapted=was_adapted)

    async def _made(
        self, entry: ModelEntry, spec: CallSpec, deadline: CallDeadline, attempt: int
    ) -> tuple[CallResult, bool]:
        """The result of an attempt that is noted in the journal, and whether it had its turn."""
        waited_since = time.monotonic()
        had_turn = False
        call = self._live.calls[spec.call_id]

        def on_turn() -> None:
            nonlocal had_turn
            had_turn = True
            call.hear()
            self._live.asked.set()
            deadline.add(time.monotonic() - waited_since)

        run = self._live.run
        try:
            with call_span(run, spec, entry.model_id, attempt) as span:
                result = await self._door.ask(run, entry, spec, deadline, self._live.listen(spec), on_turn, call.hear)
                describe_call(span, result)
        except anyio.get_cancelled_exc_class():
            await (self._ledger.cancel if had_turn else self._ledger.withdraw)(spec, attempt)
            raise
        except Exception as error:  # an attempt with an unexpected error is settled too
            result = self._unexpected(spec, error)
        finally:
            call.heard_at = None  # the model is not silent during the work that follows
        return result, had_turn

    def _unexpected(self, spec: CallSpec, error: Exception) -> CallResult:
        """The result of a call after an unexpected error."""
        logger.exception("The call %s of %s failed", spec.call_id, self._live.run_id)
        return CallResult(error_kind="internal", error=INTERNAL)

    def _seconds_left(self, *, for_arbiter: bool) -> float:
        """The seconds that a call may still take; members leave the arbiter its share."""
        timing = self._door.timing
        kept = 0.0 if for_arbiter else min(self._given_seconds * timing.arbiter_share, timing.most_for_arbiter)
        return seconds_until(self._live.run.deadline_utc) - kept


def seconds_until(datetime_utc: str) -> float:
    """The seconds until a moment; negative if it has passed."""
    return datetime.fromisoformat(datetime_utc).timestamp() - time.time()


def _not_asked(kind: ErrorKind, why: str) -> Outcome:
    return Outcome(CallResult(error_kind=kind, error=why), was_asked=False)
