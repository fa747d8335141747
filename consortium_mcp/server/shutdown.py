"""Ends a server's process: closes its runs first, and does not wait for parts that hang.

A plugin may hang in a thread, another process may lock the disk, and the SDK's thread that reads stdin cannot be woken.
"""

import os
import threading
from typing import NoReturn

GRACE_SECONDS = 1.5
"""The seconds that closing may take after the end has begun; hosts kill the process after two."""


def end_soon(status: int) -> None:
    """Begin to end the process: after `GRACE_SECONDS` at the latest, it ends with this status."""
    timer = threading.Timer(GRACE_SECONDS, end_now, [status])
    timer.daemon = True
    timer.start()


def end_now(status: int) -> NoReturn:
    """End the process without waiting for its threads; stderr is unbuffered, and stdout belongs to the SDK."""
    os._exit(status)
