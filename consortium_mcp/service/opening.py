"""Opens runs: everything that can be checked is, and the run is written, before anything is paid for."""

import hashlib
import json
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
from ulid import ULID

from consortium_mcp._util.caller import current_caller
from consortium_mcp.errors import BusyError, InvalidConsortiumError
from consortium_mcp.models.catalogue import Catalogue, Models, RecentCatalogue, load_catalogue
from consortium_mcp.models.openai_clients import KeptClients
from consortium_mcp.models.prices import price_usd
from consortium_mcp.records import Budget, Run, Turn, now_utc
from consortium_mcp.records.consortium import Consortium, with_own_answer, without_own_answer
from consortium_mcp.records.outer_call import outer_call
from consortium_mcp.service.definitions import Definitions, check_schema_use, client_problems, with_arbiter
from consortium_mcp.service.estimate import Estimate, budget_problems, make_estimate, nested_problems
from consortium_mcp.service.spending import day_budget
from consortium_mcp.settings import Settings
from consortium_mcp.store import RunCapacity, Store, caller_scope, day_scope
from consortium_mcp.text.templates import storable

JOIN_MINUTES = 60
"""How long after its opening a run can be joined by the same call."""


OPENED_AT_ONCE = 4
"""How many runs are opened in the same instant, each in a thread; the next ones wait for some milliseconds."""


