"""The event loop of our own processes: uvloop's if it is installed, with short garbage collections."""

import gc
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from typing import Any, TypeVar

import anyio

T = TypeVar("T")

COLLECTED_AFTER = (5_000, 10, 10)
"""The number of new objects before a collection, for `gc.set_threshold`. Python's own 700 cost a sixth of a call's
processor time. With 50,000, one collection stopped the event loop for 20 to 50 ms; with 5,000, it takes 3 ms."""


def run(main: Callable[..., Awaitable[T]], *arguments: Any) -> T:
    """Run an asynchronous function to its end in a new event loop."""
    gc.set_threshold(*COLLECTED_AFTER)
    return anyio.run(main, *arguments, backend_options={"use_uvloop": find_spec("uvloop") is not None})


def settle() -> None:
    """Exclude all current objects from later garbage collections; a second call has no effect.

    llm, its plugins and the SDKs are some 200,000 objects. A collection that goes through them takes 100 ms.
    """
    if not gc.get_freeze_count():
        gc.freeze()
