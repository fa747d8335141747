"""Who calls: the name that a request's token belongs to, known to everything that is done for the request."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_name: ContextVar[str | None] = ContextVar("caller", default=None)


def current_caller() -> str | None:
    """The caller's name; None on stdio, on the command line, in Python, and where a server asks for no token."""
    return _name.get()


@contextmanager
def calling(name: str | None) -> Iterator[None]:
    """Do what is inside for this caller; tasks and anyio's threads that are begun there are the caller's too."""
    token = _name.set(name)
    try:
        yield
    finally:
        _name.reset(token)
