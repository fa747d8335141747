"""What is printed on: in UTF-8 in every locale; a stdout whose reader has left, or whose disk is full."""

import errno
import io
import os
import select
import stat
import sys
from typing import TextIO

UNWRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""Why a file or a device takes no more; a reader that has left is EPIPE."""


def print_utf8() -> None:
    """Let stdout and stderr take every text: pipes and files in UTF-8, a terminal as well as its locale can."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # and no object that replaces it, or None where it is closed
            if stream.isatty():
                stream.reconfigure(errors="replace")
            else:
                stream.reconfigure(encoding="utf-8", errors="replace")


def has_no_reader(stream: TextIO | None) -> bool:
    """Whether a stream is a pipe or a socket whose other end is closed; False where that cannot be known."""
    if stream is None or not hasattr(select, "poll"):
        return False
    try:
        descriptor = stream.fileno()
        mode = os.fstat(descriptor).st_mode
    except (OSError, ValueError):  # replaced by an object of Python's, or closed
        return False
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        return False
    poll = select.poll()
    poll.register(descriptor, 0)  # errors and hang-ups are always reported
    return any(events & (select.POLLERR | select.POLLNVAL) for _, events in poll.poll(0))


def why_unwritable(error: OSError) -> str | None:
    """What is said of a stdout that takes no more, whose rest is then discarded; None for any other error."""
    if error.errno not in UNWRITABLE or error.filename is not None:
        return None
    discard_stdout()
    return f"stdout cannot be written: {error.strerror}."


def discard_stdout() -> None:
    """Let what is still buffered for stdout go nowhere, so that the end of the process does not fail over it."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    except (OSError, ValueError, AttributeError):  # stdout is an object of Python's, or closed
        pass
