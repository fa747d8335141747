"""The calls of one run: each made once, tried again where that helps, within the deadline and the budget, and saved."""

import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

import anyio
import anyio.abc
import anyio.lowlevel
import stamina

from consortium_mcp.engine.judging import judging_methods
from consortium_mcp.errors import StoreUnusableError
from consortium_mcp.models.calling import ChunkSink, ConcurrencyLimits, ResponseSink, make_call
from consortium_mcp.models.catalogue import ModelEntry, Models
from consortium_mcp.models.failures import RETRIED
from consortium_mcp.models.sampling_queue import SamplingQueue, call_client
from consortium_mcp.records import Budget, CallResult, CallSpec, Parent, Run, Status, Usage, now_utc
from consortium_mcp.records.consortium import CLIENT
from consortium_mcp.records.outer_call import OuterCall, within_call
from consortium_mcp.records.tracing import call_span, describe_call
from consortium_mcp.service.spending import cost_usd, day_budget, reservation_of
from consortium_mcp.settings import Settings
from consortium_mcp.store import (
    AlreadyPaid,
    AttemptStarted,
    LeaseLost,
    OverBudget,
    Store,
    caller_scope,
    day_scope,
    run_scope,
)
from consortium_mcp.text.masking import masked

logger = logging.getLogger(__name__)

T = TypeVar("T")

ATTEMPTS = 3
"""How often a call is tried at most, where its failure can pass by itself."""

WAIT_INITIAL_SECONDS = 0.5
"""What is waited before the second attempt where the provider does not say; before each further one, twice as long."""

WAIT_JITTER_SECONDS = 0.5
"""At most so much is added to each wait, so that calls that failed together do not come back together."""

MAX_RETRY_AFTER_SECONDS = 60
"""A provider that asks us to stay away for longer is not waited for."""

ARBITER_SHARE = 0.2
"""Which part of a run's time, at most `MAX_ARBITER_SECONDS`, is kept for the arbiter."""

MAX_ARBITER_SECONDS = 60


@dataclass
class _Call:
    """A call that was asked for: under way, or done."""

    done: anyio.Event = field(default_factory=anyio.Event)
    result: CallResult | None = None


@dataclass
class _CallDeadline:
    """How long a call is waited for, over all its attempts; waiting for its turn is not counted."""

    ends: float
    """When it must have its reply (`time.monotonic()`)."""

    over: float
    """When the run's time for it is up, whether or not it was its turn."""

    def add(self, waited: float) -> None:
        """Put off the end by so many seconds for which it was not the call's turn."""
        self.ends = min(self.over, self.ends + waited)


class _Ended(Exception):
    """What became of a call, where it was not simply made."""

    def __init__(self, result: CallResult) -> None:
        super().__init__(result.error)
        self.result = result


class _Again(_Ended):
    """An attempt failed in a way that can pass."""


class _NotAsked(_Ended):
    """The call was not made, for want of time or budget."""


