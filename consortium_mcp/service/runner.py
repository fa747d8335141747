"""Runs the work on runs as background tasks of this process, independent of the requests that follow them."""

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
"""The shortest time between two polls of a followed run; its end is reported at once."""

LOOKS_PER_SECOND = 20
"""The number of polls per second over all runs; with many runs, each is polled less often."""

MOST_RECOVERED = 1000
"""The number of interrupted runs that are resumed at the same time."""


class Runner:
    """Works on runs in the background while its context is entered; leaving the context cancels running work."""

    def __init__(self, service: ConsortiumService, keep_clients: bool = False) -> None:
        """Work with a service.

        Args:
            keep_clients: whether to leave the service's clients open at the end, for others in this event loop.
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
            await self._group.__aexit__(kind, error, trace)  # its result would hide a cancellation from outside
        finally:
            if not self._keep_clients:
                with anyio.CancelScope(shield=True):
                    await self.service.clients.aclose()

    def submit(self, run: Run | str, on_text: Callable[[str], None] | None = None) -> None:
        """Begin to work on a run, or resume an interrupted one; without effect if it is already worked on, or at
        shutdown.

        Args:
            run: the run that was just opened, or its id.
            on_text: receives the answer in pieces while the arbiter writes it; None if no reader follows.
        """
        assert self._group is not None
        run_id = run if isinstance(run, str) else run.run_id
        if run_id not in self._runs and not self.service.live_runs.leaving:
            live = self._runs[run_id] = self.service.live_runs.begin(run, on_text)
            self._group.start_soon(self._perform, live)

    def start(self, work: Callable[..., Coroutine[Any, Any, None]], *arguments: Any) -> None:
        """Start other work beside the runs, which ends with them."""
        assert self._group is not None
        self._group.start_soon(work, *arguments)

    async def cancel(self, run_id: str) -> None:
        """Cancel a run in any process; calls in flight are stopped, and received responses are kept.

        Raises NotFoundError. For a run of this process it returns at the run's end; another process stops within
        seconds.
        """
        if (await self._progress(run_id)).status not in ("running", "interrupted"):
            return
        await self.service.store.leases.request_cancel(run_id)
        if live := self.service.live_runs.get(run_id):
            live.end = None  # the reason why it could not continue no longer matters
            if run_id not in self._runs:
                self.service.live_runs.finish(live)
        while live := self._runs.get(run_id):
            live.cancel()
            await live.ended.wait()

    async def stop(self) -> None:
        """Cancel every run of this process, and return when their ends are stored."""
        for live in self._runs.values():
            live.cancel()
        await self._until_all_ended()

    async def leave(self, grace_seconds: float, hurry: anyio.Event) -> None:
        """Accept no new runs, give the runs of this process time to end, and release the others for another process.

        Args:
            hurry: set by a caller that does not want to wait for `grace_seconds`.
        """
        self.service.live_runs.leaving = True
        with anyio.move_on_after(grace_seconds):
            async with anyio.create_task_group() as group:
                group.start_soon(_cancel_when, hurry, group.cancel_scope)
                await self._until_all_ended()
                group.cancel_scope.cancel()
        await self.stop()

    async def recover(self) -> None:
        """Resume every interrupted run; of several processes that try, one gets each run.

        A run that is interrupted later is found within `Timing.recovery`. A process that was killed just now still
        holds its leases for that time.
        """
        assert self._group is not None
        await self._submit_interrupted()
        self._group.start_soon(self._keep_recovering)

    async def load(self, run_id: str) -> Run:
        """The current run, as `ConsortiumService.load` returns it; a run about to be resumed is shown as running."""
        run = await self.service.load(run_id)
        return run.model_copy(update={"status": self._seen(run_id, run.status)})

    async def follow(self, run_id: str, wait_seconds: float) -> AsyncGenerator[Progress, None]:
        """Yield the progress of a run: soon, after changes, and at least every `Timing.heartbeat`.

        A run of this process is read after a change, any other run every `Timing.heartbeat`. The iteration ends after
        `wait_seconds`, or when the run has ended. Raises NotFoundError for a run that is not stored.
        """
        ends = time.monotonic() + wait_seconds
        said: Progress | None = None
        if live := self._runs.get(run_id):  # it may have just begun: a read would delay it
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
                if live is None or changed is None:  # another process works on it, so that no event reports its changes
                    await anyio.sleep_until(beat)
                    said = None
                    break
                if await self._has_changed(live, changed, beat):
                    break
                yield progress
            else:
                return

    async def _has_changed(self, live: LiveRun, changed: anyio.Event, beat: float) -> bool:
        """Wait for a change of a run, at least for its polling interval; False if there was none in time."""
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
        except Exception as error:  # the failure of one run is in its record, and must not end the others
            logger.exception("The run %s failed", live.run_id)
            await self._keep_failure(live, error)
        finally:
            del self._runs[live.run_id]
            self.service.live_runs.finish(live)

    async def _until_all_ended(self) -> None:
        while self._runs:
            await next(iter(self._runs.values())).ended.wait()

    async def _keep_failure(self, live: LiveRun, error: Exception) -> None:
        """Keep why an open run does not continue, for its followers; it can be resumed later.

        Nothing is kept if the run was removed meanwhile, or the store cannot be read.
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
        """The status for readers: a run that is about to be claimed here counts as running."""
        return "running" if status == "interrupted" and run_id in self._runs else status


async def _cancel_when(event: anyio.Event, scope: anyio.CancelScope) -> None:
    await event.wait()
    scope.cancel()
