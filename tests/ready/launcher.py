"""Requests a ready process, stands in for it while it runs, and ends with its status.

Python runs this file without `site` and knows nothing of its package, so that it begins in no time.
"""

import os
import signal
import socket
import sys

PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that reach the process; others are not passed on."""

MOST_BYTES = 1_000_000
"""The most bytes of a command with its environment."""


def main(path: str, *arguments: str) -> None:
    """Run Python with these arguments; the path is that of the server's socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MOST_BYTES)
        server.connect(path)
        ignored = [int(one) for one in PASSED_ON if signal.getsignal(one) == signal.SIG_IGN]
        asked = repr((arguments, os.getcwd(), dict(os.environ), ignored)).encode()
        socket.send_fds(server, [asked], [0, 1, 2])
        pid = int(server.recv(100))
        for one in PASSED_ON:
            signal.signal(one, lambda number, _: os.kill(pid, number))
        status = int(server.recv(100))
    if os.WIFSIGNALED(status):
        signal.signal(os.WTERMSIG(status), signal.SIG_DFL)
        os.kill(os.getpid(), os.WTERMSIG(status))
    os._exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main(*sys.argv[1:])
