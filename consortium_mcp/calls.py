"""The calls of one run: each made once, tried again where that helps, within the deadline and the budget, and saved."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

import anyio
import anyio.abc
import anyio.to_thread
import stamina

from consortium_mcp.catalogue import ModelEntry
from consortium_mcp.errors import StoreUnusable
from consortium_mcp.failures import RETRIED
from consortium_mcp.model_call import CallLimits, ResponseSink, make_call
from consortium_mcp.prices import price_usd
from consortium_mcp.run import Budget, CallResult, CallSpec, Run, Status
from consortium_mcp.settings import Settings
from consortium_mcp.store import Begun, Paid, Refused, Reservation, Store, day_scope, run_scope

logger = logging.getLogger(__name__)

T = TypeVar("T")

ATTEMPTS = 3
"""How often a call is tried at most, where its failure can pass by itself."""

MAX_RETRY_AFTER_SECONDS = 60
"""A provider that asks us to stay away for longer is not waited for."""

ARBITER_SHARE = 0.2
"""Which part of a run's time, at most `MAX_ARBITER_SECONDS`, is kept for the arbiter."""

MAX_ARBITER_SECONDS = 60

ASSUMED_OUTPUT_TOKENS = 4_096
"""What is reserved for a reply where no option bounds it."""


async def saved(write: Callable[..., T], *arguments: Any) -> T:
    """Run a method of the store in a thread, to its end even when we are cancelled: what arrived is kept."""
    with anyio.CancelScope(shield=True):
        result = await anyio.to_thread.run_sync(lambda: write(*arguments))
    return result


@dataclass
class _Call:
    """A call that was asked for: under way, or done."""

    done: anyio.Event = field(default_factory=anyio.Event)
    result: CallResult | None = None


class _Again(Exception):
    """An attempt failed in a way that can pass."""

    def __init__(self, result: CallResult) -> None:
        super().__init__(result.error)
        self.result = result


