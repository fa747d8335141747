"""Processes that begin ready: Python that has imported llm and consortium_mcp already, forked for each command.

A command spends a second or two of processor on importing llm and the SDKs behind it, and the tests start some nine
hundred. What depends on a cold start (imports, memory, a kill) starts Python itself.
"""

import functools
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

_LAUNCHER = Path(__file__).with_name("launcher.py")
_ENVIRONMENT = dict(os.environ)
"""What it is before a test changes it."""

is_used = hasattr(os, "pidfd_open")  # Linux has it
"""Whether commands begin ready; else Python is started."""

_servers: list[subprocess.Popen[bytes]] = []
"""Kept, so that the pipe to its stdin stays open."""


def python(*arguments: str) -> list[str]:
    """The command line of `python …`, which begins sooner when it is `python -m …`.

    It is a process of its own, with its own arguments, environment, folder and files. SIGINT, SIGTERM, SIGHUP, the exit
    status and the end of whoever started it are passed on; it has a pid that the starter does not know.
    """
    if not is_used:
        return [sys.executable, *arguments]
    return [sys.executable, "-I", "-S", str(_LAUNCHER), _server(), *arguments]


@functools.cache
def _server() -> str:
    """Start what forks, which ends with this process: its stdin ends then. The path of its socket."""
    path, folder = f"{tempfile.mkdtemp()}/ready", Path(__file__).parents[2]
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(path)
        listener.listen(100)  # who asks before everything is imported waits
        number, pipe = listener.fileno(), subprocess.PIPE
        command = [sys.executable, "-m", "tests.ready.server", str(number)]
        process = subprocess.Popen(command, stdin=pipe, pass_fds=[number], env=_ENVIRONMENT, cwd=folder)
    _servers.append(process)
    return path
