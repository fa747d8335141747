"""The end of a server's process: its runs are closed first, and a part that hangs is not waited for.

A plugin may hang in a thread, another process may hold the disk, the SDK reads stdin in a thread that cannot be woken.
"""

import os
import threading
from typing import NoReturn

GRACE_SECONDS = 1.5
"""How long closing may take once the end has begun; hosts kill after two."""


def end_soon(status: int) -> None:
    """Begin the end: after `GRACE_SECONDS` the process ends with this status, if it has not by then."""
    timer = threading.Timer(GRACE_SECONDS, end_now, [status])
    timer.daemon = True
    timer.start()


def end_now(status: int) -> NoReturn:
    """End the process without a look at its threads; stderr is never buffered, and stdout belongs to the SDK."""
    os._exit(status)
