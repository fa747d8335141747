"""Where and when runs are worked on: tasks of this process, apart from the requests that follow them."""

import logging
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import anyio
import anyio.abc

from consortium_mcp.errors import ConsortiumError, StoreUnusableError
from consortium_mcp.records import Progress, Run, Status
from consortium_mcp.service.live_run import LiveRun
from consortium_mcp.service.service import ConsortiumService
from consortium_mcp.text.masking import masked

logger = logging.getLogger(__name__)

PACE_SECONDS = 0.25
"""The shortest time between two looks at a followed run; its end is told at once."""

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
        self._runs: dict[str, LiveRun] = {}
        """The active runs of this process, by run id."""

    async def __aenter__(self) -> Self:
        self._group = await anyio.create_task_group().__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._group is not None
        self._group.cancel_scope.cancel()
        try:
            await self._group.__aexit__(kind, error, trace)  # what it returns would hide a cancellation from outside
        finally:
            if not self._keep_clients:
                with anyio.CancelScope(shield=True):
                    await self.service.clients.aclose()

    def submit(self, run: Run | str, on_text: Callable[[str], None] | None = None) -> None:
        """Begin to work on a run, or go on with an interrupted one; nothing happens when we do so already, or leave.

        Args:
            run: as it was just opened, or its id.
            on_text: receives the answer in pieces while the arbiter writes it; None if no reader follows.
        """
        assert self._group is not None
        run_id = run if isinstance(run, str) else run.run_id
        if run_id not in self._runs and not self.service.live_runs.leaving:
            live = self._runs[run_id] = self.service.live_runs.begin(run, on_text)
            self._group.start_soon(self._perform, live)

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
        await self.service.store.leases.request_cancel(run_id)
        if live := self.service.live_runs.get(run_id):
            live.end = None  # why it could not go on matters no more
            if run_id not in self._runs:
                self.service.live_runs.finish(live)
        while live := self._runs.get(run_id):
            live.cancel()
            await live.ended.wait()

    async def stop(self) -> None:
        """Cancel every run of this process, and return when their records say so."""
        for live in self._runs.values():
            live.cancel()
        await self._until_all_ended()

    async def leave(self, grace_seconds: float, hurry: anyio.Event) -> None:
        """Take no new runs, give those of this process time to end, and leave the others to be gone on with elsewhere.

        Args:
            hurry: set by a caller that does not want to wait so long.
        """
        self.service.live_runs.leaving = True
        with anyio.move_on_after(grace_seconds):
            async with anyio.create_task_group() as group:
                group.start_soon(_cancel_when, hurry, group.cancel_scope)
                await self._until_all_ended()
                group.cancel_scope.cancel()
        await self.stop()

    async def recover(self) -> None:
        """Go on with every interrupted run; of several processes that try, one gets each.

        What is interrupted later is found within `Timing.recovery`: a process that was killed just now holds its runs
        for so long.
        """
        assert self._group is not None
        await self._submit_interrupted()
        self._group.start_soon(self._keep_recovering)

    async def load(self, run_id: str) -> Run:
        """The run as it stands, as `ConsortiumService.load` has it; one that we are about to go on with is running."""
        run = await self.service.load(run_id)
        return run.model_copy(update={"status": self._seen(run_id, run.status)})

    async def follow(self, run_id: str, wait_seconds: float) -> AsyncGenerator[Progress, None]:
        """Yield how far a run is: soon, after changes, and at least every `Timing.heartbeat`.

        A run that is worked on here is looked at when it has changed, any other one every `Timing.heartbeat`. It ends
        after `wait_seconds`, or when the run has ended; raises NotFoundError for a run that is not stored.
        """
        ends = time.monotonic() + wait_seconds
        said: Progress | None = None
        if live := self._runs.get(run_id):  # it may have just begun: nothing to tell yet, and a look would hold it up
            with anyio.move_on_after(min(PACE_SECONDS, wait_seconds)):
                await live.ended.wait()
        while True:
            live = self._runs.get(run_id)
            changed = live.changed if live else None
            progress = await self._progress(run_id)
            if progress != said:
                yield progress
                said = progress
            while progress.status == "running" and (remaining := ends - time.monotonic()) > 0:
                beat = anyio.current_time() + min(self.service.timing.heartbeat, remaining)
                if live is None or changed is None:  # another process's: nothing tells us of it
                    await anyio.sleep_until(beat)
                    said = None
                    break
                if await self._has_changed(live, changed, beat):
                    break
                yield progress
            else:
                return

    async def _has_changed(self, live: LiveRun, changed: anyio.Event, beat: float) -> bool:
        """Wait until a run has changed, a while after the last look; False when it has not until then."""
        pace = max(PACE_SECONDS, len(self._runs) / LOOKS_PER_SECOND)
        with anyio.move_on_at(min(anyio.current_time() + pace, beat)):
            await live.ended.wait()
        with anyio.move_on_at(beat) as silence:
            await changed.wait()
        return not silence.cancelled_caught

    async def _perform(self, live: LiveRun) -> None:
        assert live.scope is not None
        try:
            with live.scope:
                await self.service.work_on(live)
        except ConsortiumError as error:
            logger.warning("The run %s cannot continue: %s", live.run_id, error)
            await self._keep_failure(live, error)
        except Exception as error:  # one run's failure, which its record tells, must not end the others
            logger.exception("The run %s failed", live.run_id)
            await self._keep_failure(live, error)
        finally:
            del self._runs[live.run_id]
            self.service.live_runs.finish(live)

    async def _until_all_ended(self) -> None:
        while self._runs:
            await next(iter(self._runs.values())).ended.wait()

    async def _keep_failure(self, live: LiveRun, error: Exception) -> None:
        """Why a run that is still open does not go on, for those who follow it; it can be gone on with later.

        Of a run that was removed meanwhile, or a store that cannot be read, nothing is kept.
        """
        with suppress(ConsortiumError):
            run = await self.service.store.runs.load(live.run_id)
            if run.ended_utc is None:
                live.end = run.model_copy(update={"status": "interrupted", "error": masked(str(error))})

    async def _keep_recovering(self) -> None:
        while True:
            await anyio.sleep(self.service.timing.recovery)
            try:
                await self._submit_interrupted()
            except StoreUnusableError as error:
                logger.warning("The search for interrupted runs failed: %s", error)

    async def _submit_interrupted(self) -> None:
        store = self.service.store
        for run_id in await store.leases.list_interrupted(MOST_RECOVERED):
            self.submit(run_id)

    async def _progress(self, run_id: str) -> Progress:
        progress = await self.service.store.progress.load(run_id)
        live = self.service.live_runs.get(run_id)
        status = live.end.status if live and live.end else self._seen(run_id, progress.status)
        return progress.model_copy(update={"status": status})

    def _seen(self, run_id: str, status: Status) -> Status:
        """A run that we are about to claim is not interrupted any more."""
        return "running" if status == "interrupted" and run_id in self._runs else status


async def _cancel_when(event: anyio.Event, scope: anyio.CancelScope) -> None:
    await event.wait()
    scope.cancel()
