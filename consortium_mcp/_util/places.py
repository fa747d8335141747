"""A limited number of places for the whole process, over all its event loops, in first-come order."""

import asyncio
import threading
from collections import deque
from concurrent.futures import Future


class Places:
    """A limit on simultaneous work; unlike anyio's, it holds over all event loops of the process."""

    def __init__(self, total: int) -> None:
        self._lock = threading.Lock()
        self._free = total
        self._waiting: deque[Future[None]] = deque()

    async def take(self) -> None:
        """Take a place, at once if one is free; a cancelled caller has none."""
        with self._lock:
            if self._free:
                self._free -= 1
                return
            turn: Future[None] = Future()
            self._waiting.append(turn)
        try:
            await asyncio.wrap_future(turn)
        except BaseException:
            if not turn.cancel():  # it was assigned to us meanwhile
                self.release()
            raise

    def release(self) -> None:
        """Release a place, to the next caller that waits."""
        with self._lock:
            while self._waiting:
                turn = self._waiting.popleft()
                if turn.set_running_or_notify_cancel():
                    turn.set_result(None)
                    return
            self._free += 1

    async def __aenter__(self) -> None:
        await self.take()

    async def __aexit__(self, *_: object) -> None:
        self.release()
