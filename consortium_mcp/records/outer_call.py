"""The outer call: a consortium that is a member opens its run inside the run that asks it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from consortium_mcp.records import Parent


@dataclass(frozen=True)
class OuterCall:
    """A call that is being made."""

    parent: Parent
    """The run of the outer call, and its call id."""

    owner: str
    """The name of the process that holds the run, as in its lease."""

    heard: Callable[[], None] = lambda: None
    """Called from any thread at each sign that the call's model is still sending."""


_call: ContextVar[OuterCall | None] = ContextVar("outer_call", default=None)


def outer_call() -> OuterCall | None:
    """The call that is being made here; None outside of every run."""
    return _call.get()


def give_sign_of_life() -> None:
    """Tell the call that is being made here that its model is still sending; outside of every run nothing happens."""
    if call := _call.get():
        call.heard()


@contextmanager
def within_call(call: OuterCall) -> Iterator[None]:
    """What is inside is done for this call, tasks and threads with a copy of the context included."""
    token = _call.set(call)
    try:
        yield
    finally:
        _call.reset(token)
