"""Where and when runs are worked on: tasks of this process, apart from the requests that follow them."""

import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import anyio
import anyio.abc

from consortium_mcp.errors import ConsortiumError, StoreUnusableError
from consortium_mcp.records import Progress, Run, Status
from consortium_mcp.service.service import ConsortiumService
from consortium_mcp.store import LEASE_SECONDS
from consortium_mcp.text.masking import masked

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 4.5
"""The longest silence while somebody follows a run; also how often a run of another process is looked at."""

PACE_SECONDS = 0.25
"""The shortest time between two looks at a run that somebody follows, but for its end, which is told at once."""

LOOKS_PER_SECOND = 20
"""How often runs are looked at, over all of them: with many under way each is looked at less often."""

MOST_RECOVERED = 1000
"""How many interrupted runs are taken up at once."""


class Runner:
    """Works on runs in the background for as long as it is entered; leaving it cancels what is still running."""

    def __init__(self, service: ConsortiumService, keep_clients: bool = False) -> None:
        """Work with a service.

        Args:
            keep_clients: leave the service's clients open at the end, for others in this event loop.
        """
        self.service = service
        self._keep_clients = keep_clients
        self._group: anyio.abc.TaskGroup | None = None
        self._scopes: dict[str, anyio.CancelScope] = {}
        self._changes: dict[str, anyio.Event] = {}
        self._ends: dict[str, anyio.Event] = {}

    async def __aenter__(self) -> Self:
        self._group = await anyio.create_task_group().__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        assert self._group is not None
        self._group.cancel_scope.cancel()
        try:
            return await self._group.__aexit__(kind, error, trace)
        finally:
            if not self._keep_clients:
                with anyio.CancelScope(shield=True):
                    await self.service.clients.aclose()

    def submit(self, run: Run | str, on_text: Callable[[str], None] | None = None) -> None:
        """Begin to work on a run, or go on with an interrupted one; nothing happens when we do so already, or leave.

        Args:
            run: as it was just opened, or its id.
            on_text: told the answer piece by piece while its arbiter writes it; None when nobody reads along.
        """
        assert self._group is not None
        run_id = run if isinstance(run, str) else run.run_id
        if run_id not in self._scopes and not self.service.leaving:
            self._scopes[run_id] = anyio.CancelScope()
            self._group.start_soon(self._perform, run, run_id, on_text)

    def start(self, work: Callable[..., Coroutine[Any, Any, None]], *arguments: Any) -> None:
        """Do something beside the runs, for as long as they are worked on."""
        assert self._group is not None
        self._group.start_soon(work, *arguments)

    async def cancel(self, run_id: str) -> None:
        """Stop a run, wherever it is worked on; calls in flight are cut, what arrived is kept.

        Raises NotFoundError. Returns when a run of this process has ended; another process hears of it within seconds.
        """
        if (await self._progress(run_id)).status not in ("running", "interrupted"):
            return
        store = self.service.store
        await store.saved(store.request_cancel, run_id)
        self.service.unclosed.pop(run_id, None)  # why it could not go on matters no more
        while run_id in self._scopes:
            changed = self._change(run_id)
            self._scopes[run_id].cancel()
            await changed.wait()

    async def stop(self) -> None:
        """Cancel every run of this process, and return when their records say so."""
        for scope in self._scopes.values():
            scope.cancel()
        await self._until_all_ended()

    async def leave(self, grace_seconds: float, hurry: anyio.Event) -> None:
        """Take no new runs, give those of this process time to end, and leave the others to be gone on with elsewhere.

        Args:
            hurry: set by whoever does not want to wait so long.
        """
        self.service.leaving = True
        with anyio.move_on_after(grace_seconds):
            async with anyio.create_task_group() as group:
                group.start_soon(_cancel_when, hurry, group.cancel_scope)
                await self._until_all_ended()
                group.cancel_scope.cancel()
        await self.stop()

    async def recover(self) -> None:
        """Go on with every interrupted run; of several processes that try, one gets each.

        What is interrupted later is found within `LEASE_SECONDS`: a process that was killed just now holds its runs
        for so long.
        """
        assert self._group is not None
        await self._submit_interrupted()
        self._group.start_soon(self._keep_recovering)

    async def load(self, run_id: str) -> Run:
        """The run as it stands, as `ConsortiumService.load` has it; one that we are about to go on with is running."""
        run = await self.service.load(run_id)
        return run.model_copy(update={"status": self._seen(run_id, run.status)})

    async def follow(self, run_id: str, wait_seconds: float) -> AsyncIterator[Progress]:
        """Yield how far a run is: soon, after changes, and at least every `HEARTBEAT_SECONDS`.

        It ends after `wait_seconds`, or when the run has ended; raises NotFoundError for a run that is not stored.
        """
        ends = time.monotonic() + wait_seconds
        said: Progress | None = None
        if run_id in self._scopes:  # it may have just begun: nothing to tell yet, and a look would hold it up
            with anyio.move_on_after(min(PACE_SECONDS, wait_seconds)):
                await self._end(run_id).wait()
        while True:
            changed, ended = self._change(run_id), self._end(run_id)
            progress = await self._progress(run_id)
            if progress != said:
                yield progress
            remaining = ends - time.monotonic()
            if progress.status != "running" or remaining <= 0:
                return
            silent = anyio.current_time() + min(HEARTBEAT_SECONDS, remaining)
            pace = max(PACE_SECONDS, len(self._scopes) / LOOKS_PER_SECOND)
            with anyio.move_on_at(min(anyio.current_time() + pace, silent)):
                await ended.wait()
            with anyio.move_on_at(silent) as silence:
                await changed.wait()
            said = None if silence.cancelled_caught else progress

    async def _perform(self, run: Run | str, run_id: str, on_text: Callable[[str], None] | None) -> None:
        try:
            with self._scopes[run_id]:
                await self.service.perform(run, lambda: self._tell(run_id), on_text)
        except ConsortiumError as error:
            logger.warning("The run %s cannot go on: %s", run_id, error)
            await self._keep_failure(run_id, error)
        except Exception as error:  # one run's failure, which its record tells, must not end the others
            logger.exception("The run %s failed", run_id)
            await self._keep_failure(run_id, error)
        finally:
            del self._scopes[run_id]
            self._tell(run_id)
            self._ends.pop(run_id, anyio.Event()).set()

    async def _until_all_ended(self) -> None:
        while self._scopes:
            await self._change(next(iter(self._scopes))).wait()

    async def _keep_failure(self, run_id: str, error: Exception) -> None:
        """Why a run that is still open does not go on, for those who follow it; it can be gone on with later.

        Of a run that was removed meanwhile, or a store that cannot be read, nothing is kept.
        """
        with suppress(ConsortiumError):
            run = await self.service.store.loaded(self.service.store.load_run, run_id)
            if run.ended_utc is None:
                self.service.unclosed[run_id] = run.model_copy(
                    update={"status": "interrupted", "error": masked(str(error))}
                )

    async def _keep_recovering(self) -> None:
        while True:
            await anyio.sleep(LEASE_SECONDS)
            try:
                await self._submit_interrupted()
            except StoreUnusableError as error:
                logger.warning("Interrupted runs cannot be looked for: %s", error)

    async def _submit_interrupted(self) -> None:
        store = self.service.store
        for run_id in await store.loaded(store.list_interrupted, MOST_RECOVERED):
            self.submit(run_id)

    async def _progress(self, run_id: str) -> Progress:
        progress = await self.service.store.loaded(self.service.store.load_progress, run_id)
        ended = self.service.unclosed.get(run_id)
        status = ended.status if ended else self._seen(run_id, progress.status)
        return progress.model_copy(update={"status": status})

    def _seen(self, run_id: str, status: Status) -> Status:
        """A run that we are about to claim is not interrupted any more."""
        return "running" if status == "interrupted" and run_id in self._scopes else status

    def _change(self, run_id: str) -> anyio.Event:
        """Set at the next change of a run that we work on; never for another, which nobody here could tell of."""
        return self._changes.setdefault(run_id, anyio.Event()) if run_id in self._scopes else anyio.Event()

    def _end(self, run_id: str) -> anyio.Event:
        """Set when we do not work on a run any more; never for a run on which we do not."""
        return self._ends.setdefault(run_id, anyio.Event()) if run_id in self._scopes else anyio.Event()

    def _tell(self, run_id: str) -> None:
        if changed := self._changes.pop(run_id, None):
            changed.set()


async def _cancel_when(event: anyio.Event, scope: anyio.CancelScope) -> None:
    await event.wait()
    scope.cancel()
