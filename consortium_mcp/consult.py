"""The use-case: resolve, open the run, save everything as it lands, close the run."""

import os
import secrets
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import anyio
import anyio.to_thread
from ulid import ULID

from consortium_mcp.arbiter import JUDGING_METHODS
from consortium_mcp.catalogue import Catalogue, ModelEntry, load_catalogue
from consortium_mcp.consortium import Consortium, define, find_cycle, parse_members
from consortium_mcp.ending import closed, ended
from consortium_mcp.errors import ConsortiumError, InvalidConsortium, ModelUnavailable, NotFound, RunFailed
from consortium_mcp.journal import JournaledCalls, saved
from consortium_mcp.llm_log import LlmLog
from consortium_mcp.local_model import LOCAL_MODEL_ID
from consortium_mcp.model_call import CallLimits
from consortium_mcp.orchestrator import iterations
from consortium_mcp.run import Run, Turn, now_utc
from consortium_mcp.settings import Settings, llm_user_path, load_settings
from consortium_mcp.store import LEASE_SECONDS, Store
from consortium_mcp.strategies import STRATEGIES
from consortium_mcp.takeover import take_over

DEFAULT_INSTANCES = 3
"""How many instances answer when a consult names nobody."""

FOUR_WAYS = (
    "No model can be used. Four ways to one: save a consortium and name it in CONSORTIUM_DEFAULT; save one called "
    "'default' (`consortium-mcp save default -m MODEL`); give llm's default model its key (`llm keys set openai`, or "
    "choose another with `llm models default MODEL`); or fetch the embedded model "
    "(`consortium-mcp local-model fetch`)."
)


class Consultancy:
    """Everything that consults need in this process: settings, store, limits, llm's log."""

    def __init__(self, settings: Settings | None = None) -> None:
        """Open the store; a new one takes over what llm-consortium saved. Raises StoreUnusable."""
        self.settings = settings or load_settings()
        path = self.settings.database_path
        is_new = not path.exists()
        self.store = Store(path)
        self.limits = CallLimits(self.settings.max_concurrent_calls)
        self.llm_log = LlmLog()
        self.owner = f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}"
        self._runs: anyio.CapacityLimiter | None = None
        if is_new:
            take_over(self.store, llm_user_path())

    def close(self) -> None:
        """Finish what is being written and let go of the files."""
        self.llm_log.close()
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def define(
        self,
        catalogue: Catalogue,
        *,
        consortium: str | Consortium | None = None,
        models: Sequence[str] | None = None,
        count: int = 1,
        **rules: Any,
    ) -> tuple[str | None, Consortium]:
        """The definition that a caller means, and its name when it is a saved one.

        Args:
            consortium: a saved name, or a definition.
            models: `"model"` or `"model:count"` each, instead of a consortium.
            count: instances of a model that is named without a count.
            rules: fields of Consortium that win over the definition's own; None leaves them.

        Raises:
            NotFound, InvalidConsortium, ModelUnavailable: with what to do.
        """
        if consortium is not None and models:
            raise InvalidConsortium("Give either a consortium or models, not both.")
        name = consortium if isinstance(consortium, str) else None
        if isinstance(consortium, Consortium):
            base = consortium
        elif name is not None:
            base = self.store.load_consortium(name)
        elif models:
            saved_names = set(self.store.list_consortium_names())
            members = parse_members(models, lambda text: catalogue.knows(text) or text in saved_names, count)
            base = define(members=[member.model_dump() for member in members])
        else:
            name, base = self._default(catalogue)
        given = {field: value for field, value in rules.items() if value is not None}
        return name, define(**{**base.model_dump(), **given}) if given else base

    def check(self, name: str | None, consortium: Consortium, catalogue: Catalogue) -> dict[str, ModelEntry]:
        """Check all that can be checked before money is spent; returns every model to be called, by its name.

        Raises:
            InvalidConsortium: unknown strategy or judging method, or the consortium contains itself.
            ModelUnavailable: a model is unknown, not allowed, lacks its key, or does not take its options.
        """
        check_rules(consortium)
        others, _ = self.store.list_consortiums()
        refuse_cycle(name, consortium, others)
        names = [*(member.model for member in consortium.members), arbiter_of(consortium)]
        models = {model: catalogue.usable(model, self.settings.allowed_models) for model in names}
        for member in consortium.members:
            models[member.model].check_options(member.options)
        return models

    def problem(self, name: str, consortium: Consortium, catalogue: Catalogue) -> str | None:
        """Why a saved consortium cannot run now, and what to do; None when it can."""
        try:
            self.check(name, consortium, catalogue)
        except ConsortiumError as error:
            return str(error)
        return None

    def save_consortium(self, name: str, consortium: Consortium, *, overwrite: bool) -> None:
        """Save a definition for later consults; whether its models can be called is checked then, not now.

        Raises:
            InvalidConsortium: the name is taken and `overwrite` is false, or a rule is broken.
        """
        if not name.strip() or len(name) > 100 or not name.isprintable():
            raise InvalidConsortium(f"The name {name[:100]!r} does not do: use 1 to 100 printable characters.")
        check_rules(consortium)
        others, damaged = self.store.list_consortiums()
        if not overwrite and (name in others or name in damaged):
            raise InvalidConsortium(f"A consortium named {name!r} is saved already; overwrite=true replaces it.")
        refuse_cycle(name, consortium, others)
        self.store.save_consortium(name, consortium)

    def open_run(self, prompt: str, history: Sequence[Turn] = (), **definition: Any) -> Run:
        """Resolve and check everything, and write the run, before anything is paid for.

        Args:
            definition: what `define` takes.

        Raises:
            ConsortiumError: whatever would keep the run from working, with what to do.
        """
        if not prompt.strip():
            raise InvalidConsortium("The prompt is empty; say what the consortium is to answer.")
        catalogue = load_catalogue()
        name, consortium = self.define(catalogue, **definition)
        self.check(name, consortium, catalogue)
        run = Run(
            run_id=str(ULID()).lower(),
            status="running",
            prompt=prompt,
            history=tuple(history),
            consortium_name=name,
            consortium=consortium.model_copy(update={"arbiter": arbiter_of(consortium)}),
            shuffle_seed=secrets.randbits(48),
            fence_mark=secrets.token_hex(6),
            created_utc=now_utc(),
        )
        self.store.open_run(run, self.owner)
        return run

    async def perform(self, run_id: str, on_change: Callable[[], None] = lambda: None) -> Run:
        """Work on an opened run until it has ended, and return it; calls that it made before are not made again.

        Args:
            on_change: told after each thing that was written.
        """
        run = await anyio.to_thread.run_sync(self.store.load_run, run_id)
        failure: Exception | None = None
        self._runs = self._runs or anyio.CapacityLimiter(self.settings.max_concurrent_runs)
        async with anyio.create_task_group() as lease:
            lease.start_soon(self._hold, run_id)
            try:
                async with self._runs:
                    run = await self._work_on(run, on_change)
            except anyio.get_cancelled_exc_class():
                await saved(self.store.close_run, ended(run, "cancelled", "The run was cancelled."))
                raise
            except Exception as error:  # nothing foreseen: the run says so, and the error goes on its way below
                await saved(self.store.close_run, ended(run, "failed", f"{type(error).__name__}: {error}"))
                failure = error
            finally:
                lease.cancel_scope.cancel()
                on_change()
        if failure is not None:
            raise failure  # outside of the group, which would wrap it
        return run

    async def _work_on(self, run: Run, on_change: Callable[[], None]) -> Run:
        catalogue = await anyio.to_thread.run_sync(load_catalogue)
        models = self.check(run.consortium_name, run.consortium, catalogue)
        arbiter = models[arbiter_of(run.consortium)]
        log = self.llm_log.write
        calls = JournaledCalls(self.store, run.run_id, models, self.limits, self.settings, log, on_change)
        fresh = run.model_copy(update={"status": "running", "iterations": ()})
        async for run in iterations(fresh, calls, arbiter.supports_schema):
            await saved(self.store.save_iteration, run.run_id, run.iterations[-1])
            on_change()
        await saved(self.store.close_run, closed(run))
        return await anyio.to_thread.run_sync(self.store.load_run, run.run_id)

    async def _hold(self, run_id: str) -> None:
        """Renew the run's lease as long as we work on it."""
        while True:
            await anyio.sleep(LEASE_SECONDS / 4)
            await saved(self.store.renew_lease, run_id, self.owner)

    def _default(self, catalogue: Catalogue) -> tuple[str | None, Consortium]:
        """Whom to ask when the caller names nobody; the order is part of the contract."""
        names = self.store.list_consortium_names()
        if wanted := self.settings.default:
            if wanted not in names:
                raise NotFound(
                    f"CONSORTIUM_DEFAULT names {wanted!r}, which is not saved. Saved: {', '.join(names) or 'none'}."
                )
            return wanted, self.store.load_consortium(wanted)
        if "default" in names:
            return "default", self.store.load_consortium("default")
        for model in (catalogue.default_model, LOCAL_MODEL_ID):
            try:
                catalogue.usable(model, self.settings.allowed_models)
            except ModelUnavailable:
                continue
            return None, define(members=[{"model": model, "count": DEFAULT_INSTANCES}], arbiter=model)
        raise ModelUnavailable(FOUR_WAYS)


