"""The outer call: a consortium that is a member opens its run as a nested run of this call."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from consortium_mcp.records import Parent


@dataclass(frozen=True)
class OuterCall:
    """A call that is under way."""

    parent: Parent
    """The run of the outer call, and its call id."""

    owner: str
    """The name of the process that holds the run, as in its lease."""

    heard: Callable[[], None] = lambda: None
    """Called from any thread at each sign that the call's model is still sending."""


_call: ContextVar[OuterCall | None] = ContextVar("outer_call", default=None)


def outer_call() -> OuterCall | None:
    """The outer call of the current context; None outside every run."""
    return _call.get()


def give_sign_of_life() -> None:
    """Tell the current outer call that its model is still sending; without effect outside runs."""
    if call := _call.get():
        call.heard()


@contextmanager
def within_call(call: OuterCall) -> Iterator[None]:
    """Everything inside this context, with tasks and threads that copy it, belongs to this call."""
    token = _call.set(call)
    try:
        yield
    finally:
        _call.reset(token)
