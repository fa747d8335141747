"""One thread that writes to one SQLite file: what arrives in the same instant goes into one transaction."""

import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")
Job = Callable[[sqlite3.Connection], T]

_BATCH = 200

_AGAIN_MS = 1_000
"""How long we wait for another process's lock once we have waited for it in vain, until we get it."""


class Writer:
    """Runs jobs against a connection of its own, in the order in which they came."""

    def __init__(self, connect: Callable[[], sqlite3.Connection], name: str) -> None:
        """Nothing is started before the first job.

        Args:
            connect: opens the connection, in autocommit mode (`isolation_level=None`).
            name: of the thread.
        """
        self._connect = connect
        self._jobs: queue.SimpleQueue[tuple[Job[Any], Future[Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._lock = threading.Lock()  # nothing is submitted behind the end
        self._closed = False

    def write(self, job: Job[T]) -> T:
        """Run the job in a transaction; returns, or raises what it raised, when that is on disk."""
        return self.submit(job).result()

    def submit(self, job: Job[T]) -> "Future[T]":
        """The same without waiting; what comes after the end is told so."""
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                future.set_exception(sqlite3.ProgrammingError("it is closed"))
                return future
            if self._thread.ident is None:
                self._thread.start()
            self._jobs.put((job, future))
        return future

    def close(self, timeout_seconds: float | None = None) -> bool:
        """Finish what was submitted and end the thread; False when that takes longer than the timeout.

        What is unfinished then is still worked on for as long as the process lives.
        """
        with self._lock:
            if not self._closed:
                self._closed = True
                self._jobs.put(None)
        if self._thread.ident is not None:
            self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def _work(self) -> None:
        connection: sqlite3.Connection | None = None
        ending = False
        patience_ms = 0
        while not ending:
            batch, ending = self._next_batch()
            try:
                connection = connection or self._connect()
                patience_ms = patience_ms or connection.execute("PRAGMA busy_timeout").fetchone()[0]
                _run_batch(connection, batch)
                connection.execute(f"PRAGMA busy_timeout = {patience_ms}")
            except Exception as error:  # whatever it is belongs to those who wait for these jobs
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                if connection and getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
                    connection.execute(f"PRAGMA busy_timeout = {min(patience_ms, _AGAIN_MS)}")
        if connection is not None:
            connection.close()

    def _next_batch(self) -> tuple[list[tuple[Job[Any], "Future[Any]"]], bool]:
        """The jobs that are waiting, at least one; and whether the end was asked for."""
        batch: list[tuple[Job[Any], Future[Any]]] = []
        item = self._jobs.get()
        while item is not None:
            batch.append(item)
            if len(batch) == _BATCH or self._jobs.empty():
                return batch, False
            item = self._jobs.get()
        return batch, True


def _run_batch(connection: sqlite3.Connection, batch: list[tuple[Job[Any], "Future[Any]"]]) -> None:
    """All jobs in one transaction; one that raises undoes only its own changes."""
    if not batch:
        return
    outcomes: list[tuple[Future[Any], Any, BaseException | None]] = []
    connection.execute("BEGIN IMMEDIATE")
    try:
        for job, future in batch:
            connection.execute("SAVEPOINT job")
            try:
                outcomes.append((future, job(connection), None))
            except Exception as error:  # handed to the one who waits for this job
                if not connection.in_transaction:
                    raise  # SQLite has undone the whole batch, as it may when the disk is full
                connection.execute("ROLLBACK TO job")
                outcomes.append((future, None, error))
            connection.execute("RELEASE job")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    for future, value, failure in outcomes:
        if failure is None:
            future.set_result(value)
        else:
            future.set_exception(failure)