@dataclass
class RunCalls:
    """Where the calls of one run are made; asking for one that is under way or paid for waits for its result."""

    run: Run
    store: Store
    models: Mapping[str, Sequence[ModelEntry]]
    """Every model that the run may call with its backups, by the name that its consortium uses."""

    limits: CallLimits
    settings: Settings
    log: ResponseSink
    on_change: Callable[[], None]
    """Told after each thing that was written."""

    group: anyio.abc.TaskGroup
    """Holds the calls, which go on when nobody waits for them."""

    stopped: Status | None = None
    """Why a call was not made: `deadline` or `budget`; None while all were."""

    unsaved: str | None = None
    """Why something could not be written; None while everything was."""

    _calls: dict[str, _Call] = field(default_factory=dict)

    async def __call__(self, spec: CallSpec) -> CallResult:
        """The result of the call, which is made unless it was before."""
        call = self._calls.get(spec.call_id)
        if call is None:
            call = self._calls[spec.call_id] = _Call()
            self.group.start_soon(self._make, spec, call)
        await call.done.wait()
        assert call.result is not None
        return call.result

    def stop(self, run: Run) -> Status | None:
        """Why the next iteration of the run may not begin; None when it may."""
        if run.iterations and self._seconds_left(for_arbiter=False) <= 0:
            return "deadline"
        needed = run.consortium.instance_count + 1
        for scope, budget in self._budgets().items():
            if budget.max_calls is not None and run.iterations:
                calls, _, _ = self.store.load_spending(scope)
                if calls + needed > budget.max_calls:
                    return "budget"
        return self.stopped

    async def _make(self, spec: CallSpec, call: _Call) -> None:
        try:
            call.result = await self._with_backups(spec)
        finally:
            if call.result is None:
                call.result = CallResult(error_kind="cancelled", error="The call was cancelled.")
            call.done.set()

    async def _with_backups(self, spec: CallSpec) -> CallResult:
        """The first usable result of the model and its backups; else the last one's failure."""
        entries = self.models[spec.model]
        for place, entry in enumerate(entries):
            is_last = place == len(entries) - 1
            result = await self._with_retries(entry, spec, is_backup=place > 0, is_last=is_last)
            if result.ok or self.stopped or is_last:
                break
        if not result.ok:  # a usable one was written with its attempt
            await self.write(self.store.finish_call, self.run.run_id, spec, result, self.stopped is None)
        return result

    async def _with_retries(self, entry: ModelEntry, spec: CallSpec, *, is_backup: bool, is_last: bool) -> CallResult:
        left = min(self.settings.call_timeout_seconds, self._seconds_left(for_arbiter=not spec.asks_member))
        ends = time.monotonic() + left
        if left <= 0:
            self.stopped = self.stopped or "deadline"
            return CallResult(error_kind="timeout", error="Not asked: the run's time is up.")

        def pause(error: Exception) -> bool | float:
            """Whether to try again: after what the provider says, else after a while that grows and varies."""
            if not isinstance(error, _Again):
                return False
            wait = error.result.retry_after_seconds
            if wait is None:
                return True
            return wait if wait <= min(MAX_RETRY_AFTER_SECONDS, ends - time.monotonic()) else False

        retries = stamina.retry_context(
            on=pause, attempts=ATTEMPTS, timeout=left, wait_initial=0.5, wait_max=10.0, wait_jitter=0.5
        )
        try:
            async for attempt in retries:
                with attempt:
                    result = await self._attempt(entry, spec, max(0.001, ends - time.monotonic()), is_backup=is_backup)
                    if result.error_kind in RETRIED:
                        raise _Again(result)
        except _Again as again:
            return again.result
        return result

    async def _attempt(
        self, entry: ModelEntry, spec: CallSpec, timeout_seconds: float, *, is_backup: bool
    ) -> CallResult:
        """One try: reserved in the journal before it, settled after it."""
        reservation = _reservation(entry, spec)
        budgets = self._budgets()
        begun = await self.write(self.store.begin_attempt, self.run.run_id, spec, reservation, budgets)
        if begun is None:  # it could not be noted
            if any(budget != Budget() for budget in budgets.values()):
                return CallResult(error_kind="cancelled", error=f"Not asked: a budget cannot be held. {self.unsaved}")
            begun = Begun(0)
        self.on_change()
        if isinstance(begun, Paid):
            return begun.result
        if isinstance(begun, Refused):
            self.stopped = "budget"
            return CallResult(error_kind="cancelled", error=begun.why)
        try:
            result = await make_call(entry, spec, self.limits, timeout_seconds, self.log)
        except anyio.get_cancelled_exc_class():
            cancelled = CallResult(error_kind="cancelled", error="The call was cancelled.")
            await self.write(self.store.settle_attempt, self.run.run_id, spec.call_id, begun.attempt, cancelled, None)
            raise
        if is_backup:
            result = result.model_copy(update={"answered_by": entry.model_id})
        final = result.ok
        cost = _cost(entry, result)
        await self.write(self.store.settle_attempt, self.run.run_id, spec.call_id, begun.attempt, result, cost, final)
        self.on_change()
        return result

    async def write(self, write: Callable[..., T], *arguments: Any) -> T | None:
        """Write to the store; in the middle of a run an answer that is not saved is better than none."""
        try:
            return await saved(write, *arguments)
        except StoreUnusable as error:
            if self.unsaved is None:
                logger.error("The run %s goes on without being saved: %s", self.run.run_id, error)
            self.unsaved = str(error)
            return None

    def _budgets(self) -> dict[str, Budget]:
        settings = self.settings
        day = Budget(max_calls=settings.max_calls, max_tokens=settings.max_tokens, max_cost_usd=settings.max_cost_usd)
        return {run_scope(self.run.run_id): self.run.budget, day_scope(): day}

    def _seconds_left(self, *, for_arbiter: bool) -> float:
        """How long a call may still take: members leave the arbiter its share."""
        deadline = datetime.fromisoformat(self.run.deadline_utc).timestamp()
        whole = deadline - datetime.fromisoformat(self.run.created_utc).timestamp()
        kept = 0.0 if for_arbiter else min(whole * ARBITER_SHARE, MAX_ARBITER_SECONDS)
        return deadline - kept - time.time()


def _reservation(entry: ModelEntry, spec: CallSpec) -> Reservation:
    """What a call may use at the most: a token is at least two characters of its question, on the cautious side."""
    asked = len(spec.prompt) + len(spec.system or "") + sum(len(turn.text) for turn in spec.history)
    limit = spec.options.get("max_tokens")
    output_tokens = limit if isinstance(limit, int) else ASSUMED_OUTPUT_TOKENS
    input_tokens = asked // 2 + 50
    return Reservation(input_tokens + output_tokens, price_usd(entry, input_tokens, output_tokens))


def _cost(entry: ModelEntry, result: CallResult) -> float | None:
    if result.input_tokens is None and result.output_tokens is None:
        return None
    return price_usd(entry, result.input_tokens or 0, result.output_tokens or 0)
