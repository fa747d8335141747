"""The base of the store's parts: methods that are awaited in an event loop, and called by `sync` elsewhere."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, overload

from consortium_mcp.store.database import DatabaseFile

P = ParamSpec("P")
T = TypeVar("T")
PartT = TypeVar("PartT", bound="Part")


class Part:
    """One subject of the store; all parts share the file."""

    def __init__(self, database: DatabaseFile) -> None:
        self.database = database


class Await(Protocol):
    """Runs a call in the thread for it."""

    def __call__(self, call: Callable[[], T]) -> Awaitable[T]: ...


class StoreMethod(Generic[P, T]):
    """A method of a part: awaited in an event loop, or called by `sync` where blocking is allowed."""

    def __init__(self, run: Await, sync: Callable[P, T]) -> None:
        self._run = run
        self.sync = sync

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._run(partial(self.sync, *args, **kwargs))


class _Declared(Generic[PartT, P, T]):
    """A method as declared in a part's class."""

    def __init__(self, function: Callable[Concatenate[PartT, P], T], *, is_write: bool) -> None:
        self.__doc__ = function.__doc__
        self._function = function
        self._is_write = is_write

    @overload
    def __get__(self, part: None, owner: type[PartT]) -> "_Declared[PartT, P, T]": ...

    @overload
    def __get__(self, part: PartT, owner: type[PartT]) -> StoreMethod[P, T]: ...

    def __get__(self, part: PartT | None, owner: type[PartT]) -> Any:
        if part is None:
            return self
        run: Await = part.database.in_writer if self._is_write else part.database.in_reader
        return StoreMethod(run, partial(self._function, part))


def reads(function: Callable[Concatenate[PartT, P], T]) -> _Declared[PartT, P, T]:
    """A method that reads; when awaited, it runs in a reader thread."""
    return _Declared(function, is_write=False)


def writes(function: Callable[Concatenate[PartT, P], T]) -> _Declared[PartT, P, T]:
    """A method that writes; when awaited, it runs in the writer thread, to its end even if we are cancelled."""
    return _Declared(function, is_write=True)
