"""Places of which a process has so many, whichever of its event loops take them, in the order in which they asked."""

import asyncio
import threading
from collections import deque
from concurrent.futures import Future


class Places:
    """A limit on how much is done at once; unlike anyio's, it holds over all event loops of the process."""

    def __init__(self, total: int) -> None:
        self._lock = threading.Lock()
        self._free = total
        self._waiting: deque[Future[None]] = deque()

    async def take(self) -> None:
        """Take a place, at once where one is free; one that is cancelled has none."""
        with self._lock:
            if self._free:
                self._free -= 1
                return
            turn: Future[None] = Future()
            self._waiting.append(turn)
        try:
            await asyncio.wrap_future(turn)
        except BaseException:
            if not turn.cancel():  # it was given to us in the meantime
                self.release()
            raise

    def release(self) -> None:
        """Give a place back, to the next one that waits."""
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
