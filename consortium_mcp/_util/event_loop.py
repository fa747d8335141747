"""The event loop of our own processes: uvloop's where it is installed, and seldom stopped to collect garbage."""

import gc
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from typing import Any, TypeVar

import anyio

T = TypeVar("T")

COLLECTED_AFTER = (50_000, 10, 10)
"""How many new objects make a collection, as `gc.set_threshold` takes them: Python's own 700 cost a sixth of a call's
processor time, because each goes through what llm and the SDKs keep. All that is old is gone through once in some
1,000 consults."""


def run(main: Callable[..., Awaitable[T]], *arguments: Any) -> T:
    """Run an asynchronous function to its end in an event loop of its own."""
    gc.set_threshold(*COLLECTED_AFTER)
    return anyio.run(main, *arguments, backend_options={"use_uvloop": find_spec("uvloop") is not None})
