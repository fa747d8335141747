"""Ready processes: Python that has already imported llm and consortium_mcp, forked for each command.

A command spends one or two seconds of processor time on importing llm and the SDKs, and the tests start some nine
hundred. Tests that depend on a cold start (imports, memory, a kill) start Python itself.
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
"""The environment before a test changes it."""

is_used = hasattr(os, "pidfd_open")  # Linux has it
"""Whether commands use ready processes; otherwise Python is started."""

_servers: list[subprocess.Popen[bytes]] = []
"""Kept, so that the pipe to its stdin stays open."""


def python(*arguments: str) -> list[str]:
    """The command line of `python …`, which starts sooner if it is `python -m …`.

    It is a separate process, with its own arguments, environment, folder and files. SIGINT, SIGTERM, SIGHUP, the exit
    status and the end of its starter are passed on; its pid is unknown to the starter.
    """
    if not is_used:
        return [sys.executable, *arguments]
    return [sys.executable, "-I", "-S", str(_LAUNCHER), _server(), *arguments]


@functools.cache
def _server() -> str:
    """Start the forking server, which ends with this process through its stdin; returns the path of its socket."""
    path, folder = f"{tempfile.mkdtemp()}/ready", Path(__file__).parents[2]
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(path)
        listener.listen(100)  # a request waits until everything is imported
        number, pipe = listener.fileno(), subprocess.PIPE
        command = [sys.executable, "-m", "tests.ready.server", str(number)]
        process = subprocess.Popen(command, stdin=pipe, pass_fds=[number], env=_ENVIRONMENT, cwd=folder)
    _servers.append(process)
    return path
