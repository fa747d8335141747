"""The use-case: resolve, open the run, save everything as it lands, close the run; resume what was interrupted."""

import hashlib
import json
import logging
import os
import secrets
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import anyio
import anyio.abc
import anyio.to_thread
from ulid import ULID

from consortium_mcp.answer_stream import AnswerStream
from consortium_mcp.callers import calling, current_caller
from consortium_mcp.calls import RunCalls, day_budget, saved, seconds_until
from consortium_mcp.catalogue import Catalogue, ModelEntry, load_catalogue
from consortium_mcp.client_calls import ClientCalls
from consortium_mcp.clients import KeptClients
from consortium_mcp.consortium import Consortium, with_own_answer, without_own_answer
from consortium_mcp.definitions import Definitions, check_schema_use, client_problems, with_arbiter
from consortium_mcp.ending import closed, ended
from consortium_mcp.errors import Busy, InvalidConsortium, RunFailed, StoreUnusable
from consortium_mcp.llm_log import LlmLog
from consortium_mcp.masking import masked
from consortium_mcp.model_call import CallLimits, ChunkSink, ignore
from consortium_mcp.orchestrator import iterations
from consortium_mcp.plan import Plan, budget_problems, make_plan
from consortium_mcp.run import Budget, CallSpec, Iteration, Run, Turn, now_utc
from consortium_mcp.settings import Settings, llm_user_path, load_settings
from consortium_mcp.stats import Stats, make_stats
from consortium_mcp.store import LEASE_SECONDS, Room, Store, caller_scope, day_scope
from consortium_mcp.takeover import take_over
from consortium_mcp.texts import storable
from consortium_mcp.tracing import describe_run, run_span

logger = logging.getLogger(__name__)

_is_within_run: ContextVar[bool] = ContextVar("is_within_run", default=False)

JOIN_MINUTES = 60
"""How long after its opening a run can be joined by the same call."""


