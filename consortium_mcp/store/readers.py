"""The reading connections: several at once, each statement with a time limit, stopped if its caller has left."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

from consortium_mcp.errors import ReadTooLongError

_STEPS = 10_000
"""The number of SQLite's steps, some 0.1 ms, after which a statement is checked."""

_given_up: ContextVar[threading.Event | None] = ContextVar("given_up", default=None)


class Readers:
    """The connections of one kind; each is opened when the others are in use."""

    def __init__(self, connect: Callable[[], sqlite3.Connection], seconds: float, at_once: int) -> None:
        """Create it without opening a connection; the first statement does.

        Args:
            connect: opens a connection.
            seconds: the time limit of a statement.
            at_once: the number of simultaneous statements.
        """
        self._connect = connect
        self._seconds = seconds
        self._at_once = at_once
        self._turns = threading.BoundedSemaphore(at_once)
        self._free: list[sqlite3.Connection] = []
        self._closed = False

    def keep(self, connection: sqlite3.Connection) -> None:
        """Use a connection that is already open."""
        self._free.append(connection)

    def read(self, sql: str, values: Iterable[Any], *, is_limited: bool = True) -> list[sqlite3.Row]:
        """The rows of a statement.

        Args:
            is_limited: whether the time limit applies.

        Raises:
            ReadTooLongError: the time was over, or the caller had left.
        """
        with self._borrowed() as connection, self._stopping(connection, is_limited):
            return connection.execute(sql, list(values)).fetchall()

    def close(self) -> None:
        """Close the connections after current reads; closing twice is allowed."""
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
        """Let SQLite stop a statement whose time is over or whose caller has left."""
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
    """Stop the reads inside this context as soon as the event is set."""
    token = _given_up.set(left)
    try:
        yield
    finally:
        _given_up.reset(token)