class RunOpener:
    """Plans consults and opens their runs."""

    def __init__(self, settings: Settings, store: Store, owner: str) -> None:
        """Take over the store of this process.

        Args:
            owner: what this process is called in the runs that it holds.
        """
        self.settings = settings
        self.store = store
        self.owner = owner
        self.leaving = False
        """Whether this process takes no new runs any more."""
        self.definitions = Definitions(store, settings)
        self.catalogue = RecentCatalogue()
        self.clients = KeptClients(settings.direct_streaming)
        self.ready: dict[str, Models] = {}
        """The models of runs that were opened here and not begun yet, ready to be called."""
        self._opening = anyio.CapacityLimiter(OPENED_AT_ONCE)

    def plan(
        self,
        prompt: str,
        *,
        budget: Budget | None = None,
        follow_up_to: str | None = None,
        own_answer: str | None = None,
        has_client: bool = False,
        **definition: Any,
    ) -> Estimate:
        """What a consult would do and cost, and what would stop it; nothing is asked, nothing is written."""
        catalogue = load_catalogue()
        earlier = self._earlier(follow_up_to)
        name, consortium = self._consortium(catalogue, earlier, own_answer, **definition)
        problems = self.definitions.problems(name, consortium, catalogue)
        models = {} if problems else self.definitions.check(name, consortium, catalogue)
        problems += client_problems(consortium, has_client)
        if not prompt.strip():
            problems.append("The prompt is empty.")
        problems += self.definitions.long_texts({"prompt": prompt, "own answer": own_answer})
        budget = budget or Budget()
        problems += nested_problems(budget, models) + budget_problems(consortium, budget, models)
        problems += self._problems_today(consortium, models)
        said = [turn.text for turn in _conversation(earlier)]
        return make_estimate("".join([*said, prompt]), consortium, models, problems)

    def open_run(
        self,
        prompt: str,
        history: Sequence[Turn] = (),
        *,
        budget: Budget | None = None,
        deadline_seconds: float | None = None,
        join: bool = False,
        follow_up_to: str | None = None,
        own_answer: str | None = None,
        has_client: bool = False,
        output_schema: dict[str, Any] | None = None,
        **definition: Any,
    ) -> Run:
        """Resolve and check everything, and write the run, before anything is paid for.

        In a call of another run it belongs to that call, and the same call made again gets the same run.

        Args:
            budget: what the run may spend; None means no limit of its own.
            deadline_seconds: how long it may take; None means the setting.
            join: return the run of the same call where one is under way, or ended without anyone having received it.
            follow_up_to: the run whose conversation goes on; its consortium is asked where none is named.
            own_answer: the caller's, judged as one more anonymous response; None means there is none.
            has_client: whether the caller is a client that lends its own model where `client` is asked.
            output_schema: the JSON schema that the answer must follow; None means free text.
            definition: what `Definitions.resolve` takes.

        Raises:
            ConsortiumError: whatever would keep the run from working, with what to do.
        """
        if self.leaving:
            raise BusyError("This server is about to end and takes no new runs; ask again in a minute.")
        if not prompt.strip():
            raise InvalidConsortiumError("The prompt is empty; say what the consortium is to answer.")
        budget = budget or Budget()
        if problems := self.definitions.long_texts({"prompt": prompt, "own answer": own_answer}):
            raise InvalidConsortiumError(" ".join(problems))
        earlier = self._earlier(follow_up_to)
        history = (*history, *_conversation(earlier))

        def resolve(catalogue: Catalogue) -> tuple[str | None, Consortium, Models]:
            name, consortium = self._consortium(catalogue, earlier, own_answer, **definition)
            return name, consortium, self.definitions.check(name, consortium, catalogue)

        name, consortium, models = self.catalogue.use(resolve)
        problems = client_problems(consortium, has_client) + nested_problems(budget, models)
        if problems := problems + budget_problems(consortium, budget, models):
            raise InvalidConsortiumError(" ".join(problems))
        if output_schema:
            check_schema_use(consortium, models)
        fingerprint = _fingerprint(prompt, history, consortium, budget, output_schema)
        since = datetime.now(UTC) - timedelta(minutes=JOIN_MINUTES)
        outer = outer_call()
        run = Run(
            run_id=str(ULID()).lower(),
            status="running",
            prompt=storable(prompt),
            history=history,
            output_schema=output_schema,
            follow_up_to=earlier.run_id if earlier else None,
            parent=outer.parent if outer else None,
            consortium_name=name,
            consortium=consortium,
            shuffle_seed=secrets.randbits(48),
            fence_token=secrets.token_hex(6),
            **self.deadline(deadline_seconds),
            budget=budget,
            caller=current_caller(),
            created_utc=now_utc(),
        )
        today = self._problems_today(consortium, models)
        refusal = InvalidConsortiumError(" ".join(today)) if today else None
        join_since = since.isoformat() if join else None
        outer_owner = outer.owner if outer else None
        self.make_ready(models)
        if same := self.store.open_run(run, self.owner, fingerprint, join_since, refusal, self._room, outer_owner):
            return self.store.load_run(same)
        self.ready[run.run_id] = models
        return run

    async def opened(self, prompt: str, **asked: Any) -> Run:
        """The same for callers in an event loop; more than a few at once would only wait for each other."""
        return await anyio.to_thread.run_sync(partial(self.open_run, prompt, **asked), limiter=self._opening)

    def make_ready(self, models: Models) -> None:
        """Do what is slow the first time that a model is called, so that no event loop waits for it."""
        for entry in (entry for entries in models.values() for entry in entries):
            self.clients.use_in(entry)
            price_usd(entry, 1, 1)

    def _earlier(self, run_id: str | None) -> Run | None:
        """The run that is followed up; None when there is none. Raises NotFoundError, and where it has no answer."""
        if run_id is None:
            return None
        earlier = self.store.load_run(run_id)
        if earlier.answer is None:
            raise InvalidConsortiumError(f"The run {run_id} is {earlier.status} and has no answer to follow up.")
        return earlier

    def _consortium(
        self, catalogue: Catalogue, earlier: Run | None, own_answer: str | None, **definition: Any
    ) -> tuple[str | None, Consortium]:
        """Who is asked: those named, else those of the earlier run, else the default; and its name when it is saved."""
        name = None
        if earlier is not None and not (definition.get("consortium") or definition.get("models")):
            name = earlier.consortium_name
            definition["consortium"] = without_own_answer(earlier.consortium)
        found, consortium = self.definitions.resolve(catalogue, **definition)
        consortium = with_arbiter(consortium)
        if own_answer is not None:
            if not own_answer.strip():
                raise InvalidConsortiumError(
                    "own_answer is empty; leave it out, or give the answer that is to be judged."
                )
            consortium = with_own_answer(consortium, storable(own_answer))
        return found or name, consortium

    def deadline(self, seconds: float | None = None) -> dict[str, Any]:
        """The fields that say when a run that is opened now must have ended; None means the setting."""
        seconds = seconds or self.settings.deadline_seconds
        return {"deadline_utc": from_now(seconds), "deadline_seconds": seconds}

    def check(self, run: Run) -> None:
        """Raise where a run's models or rules do not do, for a caller that lends no model."""
        models = self.definitions.check(run.consortium_name, run.consortium, load_catalogue())
        if run.output_schema:
            check_schema_use(run.consortium, models)
        if problems := client_problems(run.consortium, has_client=False):
            raise InvalidConsortiumError(" ".join(problems))

    def _problems_today(self, consortium: Consortium, models: Models) -> list[str]:
        """Why what is left of the day's budget cannot pay for even one iteration; empty when it can."""
        budget, used = day_budget(self.settings), self.store.load_spending(day_scope())
        problems = budget_problems(consortium, budget, models, used, "this server's budget for the day")
        own, caller = Budget(max_cost_usd=self.settings.max_cost_usd_per_caller), current_caller()
        if own.max_cost_usd is None or caller is None:
            return problems
        used = self.store.load_spending(caller_scope(caller))
        return problems + budget_problems(consortium, own, models, used, "your budget for the day")

    @property
    def _room(self) -> RunCapacity | None:
        """How many runs may be under way here, working or waiting for their turn; None for one inside another."""
        if outer_call():
            return None
        limits = self.settings
        return RunCapacity(limits.max_concurrent_runs + limits.max_waiting_runs, limits.max_runs_per_caller)


def from_now(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")


def _conversation(earlier: Run | None) -> list[Turn]:
    """What was said up to the end of a run; nothing where there is none."""
    if earlier is None:
        return []
    said = [Turn(role="user", text=earlier.prompt), Turn(role="assistant", text=earlier.answer or "")]
    return [*earlier.history, *said]


def _fingerprint(
    prompt: str, history: Sequence[Turn], consortium: Consortium, budget: Budget, schema: dict[str, Any] | None
) -> str:
    """What makes two calls the same: what is asked of whom, by whom, under which rules."""
    turns = [turn.model_dump() for turn in history]
    asked = [current_caller(), prompt, turns, consortium.model_dump(mode="json"), budget.model_dump(), schema]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()
