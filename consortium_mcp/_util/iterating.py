"""Reads an asynchronous iterator in a thread, for a caller without an event loop."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import suppress
from contextvars import copy_context
from functools import cache
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")

LOOK_SECONDS = 0.25
"""The time between two checks whether the events are still wanted."""


class UnreadError(Exception):
    """The events are no longer wanted."""


def iterate(
    events: Callable[[], AsyncIterator[T]], is_unread: Callable[[], bool] | None = None
) -> Generator[T, None, None]:
    """Yield the values of an asynchronous iterator; leaving the loop, or the end of the main thread, cancels it.

    At exit, the interpreter first waits for threads and then closes generators. A generator that waits for its thread
    in `finally` would therefore never end in a program that stopped reading.

    Args:
        is_unread: called repeatedly during the wait for an event; True raises UnreadError.
    """
    reading = _Reading(events)
    reading.start()
    try:
        while (event := _next(reading.events, is_unread)) is not None:
            yield event
        reading.raise_failure()
    finally:
        reading.cancel()
        if threading.current_thread() is not reading:  # the thread that collects garbage closes a generator
            reading.join()


class _Reading(threading.Thread, Generic[T]):
    """The thread that reads the events."""

    def __init__(self, events: Callable[[], AsyncIterator[T]]) -> None:
        super().__init__(name="consortium-events")
        self.events: SimpleQueue[T | None] = SimpleQueue()
        """The events that arrived, then None after the last one."""
        self._source = events
        self._context = copy_context()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_cancelled = False
        self._failure: BaseException | None = None

    def run(self) -> None:
        """Read until the iterator ends, fails or is cancelled."""
        _cancel_with_main_thread(self)
        try:
            self._context.run(asyncio.run, self._read())
        except BaseException as error:
            self._failure = error
        finally:
            _ACTIVE.discard(self)
            self.events.put(None)

    def cancel(self) -> None:
        """Stop reading; from any thread, also before the first step or after the last, and more than once."""
        if self._is_cancelled:
            return
        self._is_cancelled = True
        if self._loop is not None and self._task is not None:
            with suppress(RuntimeError):  # the loop is closed: it has ended
                self._loop.call_soon_threadsafe(self._task.cancel)

    def raise_failure(self) -> None:
        """Raise the iterator's exception."""
        if self._failure is not None:
            raise self._failure

    async def _read(self) -> None:
        self._task = asyncio.current_task()
        self._loop = asyncio.get_running_loop()
        if self._is_cancelled:
            return
        async for event in self._source():
            self.events.put(event)


def _next(events: "SimpleQueue[T | None]", is_unread: Callable[[], bool] | None) -> T | None:
    """The next event; None after the last one."""
    while True:
        try:
            return events.get(timeout=None if is_unread is None else LOOK_SECONDS)
        except Empty:
            if is_unread is not None and is_unread():
                raise UnreadError from None


_ACTIVE: set["_Reading[object]"] = set()
"""The threads that are reading now."""


def _cancel_with_main_thread(reading: "_Reading[T]") -> None:
    """Cancel a thread when the main thread has ended, before the interpreter waits for it."""
    _ACTIVE.add(reading)  # type: ignore[arg-type]
    _watch_main_thread()


@cache
def _watch_main_thread() -> None:
    def watch() -> None:
        threading.main_thread().join()
        for reading in list(_ACTIVE):
            reading.cancel()

    threading.Thread(target=watch, name="consortium-main-thread-ended", daemon=True).start()
