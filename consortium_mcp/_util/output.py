"""Makes the output streams UTF-8 in every locale, and handles a stdout that cannot be written."""

import errno
import io
import os
import select
import stat
import sys
from typing import TextIO

UNWRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""The errors of a file or a device that cannot be written; EPIPE means that the reader has left."""


def print_utf8() -> None:
    """Let stdout and stderr accept every text: pipes and files in UTF-8, a terminal as far as its locale can."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # not an object that replaces it, nor None if it is closed
            if stream.isatty():
                stream.reconfigure(errors="replace")
            else:
                stream.reconfigure(encoding="utf-8", errors="replace")


def has_no_reader(stream: TextIO | None) -> bool:
    """Whether a stream is a pipe or a socket whose other end is closed; False if that is unknown."""
    if stream is None or not hasattr(select, "poll"):
        return False
    try:
        descriptor = stream.fileno()
        mode = os.fstat(descriptor).st_mode
    except (OSError, ValueError):  # replaced by a Python object, or closed
        return False
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        return False
    poll = select.poll()
    poll.register(descriptor, 0)  # errors and hang-ups are always reported
    return any(events & (select.POLLERR | select.POLLNVAL) for _, events in poll.poll(0))


def why_unwritable(error: OSError) -> str | None:
    """The message for a stdout that cannot be written, whose rest is then discarded; None for any other error."""
    if error.errno not in UNWRITABLE or error.filename is not None:
        return None
    discard_stdout()
    return f"stdout cannot be written: {error.strerror}."


def discard_stdout() -> None:
    """Discard the buffered output for stdout, so that the process does not fail at its end."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    except (OSError, ValueError, AttributeError):  # stdout is a Python object, or closed
        pass