@dataclass
class RunCalls:
    """Where the calls of one run are made; asking for one that is under way or paid for waits for its result."""

    run: Run
    store: Store
    owner: str
    """The process that holds the run; when it does not any more, nothing further is asked."""

    models: Models
    """Every model that the run may call, ready to be called."""

    limits: ConcurrencyLimits
    sampling_queue: SamplingQueue
    settings: Settings
    log: ResponseSink
    on_change: Callable[[], None]
    """Told after each thing that was written."""

    listen: Callable[[CallSpec], ChunkSink]
    """Says before each attempt who reads its reply along."""

    group: anyio.abc.TaskGroup
    """Holds the calls, which go on when nobody waits for them."""

    stopped: Status | None = None
    """Why a call that the run needs was not made: `deadline` or `budget`; None while all were."""

    unsaved: str | None = None
    """Why something could not be written; None while everything was."""

    used: Usage = Usage(cost_usd=0.0)
    """What the attempts made here used; the journal has it too, where that can be written."""

    _calls: dict[str, _Call] = field(default_factory=dict)
    _given_seconds: float = field(init=False)
    """How long the run had when work on it began, or went on after a crash."""

    def __post_init__(self) -> None:
        self._given_seconds = self._seconds_to_deadline()

    async def __call__(self, spec: CallSpec) -> CallResult:
        """The result of the call, which is made unless it was before."""
        call = self._calls.get(spec.call_id)
        if call is None:
            call = self._calls[spec.call_id] = _Call()
            self.group.start_soon(self._make, spec, call)
        await call.done.wait()
        assert call.result is not None
        return call.result

    async def stop(self, run: Run, specs: Sequence[CallSpec]) -> Status | None:
        """Why the next iteration of the run may not begin; None when it may."""
        if run.iterations and self._seconds_left(for_arbiter=False) <= 0:
            return "deadline"
        for scope, budget in self._budgets().items():
            if budget.max_calls is not None and run.iterations:
                try:
                    calls, _, _ = await self.store.journal.load_spending(scope)
                except StoreUnusableError:
                    return "budget"  # one that cannot be read cannot be held
                if calls + self._needed(run, specs) > budget.max_calls:
                    return "budget"
        return self.stopped

    def _needed(self, run: Run, specs: Sequence[CallSpec]) -> int:
        """How many calls the run's next iteration takes when nothing is tried again; who is late is not asked anew."""
        asked = sum(spec.response is None and spec.call_id not in self._calls for spec in specs)
        return asked + judging_methods()[run.consortium.judging_method].calls(len(specs))

    async def _make(self, spec: CallSpec, call: _Call) -> None:
        try:
            call.result = await self._with_backups(spec)
        except Exception as error:  # nothing foreseen: it costs this call, not what the others have said
            call.result = self._unforeseen(spec, error)
            await self.write(self.store.journal.finish_call(self.run.run_id, spec, call.result, True, self.owner))
        finally:
            if call.result is None:
                call.result = CallResult(error_kind="cancelled", error="The call was cancelled.")
            call.done.set()

    async def _with_backups(self, spec: CallSpec) -> CallResult:
        """The first usable result of the model and its backups; else the last one's failure."""
        if spec.response is not None:
            return await self._given(spec, spec.response)
        asked = True
        for place, entry in enumerate(self.models[spec.model]):
            try:
                result = await self._with_retries(entry, spec, is_backup=place > 0)
            except _NotAsked as refused:
                result, asked = refused.result, False
            if result.ok or not asked:
                break
        if not result.ok:  # a usable one was written with its attempt
            await self.write(self.store.journal.finish_call(self.run.run_id, spec, result, asked, self.owner))
        return result

    async def _given(self, spec: CallSpec, text: str) -> CallResult:
        """What the caller said itself, kept like a response that was asked for."""
        result = CallResult(text=text, datetime_utc=now_utc())
        await self.write(self.store.journal.finish_call(self.run.run_id, spec, result, True, self.owner))
        return result

    async def _with_retries(self, entry: ModelEntry, spec: CallSpec, *, is_backup: bool) -> CallResult:
        left = self._seconds_left(for_arbiter=not spec.asks_member)
        if left <= 0:
            self._note_stopped(spec, "deadline")
            raise _NotAsked(CallResult(error_kind="timeout", error="Not asked: the run's time is up."))
        began = time.monotonic()
        patience = _CallDeadline(began + min(left, self.settings.call_timeout_seconds), over=began + left)
        try:
            result = await self._attempt(entry, spec, patience, is_backup=is_backup)
        except _Again as first:
            result = await self._tried_again(first, entry, spec, patience, is_backup=is_backup)
        if result.error_kind == "timeout" and time.monotonic() >= patience.over:
            self._note_stopped(spec, "deadline")
        return result

    async def _tried_again(
        self, first: _Again, entry: ModelEntry, spec: CallSpec, patience: _CallDeadline, *, is_backup: bool
    ) -> CallResult:
        """What further attempts come to after a first one, which is made without what they take to set up."""
        failed: _Again | None = first
        try:
            async for attempt in stamina.retry_context(on=_pauses(patience), attempts=ATTEMPTS, timeout=None):
                with attempt:
                    if failed is not None:
                        behind, failed = failed, None
                        raise behind
                    result = await self._attempt(entry, spec, patience, is_backup=is_backup)
        except _Again as last:
            result = last.result
        return result

    async def _attempt(
        self, entry: ModelEntry, spec: CallSpec, patience: _CallDeadline, *, is_backup: bool
    ) -> CallResult:
        """One try: reserved in the journal before it, settled after it, taken back where it was never its turn."""
        reservation = reservation_of(entry, spec)
        budgets = self._budgets()
        begun = await self.write(
            self.store.journal.begin_attempt(self.run.run_id, spec, reservation, budgets, self.owner)
        )
        if begun is None:  # it could not be noted
            if any(budget != Budget() for budget in budgets.values()):
                why = f"Not asked: a budget cannot be held. {self.unsaved}"
                raise _NotAsked(CallResult(error_kind="cancelled", error=why))
            begun = AttemptStarted(0)
        self.on_change()
        if isinstance(begun, LeaseLost):
            self.group.cancel_scope.cancel()
            await anyio.lowlevel.checkpoint()  # where the cancellation arrives
        if isinstance(begun, AlreadyPaid):
            return begun.result
        if isinstance(begun, OverBudget):
            self._note_stopped(spec, "budget")
            raise _NotAsked(CallResult(error_kind="cancelled", error=begun.why))
        assert isinstance(begun, AttemptStarted)
        result = await self._made(entry, spec, patience, begun.attempt)
        if is_backup:
            result = result.model_copy(update={"answered_by": entry.model_id})
        final = result.ok
        cost = cost_usd(entry, result)
        self.used = self.used.with_call(result.input_tokens, result.output_tokens, cost)
        if not begun.attempt:  # what could not be noted then may be now
            noted = await self.write(
                self.store.journal.begin_attempt(self.run.run_id, spec, reservation, budgets, self.owner)
            )
            begun = noted if isinstance(noted, AttemptStarted) else begun
        call = (self.run.run_id, spec.call_id, begun.attempt)
        result = await self.write(self.store.journal.settle_attempt(*call, result, cost, final)) or result
        self.on_change()
        if result.error_kind in RETRIED:
            raise _Again(result)
        return result

    async def _made(self, entry: ModelEntry, spec: CallSpec, patience: _CallDeadline, attempt: int) -> CallResult:
        """What an attempt gave that was noted; one that never had its turn is taken back, and _NotAsked raised."""
        call = (self.run.run_id, spec.call_id, attempt)
        waited_since = time.monotonic()
        had_turn = False

        def on_turn() -> None:
            nonlocal had_turn
            had_turn = True
            patience.add(time.monotonic() - waited_since)

        try:
            with call_span(self.run, spec, entry.model_id, attempt) as span:
                result = await self._ask(entry, spec, patience, on_turn)
                describe_call(span, result)
        except anyio.get_cancelled_exc_class():
            cancelled = CallResult(error_kind="cancelled", error="The call was cancelled.")
            if had_turn:
                await self.write(self.store.journal.settle_attempt(*call, cancelled, None))
            else:
                await self.write(self.store.journal.withdraw_attempt(*call))
            raise
        except Exception as error:  # nothing foreseen: this attempt is settled like any other
            result = self._unforeseen(spec, error)
        if had_turn:
            return result
        await self.write(self.store.journal.withdraw_attempt(*call))
        if result.error_kind == "timeout":
            self._note_stopped(spec, "deadline")
        raise _NotAsked(result)

    def _unforeseen(self, spec: CallSpec, error: Exception) -> CallResult:
        """What becomes of a call in which something happened that nobody foresaw."""
        logger.exception("The call %s of %s failed", spec.call_id, self.run.run_id)
        return CallResult(error_kind="internal", error=masked(f"{type(error).__name__}: {error}"))

    async def _ask(
        self, entry: ModelEntry, spec: CallSpec, patience: _CallDeadline, on_turn: Callable[[], None]
    ) -> CallResult:
        timeout_seconds = max(0.001, patience.ends - time.monotonic())
        if entry.model_id == CLIENT:
            on_turn()
            return await call_client(self.sampling_queue, self.run.run_id, spec, timeout_seconds)
        limits, over, hear = self.limits, patience.over, self.listen(spec)
        with within_call(OuterCall(Parent(run_id=self.run.run_id, call_id=spec.call_id), self.owner)):
            return await make_call(entry, spec, limits, timeout_seconds, self.log, over, hear, on_turn)

    async def write(self, writing: Awaitable[T]) -> T | None:
        """Wait for a write to the store; in the middle of a run an answer that is not saved is better than none."""
        try:
            return await writing
        except StoreUnusableError as error:
            if self.unsaved is None:
                logger.error("The run %s goes on without being saved: %s", self.run.run_id, error)
            self.unsaved = str(error)
            return None

    def _note_stopped(self, spec: CallSpec, why: Status) -> None:
        """Keep why the run cannot do all it should; the first reason stands."""
        if not spec.is_spare:
            self.stopped = self.stopped or why

    def _budgets(self) -> dict[str, Budget]:
        day = now_utc()[:10]
        budgets = {run_scope(self.run.run_id): self.run.budget, day_scope(day): day_budget(self.settings)}
        if self.run.caller:
            budgets[caller_scope(self.run.caller, day)] = Budget(max_cost_usd=self.settings.max_cost_usd_per_caller)
        return budgets

    def _seconds_left(self, *, for_arbiter: bool) -> float:
        """How long a call may still take: members leave the arbiter its share."""
        kept = 0.0 if for_arbiter else min(self._given_seconds * ARBITER_SHARE, MAX_ARBITER_SECONDS)
        return self._seconds_to_deadline() - kept

    def _seconds_to_deadline(self) -> float:
        return seconds_until(self.run.deadline_utc)


def seconds_until(datetime_utc: str) -> float:
    """How far in the future a moment is; negative when it has passed."""
    return datetime.fromisoformat(datetime_utc).timestamp() - time.time()


def _pauses(patience: _CallDeadline) -> Callable[[Exception], bool | float]:
    """Says how long to wait before a further attempt: what the provider asks for, else ever longer.

    False where there is none, because the failure cannot pass, or not while the call is waited for.
    """
    backoff = WAIT_INITIAL_SECONDS

    def pause(error: Exception) -> bool | float:
        nonlocal backoff
        if not isinstance(error, _Again):
            return False
        asked = error.result.retry_after_seconds
        wait = (backoff if asked is None else asked) + random.uniform(0, WAIT_JITTER_SECONDS)
        backoff *= 2
        fits = (asked or 0) <= MAX_RETRY_AFTER_SECONDS and wait < patience.ends - time.monotonic()
        return wait if fits else False

    return pause
