"""One thread writes to one SQLite file: jobs that arrive at the same time share a transaction."""

import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

logger = logging.getLogger(__name__)

T = TypeVar("T")
Job = Callable[[sqlite3.Connection], T]
_Outcome = tuple["Future[Any]", Any, BaseException | None]
"""A job's future, its return value, and its exception."""

_AGAIN_MS = 1_000
"""The timeout for another process's lock after a first timeout; it is repeated until the lock is free."""

_BATCH = 200

_REST_SECONDS = 0.05
"""The time without a job after which the thread is idle."""

_BUSY_SECONDS = 1.0
"""The longest time of work before the idle work is done anyway."""


class Writer:
    """Runs jobs on a connection of its own, in the order of their arrival."""

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        name: str,
        at_rest: Callable[[], None] = lambda: None,
        committed: Callable[[], None] = lambda: None,
    ) -> None:
        """Create it without starting anything; the first job starts the thread.

        Args:
            connect: opens the connection, in autocommit mode (`isolation_level=None`).
            name: the name of the thread.
            at_rest: the idle work, outside any transaction, after a write when no job waits; under load about once a
                second, and at the end. It may raise OSError.
            committed: called after each commit; its exception is raised to all callers whose jobs were in the commit.
        """
        self._connect = connect
        self._at_rest = at_rest
        self._committed = committed
        self._connection: sqlite3.Connection | None = None
        self._dirty_since: float | None = None
        """The time of the first write since the last rest; None if nothing was written since."""
        self._jobs: queue.SimpleQueue[tuple[Job[Any], Future[Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._lock = threading.Lock()  # no job may follow the end
        self._closed = False

    def write(self, job: Job[T]) -> T:
        """Run the job in a transaction; after the commit, return its result or raise its exception.

        If a job calls it, the new job is part of the calling one.
        """
        if threading.current_thread() is self._thread:
            assert self._connection is not None
            return job(self._connection)
        return self.submit(job).result()

    def submit(self, job: Job[T]) -> "Future[T]":
        """The same without waiting; after the end, the future has an error."""
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()  # a caller that stops waiting does not stop the work
        with self._lock:
            if self._closed:
                future.set_exception(sqlite3.ProgrammingError("it is closed"))
                return future
            if self._thread.ident is None:
                self._thread.start()
            self._jobs.put((job, future))
        return future

    def close(self, timeout_seconds: float | None = None) -> bool:
        """Finish submitted jobs and end the thread; False if that exceeds the timeout.

        Work on unfinished jobs continues as long as the process lives.
        """
        with self._lock:
            if not self._closed:
                self._closed = True
                self._jobs.put(None)
        if self._thread.ident is not None:
            self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def _work(self) -> None:
        ending = False
        patience_ms, in_vain = 0, False
        while not ending:
            batch, ending = self._next_batch()
            if not batch:
                self._rest()
                continue
            try:
                self._connection = connection = self._connection or self._connect()
                patience_ms = patience_ms or connection.execute("PRAGMA busy_timeout").fetchone()[0]
                _run_batch(connection, batch, self._committed)
                if in_vain:
                    connection.execute(f"PRAGMA busy_timeout = {patience_ms}")
                    in_vain = False
            except Exception as error:  # any exception goes to the callers of these jobs
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                if self._connection and getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
                    self._connection.execute(f"PRAGMA busy_timeout = {min(patience_ms, _AGAIN_MS)}")
                    in_vain = True
            self._dirty_since = self._dirty_since or time.monotonic()
        self._rest()
        if self._connection is not None:
            self._connection.close()

    def _rest(self) -> None:
        """Do the idle work, if anything was written since the last time."""
        if self._connection is not None and self._dirty_since is not None:
            try:
                self._at_rest()
            except OSError as error:
                logger.warning("The last writes could not be flushed to the disk yet: %s", error)
        self._dirty_since = None

    def _next_batch(self) -> tuple[list[tuple[Job[Any], "Future[Any]"]], bool]:
        """The waiting jobs, none when it is time for the idle work; and whether the end was requested."""
        batch: list[tuple[Job[Any], Future[Any]]] = []
        if self._dirty_since and time.monotonic() - self._dirty_since > _BUSY_SECONDS:
            return batch, False
        try:
            item = self._jobs.get(timeout=_REST_SECONDS if self._dirty_since else None)
            while item is not None:
                batch.append(item)
                if len(batch) == _BATCH:
                    return batch, False
                item = self._jobs.get_nowait()
        except queue.Empty:
            return batch, False
        return batch, True


def _run_batch(
    connection: sqlite3.Connection, batch: list[tuple[Job[Any], "Future[Any]"]], committed: Callable[[], None]
) -> None:
    """Run all jobs in one transaction; a job that raises undoes only its own changes."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        if len(batch) == 1:  # its exception undoes the transaction, which is its own
            ((job, future),) = batch
            outcomes: list[_Outcome] = [(future, job(connection), None)]
        else:
            outcomes = [_beside_others(connection, job, future) for job, future in batch]
        connection.execute("COMMIT")
        committed()
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    for future, value, failure in outcomes:
        if failure is None:
            future.set_result(value)
        else:
            future.set_exception(failure)


def _beside_others(connection: sqlite3.Connection, job: Job[Any], future: "Future[Any]") -> _Outcome:
    connection.execute("SAVEPOINT job")
    outcome: _Outcome
    try:
        outcome = future, job(connection), None
    except Exception as error:  # passed to the caller of this job
        if not connection.in_transaction:
            raise  # SQLite has undone the whole batch, as it may when the disk is full
        connection.execute("ROLLBACK TO job")
        outcome = future, None, error
    connection.execute("RELEASE job")
    return outcome
