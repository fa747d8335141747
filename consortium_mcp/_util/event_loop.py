"""The event loop of our own processes: uvloop's if it is installed, with rare garbage collection."""

import gc
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from typing import Any, TypeVar

import anyio

T = TypeVar("T")

COLLECTED_AFTER = (50_000, 10, 10)
"""The number of new objects before a collection, for `gc.set_threshold`. Python's own 700 cost a sixth of a call's
processor time, because each collection visits the objects of llm and the SDKs. A full collection occurs once in some
1,000 consults.
"""


def run(main: Callable[..., Awaitable[T]], *arguments: Any) -> T:
    """Run an asynchronous function to its end in a new event loop."""
    gc.set_threshold(*COLLECTED_AFTER)
    return anyio.run(main, *arguments, backend_options={"use_uvloop": find_spec("uvloop") is not None})
