"""Opens runs: checks everything that can be checked and stores the run, before any paid call."""

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
from consortium_mcp.records import AttachmentFile, Budget, Run, Turn, now_utc
from consortium_mcp.records.consortium import Consortium, with_own_answer, without_own_answer
from consortium_mcp.records.outer_call import outer_call
from consortium_mcp.records.request import ConsultRequest
from consortium_mcp.service.answers import require_answer
from consortium_mcp.service.attachments.checking import attachment_problems, not_counted, unseen_by_whom
from consortium_mcp.service.definitions import Definitions, check_schema_use, client_problems, with_arbiter
from consortium_mcp.service.estimate import Estimate, budget_problems, make_estimate, nested_problems
from consortium_mcp.service.live_run import LiveRun, LiveRuns
from consortium_mcp.service.run_ids import find_run_id
from consortium_mcp.service.spending import day_budget, first_call_problems
from consortium_mcp.store import RunCapacity, Store, caller_scope, day_scope
from consortium_mcp.text.templates import storable

JOIN_MINUTES = 60
"""The minutes after its opening in which the same request can join a run."""


USAGE_RUNS = 20
"""The number of earlier runs from which the likely usage is estimated."""

OPENED_AT_ONCE = 4
"""The number of runs that are opened at the same time, each in a thread; others wait for some milliseconds."""


