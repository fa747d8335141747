"""Shares one service among the consults of an event loop with equal settings; it is closed when the loop ends."""

import asyncio
import atexit
import os
import threading
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import cache
from pathlib import Path

import anyio.to_thread
from anyio.lowlevel import RunVar

from consortium_mcp._util.places import Places
from consortium_mcp.records.outer_call import outer_call
from consortium_mcp.service.service import ConsortiumService
from consortium_mcp.settings import Settings, current_settings, llm_user_path

_Key = tuple[Settings, Path]
"""The key of a shared service: the settings, and llm's folder."""


@asynccontextmanager
async def shared_service(settings: Settings | None = None) -> AsyncIterator[ConsortiumService]:
    """The service of this event loop, for one consult; consults above the limit wait here for their turn.

    A consult inside another one uses the turn of the outer one.

    Args:
        settings: None means those in use, else the environment's.

    Raises:
        ConsortiumError: the settings cannot be read, or the store cannot be opened.
    """
    _close_those_of_closed_loops()
    service = await _kept_here(settings or current_settings()).opened()
    async with service.limits.consults if outer_call() is None else Places(1):
        yield service


class _KeptService:
    """A service that stays open until its event loop ends."""

    def __init__(self, settings: Settings) -> None:
        """Create it without opening anything; the first consult opens the service."""
        self.loop = asyncio.get_running_loop()
        self.process = os.getpid()
        self._settings = settings
        self._lock = threading.Lock()
        self._service: ConsortiumService | None = None
        self._end = self._close_with_loop()
        self._is_kept = False

    async def opened(self) -> ConsortiumService:
        """The service, opened by the first consult."""
        if not self._is_kept:
            self._is_kept = True
            _kept.add(self)
            await anext(self._end)
        if self._service is None:
            await anyio.to_thread.run_sync(self._open)
        assert self._service is not None
        return self._service

    def close(self) -> None:
        """Close it from outside its loop, if the loop ended abnormally or never ends."""
        if not (self.loop.is_closed() or self.loop.is_running()):
            self.loop.run_until_complete(self._end.aclose())
            return
        if self.loop.is_closed():
            with suppress(StopIteration, RuntimeError):  # as far as possible without a loop
                self._end.aclose().send(None)
        self._close()

    async def _close_with_loop(self) -> AsyncGenerator[None, None]:
        """Wait for the loop's end: at its end, asyncio closes every asynchronous generator that was begun in it."""
        try:
            yield
        finally:
            if self._service is not None:
                await self._service.clients.aclose(self.loop)
            self._close()

    def _open(self) -> None:
        with self._lock:
            self._service = self._service or ConsortiumService(self._settings)

    def _close(self) -> None:
        _kept.discard(self)
        with self._lock:  # a cancelled consult may still be opening it
            if self._service is not None:
                self._service.close()


_of_loop: RunVar[dict[_Key, _KeptService]] = RunVar("kept_services")
_kept: set[_KeptService] = set()
"""All open services of this process. In a forked process, the parent's are included and are not touched."""


def _kept_here(settings: Settings) -> _KeptService:
    _at_exit()
    here = _of_loop.get({})
    _of_loop.set(here)
    key = (settings, llm_user_path())
    if key not in here:
        here[key] = _KeptService(settings)
    return here[key]


def _close_those_of_closed_loops() -> None:
    for kept in list(_kept):
        if kept.loop.is_closed():
            _close(kept)


@cache
def _at_exit() -> None:
    atexit.register(_close_all)


def _close_all() -> None:
    for kept in list(_kept):
        _close(kept)


def _close(kept: _KeptService) -> None:
    if kept.process == os.getpid():
        with suppress(KeyError):  # another thread was faster
            _kept.remove(kept)
            kept.close()