async def consult(prompt: str, *, settings: Settings | None = None, **definition: Any) -> Run:
    """Ask a consortium and return the run with its answer.

    Args:
        settings: None reads the environment.
        definition: `consortium=` (a saved name or a Consortium) or `models=[…]`, and rules such as `arbiter=`,
            `confidence_threshold=`, `max_iterations=`; nothing asks the default consortium.

    Raises:
        RunFailed: no member gave a response; the run is kept.
        ConsortiumError: it could not be started.
    """
    with await anyio.to_thread.run_sync(Consultancy, settings) as consultancy:
        run = await anyio.to_thread.run_sync(lambda: consultancy.open_run(prompt, **definition))
        return answered(await consultancy.perform(run.run_id))


def answered(run: Run) -> Run:
    """The run, when it has an answer; raises RunFailed when it ended without one."""
    if run.status in ("failed", "cancelled", "interrupted") and run.answer is None:
        raise RunFailed(f"{run.error or 'The run ended without an answer.'} The run is kept as {run.uri}.", run.run_id)
    return run


def arbiter_of(consortium: Consortium) -> str:
    """The arbiter's model: the one named, else the first member's, so that only models the user named are asked."""
    return consortium.arbiter or consortium.members[0].model


def check_rules(consortium: Consortium) -> None:
    """Raise InvalidConsortium where a strategy or judging method does not exist."""
    for what, given, known in (
        ("strategy", consortium.strategy, STRATEGIES),
        ("judging method", consortium.judging_method, JUDGING_METHODS),
    ):
        if given not in known:
            raise InvalidConsortium(f"There is no {what} {given!r}. There are: {', '.join(known)}.")


def refuse_cycle(name: str | None, consortium: Consortium, others: Mapping[str, Consortium]) -> None:
    """Raise InvalidConsortium where a consortium contains itself, at any depth."""
    if cycle := find_cycle(name, consortium, others):
        raise InvalidConsortium(f"The consortium contains itself: {' → '.join(cycle)}. Remove one of these members.")