class RunOpener:
    """Estimates consults and opens their runs."""

    def __init__(
        self,
        store: Store,
        owner: str,
        definitions: Definitions,
        catalogue: RecentCatalogue,
        clients: KeptClients,
        live_runs: LiveRuns,
    ) -> None:
        """Use these parts to open runs.

        Args:
            owner: the name of this process in the leases of its runs.
            live_runs: gets each run that is opened.
        """
        self.settings = definitions.settings
        self.store = store
        self.owner = owner
        self.definitions = definitions
        self.catalogue = catalogue
        self.clients = clients
        self.live_runs = live_runs
        self._opening = anyio.CapacityLimiter(OPENED_AT_ONCE)

    def plan(self, request: ConsultRequest, *, has_client: bool = False) -> Estimate:
        """The estimate of a consult, with the problems that would stop it; no model is asked, nothing is written."""
        catalogue = load_catalogue(self.settings)
        earlier = self._earlier(request)
        name, consortium = self._consortium(catalogue, earlier, request)
        problems = self.definitions.problems(name, consortium, catalogue)
        models = {} if problems else self.definitions.check(name, consortium, catalogue)
        problems += client_problems(consortium, has_client)
        if not request.prompt.strip():
            problems.append("The prompt is empty.")
        problems += self._long_texts(request)
        problems += nested_problems(request.budget, models) + budget_problems(consortium, request.budget, models)
        problems += first_call_problems(request.prompt, consortium, request.budget, models)
        problems += self._problems_today(consortium, models)
        files = _files(request)
        problems += attachment_problems(files, consortium, models, catalogue)
        notes = [*unseen_by_whom(files, consortium, models), *filter(None, [not_counted(files)])]
        said = [turn.text for turn in _conversation(request, earlier)]
        usage = self.store.outlines.list_usage.sync(consortium, USAGE_RUNS)
        return make_estimate("".join([*said, request.prompt]), consortium, models, problems, notes, usage)

    def open_run(self, request: ConsultRequest, *, join: bool = False, has_client: bool = False) -> Run:
        """The run of a request, checked and stored before any paid call.

        Inside a call of another run, the new run belongs to that call; repeating that call returns the same run.

        Args:
            join: return the run of an equal request if it is under way, or if it ended and no caller received its
                answer.
            has_client: whether the caller is a client that offers its own model as `client`.

        Raises:
            ConsortiumError: the problem that would stop the run, with what to do.
        """
        if self.live_runs.leaving:
            raise BusyError("This server is shutting down and takes no new runs; try again in a minute.")
        if not request.prompt.strip():
            raise InvalidConsortiumError("The prompt is empty; write the question for the consortium.")
        if problems := self._long_texts(request):
            raise InvalidConsortiumError(" ".join(problems))
        earlier = self._earlier(request)
        history = _conversation(request, earlier)

        files = _files(request)

        def resolve(catalogue: Catalogue) -> tuple[str | None, Consortium, Models]:
            name, consortium = self._consortium(catalogue, earlier, request)
            models = self.definitions.check(name, consortium, catalogue)
            if problems := attachment_problems(files, consortium, models, catalogue):
                raise InvalidConsortiumError(" ".join(problems))
            return name, consortium, models

        name, consortium, models = self.catalogue.use(resolve)
        problems = client_problems(consortium, has_client) + nested_problems(request.budget, models)
        problems += budget_problems(consortium, request.budget, models)
        if problems := problems or first_call_problems(request.prompt, consortium, request.budget, models):
            raise InvalidConsortiumError(" ".join(problems))
        if request.output_schema:
            check_schema_use(consortium, models)
        fingerprint = _fingerprint(request, history, consortium)
        since = datetime.now(UTC) - timedelta(minutes=JOIN_MINUTES)
        outer = outer_call()
        run = Run(
            run_id=str(ULID()).lower(),
            status="running",
            prompt=storable(request.prompt),
            history=history,
            attachments=files,
            output_schema=request.output_schema,
            follow_up_to=earlier.run_id if earlier else None,
            parent=outer.parent if outer else None,
            consortium_name=name,
            consortium=consortium,
            shuffle_seed=secrets.randbits(48),
            fence_token=secrets.token_hex(6),
            **self.deadline(request.deadline_seconds),
            budget=request.budget,
            caller=current_caller(),
            created_utc=now_utc(),
        )
        today = self._problems_today(consortium, models)
        refusal = InvalidConsortiumError(" ".join(today)) if today else None
        join_since = since.isoformat() if join else None
        outer_owner = outer.owner if outer else None
        self._make_ready(models)
        if same := self.store.runs.open.sync(
            run, self.owner, fingerprint, join_since, refusal, self._room, outer_owner
        ):
            return self.store.runs.load.sync(same)
        self.live_runs.add(LiveRun(run.run_id, run, models))
        return run

    async def opened(self, request: ConsultRequest, *, join: bool = False, has_client: bool = False) -> Run:
        """The same for callers in an event loop, with a limit on simultaneous openings."""
        open_run = partial(self.open_run, request, join=join, has_client=has_client)
        return await anyio.to_thread.run_sync(open_run, limiter=self._opening)

    async def find_models(self, run: Run) -> Models:
        """Every model that a run may call, ready to be called. Raises ConsortiumError."""

        def find() -> Models:
            models = self.catalogue.use(partial(self.definitions.check, run.consortium_name, run.consortium))
            self._make_ready(models)
            return models

        return await anyio.to_thread.run_sync(find, limiter=self._opening)

    def _make_ready(self, models: Models) -> None:
        """Do the slow work of the first call to a model here, so that it does not block the event loop."""
        for entry in (entry for entries in models.values() for entry in entries):
            self.clients.use_in(entry)
            price_usd(entry, 1, 1)

    def _long_texts(self, request: ConsultRequest) -> list[str]:
        """The names of the texts of a request that are too long; empty if none is."""
        return self.definitions.long_texts({"prompt": request.prompt, "own answer": request.own_answer})

    def _earlier(self, request: ConsultRequest) -> Run | None:
        """The run that the request follows up; None if there is none. Raises if it is not found or has no answer."""
        if request.follow_up_to is None:
            return None
        run_id = find_run_id(self.store, request.follow_up_to)
        earlier = self.store.runs.load.sync(run_id)
        require_answer(earlier, "to follow up")
        return earlier

    def _consortium(
        self, catalogue: Catalogue, earlier: Run | None, request: ConsultRequest
    ) -> tuple[str | None, Consortium]:
        """The saved name (or None) and the definition: the requested one, else the earlier run's, else the default."""
        name = None
        if earlier is not None and not (request.consortium or request.models):
            name = earlier.consortium_name
            request = request.model_copy(update={"consortium": without_own_answer(earlier.consortium)})
        found, consortium = self.definitions.resolve(catalogue, request)
        consortium = with_arbiter(consortium)
        if request.own_answer is not None:
            if not request.own_answer.strip():
                raise InvalidConsortiumError("own_answer is empty; leave it out, or give the answer to be judged.")
            consortium = with_own_answer(consortium, storable(request.own_answer))
        return found or name, consortium

    def deadline(self, seconds: float | None = None) -> dict[str, Any]:
        """The deadline fields of a run that is opened now; None means the setting."""
        seconds = seconds or self.settings.deadline_seconds
        return {"deadline_utc": from_now(seconds), "deadline_seconds": seconds}

    def check(self, run: Run) -> None:
        """Raise if a run's models or rules are not valid, for a caller that offers no model."""
        models = self.definitions.check(run.consortium_name, run.consortium, load_catalogue(self.settings))
        if run.output_schema:
            check_schema_use(run.consortium, models)
        if problems := client_problems(run.consortium, has_client=False):
            raise InvalidConsortiumError(" ".join(problems))

    def _problems_today(self, consortium: Consortium, models: Models) -> list[str]:
        """Why the remainder of the day's budget does not suffice for one iteration; empty if it does."""
        budget, used = day_budget(self.settings), self.store.journal.load_spending.sync(day_scope())
        problems = budget_problems(consortium, budget, models, used, "this server's budget for the day")
        own, caller = Budget(max_cost_usd=self.settings.max_cost_usd_per_caller), current_caller()
        if own.max_cost_usd is None or caller is None:
            return problems
        used = self.store.journal.load_spending.sync(caller_scope(caller))
        return problems + budget_problems(consortium, own, models, used, "your budget for the day")

    @property
    def _room(self) -> RunCapacity | None:
        """The run capacity of this process; None for a nested run."""
        if outer_call():
            return None
        limits = self.settings
        of_process = limits.max_concurrent_runs + limits.max_waiting_runs
        return RunCapacity(
            of_process,
            limits.max_runs_per_caller or max(1, of_process // 2),
            limits.max_saved_runs_per_caller,
        )


def from_now(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")


def _conversation(request: ConsultRequest, earlier: Run | None) -> tuple[Turn, ...]:
    """The conversation before the prompt, including the run that is followed up."""
    if earlier is None:
        return tuple(request.history)
    asked = Turn(role="user", text=earlier.prompt, attachments=earlier.attachments)
    said = [asked, Turn(role="assistant", text=earlier.answer or "")]
    return (*request.history, *earlier.history, *said)


def _files(request: ConsultRequest) -> tuple[AttachmentFile, ...]:
    """The files of a request, which its door has read within its access."""
    files = tuple(one for one in request.attachments if isinstance(one, AttachmentFile))
    if len(files) < len(request.attachments):
        raise InvalidConsortiumError("Attachments were not read. Give their contents.")
    return files


def _fingerprint(request: ConsultRequest, history: Sequence[Turn], consortium: Consortium) -> str:
    """The fingerprint of a request: equal requests have the same caller, prompt, members and rules."""
    turns = [turn.model_dump(exclude_defaults=True) for turn in history]
    rules = [consortium.model_dump(mode="json"), request.budget.model_dump(), request.output_schema]
    rules += [one.model_dump() for one in _files(request)]
    asked = [current_caller(), request.prompt, turns, *rules]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()
