"""Work in threads that a caller can stop waiting for at any time."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from typing import TypeVar

T = TypeVar("T")


async def in_thread(work: Callable[[], T]) -> T:
    """Run it in a thread that is no longer waited for after a cancellation, or when the process ends.

    Not anyio's own threads: the interpreter waits at its end for each of them, and a model may hang for ever.
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
    """What is raised there: the error, but for one that would end more than the work, as SystemExit, or be lost."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    return RuntimeError(f"{type(error).__name__}: {error}")
