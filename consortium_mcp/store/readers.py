"""The connections that read: several at once, each statement within its time, and none for a caller that has left."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

from consortium_mcp.errors import ReadTooLongError

_STEPS = 10_000
"""After how many of SQLite's steps, some 0.1 ms, a statement is asked whether it may go on."""

_given_up: ContextVar[threading.Event | None] = ContextVar("given_up", default=None)


class Readers:
    """The connections of one kind; each is opened when the others are in use."""

    def __init__(self, connect: Callable[[], sqlite3.Connection], seconds: float, at_once: int) -> None:
        """Nothing is opened before the first statement.

        Args:
            connect: opens one.
            seconds: how long a statement may take.
            at_once: how many statements read at once.
        """
        self._connect = connect
        self._seconds = seconds
        self._at_once = at_once
        self._turns = threading.BoundedSemaphore(at_once)
        self._free: list[sqlite3.Connection] = []
        self._closed = False

    def keep(self, connection: sqlite3.Connection) -> None:
        """Read by a connection that is open already."""
        self._free.append(connection)

    def read(self, sql: str, values: Iterable[Any], *, is_limited: bool = True) -> list[sqlite3.Row]:
        """The rows of a statement.

        Args:
            is_limited: whether its time is.

        Raises:
            ReadTooLongError: its time was over, or its caller had left.
        """
        with self._borrowed() as connection, self._stopping(connection, is_limited):
            return connection.execute(sql, list(values)).fetchall()

    def close(self) -> None:
        """Close the connections once what is being read has been; a second time does nothing."""
        self._closed = True
        for _ in range(self._at_once):
            self._turns.acquire()
        while self._free:
            self._free.pop().close()
        self._turns.release(self._at_once)

    @contextmanager
    def _borrowed(self) -> Iterator[sqlite3.Connection]:
        with self._turns:
            if self._closed:
                raise sqlite3.ProgrammingError("it is closed")
            try:
                connection = self._free.pop()
            except IndexError:
                connection = self._connect()
            try:
                yield connection
            finally:
                self._free.append(connection)

    @contextmanager
    def _stopping(self, connection: sqlite3.Connection, is_limited: bool) -> Iterator[None]:
        """Let SQLite give up a statement whose time is over or whose caller has left."""
        left = _given_up.get()
        ends = time.monotonic() + self._seconds if is_limited else float("inf")
        is_over = lambda: time.monotonic() > ends or (left is not None and left.is_set())  # noqa: E731
        connection.set_progress_handler(is_over, _STEPS)
        try:
            yield
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
                raise
            raise ReadTooLongError(
                f"Reading the database took more than {self._seconds:g} seconds and was stopped. Ask for less."
            ) from error
        finally:
            with suppress(sqlite3.ProgrammingError):
                connection.set_progress_handler(None, 0)


@contextmanager
def given_up_by(left: threading.Event) -> Iterator[None]:
    """Stop what is read inside as soon as the event is set."""
    token = _given_up.set(left)
    try:
        yield
    finally:
        _given_up.reset(token)
