"""The current caller: the name that a request's token belongs to, available to all work for the request."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_name: ContextVar[str | None] = ContextVar("caller", default=None)


def current_caller() -> str | None:
    """The caller's name; None on stdio, on the command line, in Python, and on a server without tokens."""
    return _name.get()


@contextmanager
def calling(name: str | None) -> Iterator[None]:
    """Work inside this context is for this caller, including tasks and anyio threads that are started in it."""
    token = _name.set(name)
    try:
        yield
    finally:
        _name.reset(token)