class Consultancy:
    """Everything that consults need in this process: settings, store, limits, llm's log."""

    def __init__(self, settings: Settings | None = None) -> None:
        """Open the store; a new one takes over what llm-consortium saved. Raises StoreUnusable."""
        self.settings = settings or load_settings()
        self.store = Store(self.settings.database_path, self.settings.shared)
        self.definitions = Definitions(self.store, self.settings)
        self.limits = CallLimits(self.settings.max_concurrent_calls)
        self.clients = KeptClients()
        self.client_calls = ClientCalls()
        self.llm_log = LlmLog()
        self.owner = f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}"
        self.leaving = False
        self._runs: anyio.CapacityLimiter | None = None
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

    def plan(
        self,
        prompt: str,
        *,
        budget: Budget | None = None,
        follow_up_to: str | None = None,
        own_answer: str | None = None,
        has_client: bool = False,
        **definition: Any,
    ) -> Plan:
        """What a consult would do and cost, and what would stop it; nothing is asked, nothing is written."""
        catalogue = load_catalogue()
        earlier = self._earlier(follow_up_to)
        name, consortium = self._consortium(catalogue, earlier, own_answer, **definition)
        problems = self.definitions.problems(name, consortium, catalogue)
        models = {} if problems else self.definitions.check(name, consortium, catalogue)
        problems += client_problems(consortium, has_client)
        if not prompt.strip():
            problems.append("The prompt is empty.")
        problems += self._long_texts(prompt, own_answer, definition.get("system_prompt"))
        problems += budget_problems(consortium, budget or Budget(), models) + self._problems_today(consortium, models)
        said = [turn.text for turn in _conversation(earlier)]
        return make_plan("".join([*said, prompt]), consortium, models, problems)

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
            raise Busy("This server is about to end and takes no new runs; ask again in a minute.")
        if not prompt.strip():
            raise InvalidConsortium("The prompt is empty; say what the consortium is to answer.")
        budget = budget or Budget()
        if problems := self._long_texts(prompt, own_answer, definition.get("system_prompt")):
            raise InvalidConsortium(" ".join(problems))
        catalogue = load_catalogue()
        earlier = self._earlier(follow_up_to)
        history = (*history, *_conversation(earlier))
        name, consortium = self._consortium(catalogue, earlier, own_answer, **definition)
        models = self.definitions.check(name, consortium, catalogue)
        if problems := client_problems(consortium, has_client) + budget_problems(consortium, budget, models):
            raise InvalidConsortium(" ".join(problems))
        if output_schema:
            check_schema_use(consortium, models)
        fingerprint = _fingerprint(prompt, history, consortium, budget, output_schema)
        since = datetime.now(UTC) - timedelta(minutes=JOIN_MINUTES)
        run = Run(
            run_id=str(ULID()).lower(),
            status="running",
            prompt=storable(prompt),
            history=history,
            output_schema=output_schema,
            follow_up_to=earlier.run_id if earlier else None,
            consortium_name=name,
            consortium=consortium,
            shuffle_seed=secrets.randbits(48),
            fence_mark=secrets.token_hex(6),
            **self.deadline(deadline_seconds),
            budget=budget,
            caller=current_caller(),
            created_utc=now_utc(),
        )
        today = self._problems_today(consortium, models)
        refusal = InvalidConsortium(" ".join(today)) if today else None
        join_since = since.isoformat() if join else None
        same = self.store.open_run(run, self.owner, fingerprint, join_since, refusal, self._room)
        return self.store.load_run(same) if same else run

    def _long_texts(self, *texts: str | None) -> list[str]:
        """Which of the caller's texts are too long; empty when none is."""
        limit = self.settings.max_prompt_chars
        return [
            f"A text has {len(text)} characters; {limit} are allowed (CONSORTIUM_MAX_PROMPT_CHARS). Shorten it."
            for text in texts
            if text and len(text) > limit
        ]

    def _earlier(self, run_id: str | None) -> Run | None:
        """The run that is followed up; None when there is none. Raises NotFound, and where it has no answer."""
        if run_id is None:
            return None
        earlier = self.store.load_run(run_id)
        if earlier.answer is None:
            raise InvalidConsortium(f"The run {run_id} is {earlier.status} and has no answer to follow up.")
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
                raise InvalidConsortium("own_answer is empty; leave it out, or give the answer that is to be judged.")
            consortium = with_own_answer(consortium, storable(own_answer))
        return found or name, consortium

    def deadline(self, seconds: float | None = None) -> dict[str, Any]:
        """The fields that say when a run that is opened now must have ended; None means the setting."""
        seconds = seconds or self.settings.deadline_seconds
        return {"deadline_utc": _from_now(seconds), "deadline_seconds": seconds}

    def check(self, run: Run) -> None:
        """Raise where a run's models or rules do not do, for a caller that lends no model."""
        models = self.definitions.check(run.consortium_name, run.consortium, load_catalogue())
        if run.output_schema:
            check_schema_use(run.consortium, models)
        if problems := client_problems(run.consortium, has_client=False):
            raise InvalidConsortium(" ".join(problems))

    def _problems_today(self, consortium: Consortium, models: Mapping[str, Sequence[ModelEntry]]) -> list[str]:
        """Why what is left of the day's budget cannot pay for even one iteration; empty when it can."""
        budget, (used, _, _) = day_budget(self.settings), self.store.load_spending(day_scope())
        problems = budget_problems(consortium, budget, models, used, "this server's budget for the day")
        own, caller = Budget(max_cost_usd=self.settings.max_cost_usd_per_caller), current_caller()
        if own.max_cost_usd is None or caller is None:
            return problems
        if self.store.load_spending(caller_scope(caller))[2] >= own.max_cost_usd:
            problems.append(
                f"Your budget of ${own.max_cost_usd:.2f} for the day is used up; come back after 00:00 UTC."
            )
        return problems + budget_problems(consortium, own, models, whose="your budget for the day")

    @property
    def _room(self) -> Room | None:
        """How many runs may be under way here, working or waiting for their turn; None for one inside another."""
        if _is_within_run.get():
            return None
        limits = self.settings
        return Room(limits.max_concurrent_runs + limits.max_waiting_runs, limits.max_runs_per_caller)

    async def perform(
        self,
        run_id: str,
        on_change: Callable[[], None] = lambda: None,
        on_text: Callable[[str], None] | None = None,
    ) -> Run:
        """Work on a run until it has ended, and return it; calls whose results are stored are not made again.

        A run that another process holds is returned as it stands.

        Args:
            on_change: told after each thing that was written.
            on_text: told the answer piece by piece while its arbiter writes it; None when nobody reads along.
        """
        run = await saved(self.store.load_run, run_id)  # from here on a cancelled run is closed as such
        with calling(run.caller), _within_run():
            return await self._perform(run, on_change, on_text)

    async def _perform(self, run: Run, on_change: Callable[[], None], on_text: Callable[[str], None] | None) -> Run:
        run_id = run.run_id
        deadline = _from_now(run.deadline_seconds) if run.status == "interrupted" else run.deadline_utc
        run = run.model_copy(update={"deadline_utc": deadline})
        if not await saved(self.store.claim_run, run_id, self.owner, deadline):
            return run
        failure: Exception | None = None
        self._runs = self._runs or anyio.CapacityLimiter(self.settings.max_concurrent_runs)
        async with anyio.create_task_group() as group:
            group.start_soon(self._hold, run_id, group.cancel_scope)
            try:
                async with AsyncExitStack() as turn:
                    with anyio.move_on_after(seconds_until(deadline)) as waiting:
                        await turn.enter_async_context(self._runs)
                    if waiting.cancelled_caught:
                        run = await self._close(closed(run.model_copy(update={"status": "deadline"})))
                    else:
                        with run_span(run) as span:
                            run = await self._work_on(run, on_change, on_text, group)
                            describe_run(span, run)
            except anyio.get_cancelled_exc_class():
                await self._let_go(run)
                raise
            except Exception as error:  # nothing foreseen: the run says so, and the error goes on its way below
                run = await self._close(ended(run, "failed", masked(f"{type(error).__name__}: {error}")))
                failure = error
            finally:
                group.cancel_scope.cancel()
                on_change()
        if failure is not None:
            raise failure  # outside of the group, which would wrap it
        return run if run.ended_utc else await anyio.to_thread.run_sync(self.store.load_run, run_id)

    async def _work_on(
        self,
        run: Run,
        on_change: Callable[[], None],
        on_text: Callable[[str], None] | None,
        group: anyio.abc.TaskGroup,
    ) -> Run:
        catalogue = await anyio.to_thread.run_sync(load_catalogue)
        models = self.definitions.check(run.consortium_name, run.consortium, catalogue)
        for entry in (entry for entries in models.values() for entry in entries):
            self.clients.use_in(entry)
        telling = AnswerStream(run.consortium, on_text) if on_text else None
        last = run

        def listen(spec: CallSpec) -> ChunkSink:
            return telling.listen(last, spec) if telling else ignore

        calls = RunCalls(
            run,
            self.store,
            self.owner,
            models,
            self.limits,
            self.client_calls,
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
            if last.iterations:
                await save(last.iterations[-1])
        if run.replay_of:
            await calls.write(self.store.forget_iterations, run.run_id, len(last.iterations))
        if calls.stopped and last.status != "converged":
            last = last.model_copy(update={"status": calls.stopped})
        return await self._close(closed(last), calls.unsaved)

    async def _close(self, run: Run, unsaved: str | None = None) -> Run:
        """Write how the run ended; where this or something before could not be written, the answer says so."""
        if unsaved is not None:
            run = _not_saved(run, unsaved)
        try:
            await saved(self.store.close_run, run, self.owner)
            return run if unsaved else await anyio.to_thread.run_sync(self.store.load_run, run.run_id)
        except StoreUnusable as error:
            return run if unsaved else _not_saved(run, str(error))

    async def _let_go(self, run: Run) -> None:
        """Close a run that was cut off as cancelled; one that was because we leave can be resumed."""
        if self.leaving:
            with suppress(StoreUnusable):  # then its lease ends by itself
                if await saved(self.store.release_run, run.run_id, self.owner):
                    return
        await self._close(ended(run, "cancelled", "The run was cancelled."))

    async def mark_received(self, run_id: str) -> None:
        """Note that a caller has the run's answer; a caller whom we cannot note has it all the same."""
        try:
            await saved(self.store.mark_received, run_id)
        except StoreUnusable as error:
            logger.warning("That the answer of %s was received is not saved: %s", run_id, error)

    async def _hold(self, run_id: str, scope: anyio.CancelScope) -> None:
        """Renew the run's lease as long as we work on it; without it, somebody else does, or wants it cancelled."""
        while True:
            await anyio.sleep(LEASE_SECONDS / 4)
            try:
                if not await saved(self.store.renew_lease, run_id, self.owner):
                    scope.cancel()
            except StoreUnusable:
                continue  # the calls say that nothing can be saved; whether the lease is lost nobody can tell


def load_stats(consultancy: Consultancy, limit: int = 1000) -> Stats:
    """The statistics of the newest runs and all ratings."""
    ratings = consultancy.store.list_ratings()
    run_ids = dict.fromkeys([rating.run_id for rating in ratings])
    run_ids |= dict.fromkeys(run.run_id for run in consultancy.store.list_outlines(limit=limit))
    return make_stats((consultancy.store.load_run(run_id) for run_id in run_ids), ratings)


def answered(run: Run) -> Run:
    """The run, when it has an answer; raises RunFailed when it ended without one."""
    if run.answer is None and run.status != "running":
        raise RunFailed(f"{run.error or 'The run ended without an answer.'} The run is kept as {run.uri}.", run.run_id)
    return run


@contextmanager
def _within_run() -> Iterator[None]:
    """What is inside is done for a run, the consult of a member included that is itself a consortium."""
    token = _is_within_run.set(True)
    try:
        yield
    finally:
        _is_within_run.reset(token)


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


def _from_now(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")


def _not_saved(run: Run, why: str) -> Run:
    return run.model_copy(update={"degraded": (*run.degraded, f"The run could not be saved in full: {why}")})
