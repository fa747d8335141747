"""What each part of the store is made of: methods that are awaited in an event loop, and called by `sync` elsewhere."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, overload

from consortium_mcp.store.database import DatabaseFile

P = ParamSpec("P")
T = TypeVar("T")
PartT = TypeVar("PartT", bound="Part")


class Part:
    """One subject of the store, over the file that all parts share."""

    def __init__(self, database: DatabaseFile) -> None:
        self.database = database


class Await(Protocol):
    """Runs a call in the thread that it belongs to."""

    def __call__(self, call: Callable[[], T]) -> Awaitable[T]: ...


class StoreMethod(Generic[P, T]):
    """A method of a part: awaited in an event loop, or called by `sync` where waiting holds up no one else."""

    def __init__(self, run: Await, sync: Callable[P, T]) -> None:
        self._run = run
        self.sync = sync

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._run(partial(self.sync, *args, **kwargs))


class _Declared(Generic[PartT, P, T]):
    """A method as a part's class has it."""

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
    """A method that reads; awaited, it runs in the one thread that reads."""
    return _Declared(function, is_write=False)


def writes(function: Callable[Concatenate[PartT, P], T]) -> _Declared[PartT, P, T]:
    """A method that writes; awaited, it runs in the one thread that writes, to its end even when we are cancelled."""
    return _Declared(function, is_write=True)
