"""A limited number of places for the whole process, over all its event loops; callers that wait take turns."""

import asyncio
import threading
from collections import Counter, deque
from concurrent.futures import Future

from consortium_mcp._util.caller import current_caller


class Places:
    """A limit on simultaneous work; unlike anyio's, it holds over all event loops of the process.

    One named caller holds at most three quarters of the places. The callers that wait get the next places in turn, each
    in the order in which it asked.
    """

    def __init__(self, total: int) -> None:
        self._lock = threading.Lock()
        self._free = total
        self._most_of_caller = total - total // 4
        self._held: Counter[str | None] = Counter()
        self._waiting: dict[str | None, deque[Future[None]]] = {}

    async def take(self) -> None:
        """Take a place, at once if one is free; a cancelled caller has none."""
        caller = current_caller()
        with self._lock:
            if self._free and self._has_share(caller):
                self._hold(caller)
                return
            turn: Future[None] = Future()
            self._waiting.setdefault(caller, deque()).append(turn)
        try:
            await asyncio.wrap_future(turn)
        except BaseException:
            if not turn.cancel():  # it was assigned to us meanwhile
                self.release()
            raise

    def release(self) -> None:
        """Release a place of the current caller, to the next one that waits."""
        caller = current_caller()
        with self._lock:
            self._free += 1
            self._held[caller] -= 1
            if not self._held[caller]:
                del self._held[caller]
            while self._free and self._give_next():
                pass

    def _has_share(self, caller: str | None) -> bool:
        return caller is None or self._held[caller] < self._most_of_caller

    def _hold(self, caller: str | None) -> None:
        self._free -= 1
        self._held[caller] += 1

    def _give_next(self) -> bool:
        """Give a place to the next caller that may have one; returns whether any caller may."""
        callers = [caller for caller in self._waiting if self._has_share(caller)]
        if not callers:
            return False
        caller = callers[0]
        turns = self._waiting.pop(caller)
        turn = turns.popleft()
        if turns:
            self._waiting[caller] = turns  # behind the other callers
        if turn.set_running_or_notify_cancel():
            self._hold(caller)
            turn.set_result(None)
        return True

    async def __aenter__(self) -> None:
        await self.take()

    async def __aexit__(self, *_: object) -> None:
        self.release()
