"""Runs work in threads; a caller can stop waiting at any time."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from typing import TypeVar

T = TypeVar("T")


async def in_thread(work: Callable[[], T]) -> T:
    """The result of work in a thread that is abandoned after a cancellation, or at the end of the process.

    anyio's own threads do not fit: the interpreter waits for each of them at its end, and a model may never answer.
    """
    outcome: Future[T] = Future()
    outcome.set_running_or_notify_cancel()

    def run() -> None:
        try:
            result = work()
        except BaseException as error:
            outcome.set_exception(_for_caller(error))
        else:
            outcome.set_result(result)

    threading.Thread(target=copy_context().run, args=[run], name="consortium-call", daemon=True).start()
    return await asyncio.wrap_future(outcome)


def _for_caller(error: BaseException) -> Exception:
    """The exception for the caller: the same, unless it would be lost or, as SystemExit, end more than the work."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    return RuntimeError(f"{type(error).__name__}: {error}")
