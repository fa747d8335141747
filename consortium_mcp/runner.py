"""Where and when runs are worked on: tasks of this process, apart from the requests that follow them."""

import logging
import time
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

import anyio
import anyio.abc
import anyio.to_thread

from consortium_mcp.consult import Consultancy
from consortium_mcp.run import Progress

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 5
"""The longest silence while somebody follows a run; also how often a run of another process is looked at."""


class Runner:
    """Works on runs in the background for as long as it is entered; leaving it cancels what is still running."""

    def __init__(self, consultancy: Consultancy) -> None:
        self.consultancy = consultancy
        self._group: anyio.abc.TaskGroup | None = None
        self._scopes: dict[str, anyio.CancelScope] = {}
        self._changes: dict[str, anyio.Event] = {}

    async def __aenter__(self) -> Self:
        self._group = await anyio.create_task_group().__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        assert self._group is not None
        self._group.cancel_scope.cancel()
        return await self._group.__aexit__(kind, error, trace)

    def submit(self, run_id: str) -> None:
        """Begin to work on a run; nothing happens when that is going on already."""
        assert self._group is not None
        if run_id not in self._scopes:
            self._scopes[run_id] = anyio.CancelScope()
            self._group.start_soon(self._perform, run_id)

    def cancel(self, run_id: str) -> bool:
        """Stop working on a run; False when it is not worked on here."""
        scope = self._scopes.get(run_id)
        if scope is not None:
            scope.cancel()
        return scope is not None

    async def follow(self, run_id: str, wait_seconds: float) -> AsyncIterator[Progress]:
        """Yield how far a run is: now, after each change, and at least every `HEARTBEAT_SECONDS`.

        It ends after `wait_seconds`, or when the run has ended; raises NotFound for a run that is not stored.
        """
        ends = time.monotonic() + wait_seconds
        said: Progress | None = None
        while True:
            changed = self._changes.setdefault(run_id, anyio.Event())
            progress = await anyio.to_thread.run_sync(self.consultancy.store.load_progress, run_id)
            if progress != said:
                yield progress
            remaining = ends - time.monotonic()
            if progress.status != "running" or remaining <= 0:
                return
            with anyio.move_on_after(min(HEARTBEAT_SECONDS, remaining)) as silence:
                await changed.wait()
            said = None if silence.cancelled_caught else progress

    async def _perform(self, run_id: str) -> None:
        try:
            with self._scopes[run_id]:
                await self.consultancy.perform(run_id, lambda: self._tell(run_id))
        except Exception:  # one run's failure, which its record tells, must not end the others
            logger.exception("The run %s failed", run_id)
        finally:
            del self._scopes[run_id]
            self._tell(run_id)

    def _tell(self, run_id: str) -> None:
        if changed := self._changes.pop(run_id, None):
            changed.set()
