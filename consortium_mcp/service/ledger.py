"""The ledger of a run: reserves each attempt before it is made, and settles or withdraws it afterwards."""

from dataclasses import dataclass

from consortium_mcp.models.catalogue import ModelEntry
from consortium_mcp.records import Budget, CallResult, CallSpec, now_utc
from consortium_mcp.service.live_run import LiveRun
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


@dataclass(frozen=True)
class BudgetUnheld:
    """A budget cannot be enforced, because the database cannot be written."""

    why: str
    """The reason, in one sentence."""


@dataclass(frozen=True)
class Ledger:
    """Records a run's spending in the journal; a run without a budget continues if the journal cannot be written."""

    live: LiveRun
    store: Store
    settings: Settings
    owner: str
    """The process that holds the run's lease; it makes no further call without the lease."""

    async def begin(
        self, entry: ModelEntry, spec: CallSpec
    ) -> AttemptStarted | AlreadyPaid | OverBudget | LeaseLost | BudgetUnheld:
        """Reserve what an attempt may use, unless its call is already paid for or the attempt is not allowed."""
        budgets = self._budgets()
        begun = await self._reserve(entry, spec, budgets)
        if begun is not None:
            return begun
        if any(budget != Budget() for budget in budgets.values()):
            return BudgetUnheld(f"Not asked: the budget cannot be checked. {self.live.unsaved}")
        return AttemptStarted(0)

    async def settle(self, entry: ModelEntry, spec: CallSpec, attempt: int, result: CallResult) -> CallResult:
        """Record the result and the usage of an attempt; returns the result of the call that counts."""
        cost = cost_usd(entry, result)
        self.live.usage = self.live.usage.with_call(result.input_tokens, result.output_tokens, cost)
        if not attempt:  # a failed write may succeed now
            noted = await self._reserve(entry, spec, self._budgets())
            attempt = noted.attempt if isinstance(noted, AttemptStarted) else attempt
        place = (self.live.run_id, spec.call_id, attempt)
        settled = self.store.journal.settle_attempt(*place, result, cost, final=result.ok)
        return await self.live.write(settled) or result

    async def cancel(self, spec: CallSpec, attempt: int) -> None:
        """Record that an attempt was cancelled; its reservation counts as spent."""
        cancelled = CallResult(error_kind="cancelled", error="The call was cancelled.")
        place = (self.live.run_id, spec.call_id, attempt)
        await self.live.write(self.store.journal.settle_attempt(*place, cancelled, None))

    async def withdraw(self, spec: CallSpec, attempt: int) -> None:
        """Remove an attempt that waited for its turn and was never made."""
        await self.live.write(self.store.journal.withdraw_attempt(self.live.run_id, spec.call_id, attempt))

    async def finish(self, spec: CallSpec, result: CallResult, was_asked: bool = True) -> None:
        """Record the result of a call when its last attempt was recorded as one that may be followed by another."""
        finished = self.store.journal.finish_call(self.live.run_id, spec, result, was_asked, self.owner)
        await self.live.write(finished)

    async def allows(self, calls: int) -> bool:
        """Whether this number of further calls fits into every calls budget. Raises StoreUnusableError."""
        for scope, budget in self._budgets().items():
            if budget.max_calls is not None:
                made, _, _ = await self.store.journal.load_spending(scope)
                if made + calls > budget.max_calls:
                    return False
        return True

    async def _reserve(
        self, entry: ModelEntry, spec: CallSpec, budgets: dict[str, Budget]
    ) -> AttemptStarted | AlreadyPaid | OverBudget | LeaseLost | None:
        """The result of the reservation; None if the database cannot be written."""
        reservation = reservation_of(entry, spec)
        begun = self.store.journal.begin_attempt(self.live.run_id, spec, reservation, budgets, self.owner)
        return await self.live.write(begun)

    def _budgets(self) -> dict[str, Budget]:
        """The budget of each scope in which the run's attempts count."""
        run, day = self.live.run, now_utc()[:10]
        budgets = {run_scope(run.run_id): run.budget, day_scope(day): day_budget(self.settings)}
        if run.caller:
            budgets[caller_scope(run.caller, day)] = Budget(max_cost_usd=self.settings.max_cost_usd_per_caller)
        return budgets
