"""The server of ready processes: it imports once, and forks for each requested command.

It ends when its stdin does, so it does not outlive the tests.
"""

import ast
import atexit
import gc
import importlib
import os
import pkgutil
import runpy
import select
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Mapping
from typing import NamedTuple, NoReturn

import consortium_mcp
from tests.ready.launcher import MOST_BYTES, PASSED_ON

BEGINS_OTHERWISE = ("PYTHON", "LC_", "LANG", "LLM_LOAD_PLUGINS")
"""The prefixes of environment variables that Python or llm read at their start."""


class Command(NamedTuple):
    """A requested command: arguments of `python`, folder, environment, and ignored signals."""

    arguments: list[str]
    folder: str
    environment: dict[str, str]
    ignored: list[int]


def import_all() -> None:
    """Import everything that commands import; importing does no work."""
    importlib.import_module("llm.cli")  # loads llm's plugins
    for module in pkgutil.walk_packages(consortium_mcp.__path__, "consortium_mcp."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def serve(listener: socket.socket) -> Command | None:
    """Fork for each request.

    Returns:
        In a forked process: its command. None in the server, when it should end.
    """
    while True:
        readable, _, _ = select.select([listener.fileno(), 0], [], [])
        if 0 in readable:
            return None
        asking, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            return attend(asking)
        asking.close()


def attend(asking: socket.socket) -> Command:
    """Fork the command, report its pid and its exit status; it ends with its requester. Returns only in the command."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    message, files, _, _ = socket.recv_fds(asking, MOST_BYTES, 3)
    pid = os.fork()
    if pid == 0:
        asking.close()
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        return Command(*ast.literal_eval(message.decode()))
    for file in (0, 1, 2, *files):
        os.close(file)  # otherwise no process that waits for their end would see it
    try:
        asking.send(str(pid).encode())
        readable, _, _ = select.select([asking.fileno(), os.pidfd_open(pid)], [], [])
        if asking.fileno() in readable:
            os.kill(pid, signal.SIGKILL)
        asking.send(str(os.waitpid(pid, 0)[1]).encode())
    finally:
        os._exit(0)


def become(command: Command) -> NoReturn:
    """Become the command, on the files 0, 1 and 2, as a newly started Python, and end."""
    os.chdir(command.folder)
    for one in PASSED_ON:
        begins = signal.default_int_handler if one == signal.SIGINT else signal.SIG_DFL
        signal.signal(one, signal.SIG_IGN if one in command.ignored else begins)
    if command.arguments[0] != "-m" or begins_otherwise(command.environment):
        os.execve(sys.executable, [sys.executable, *command.arguments], command.environment)
    os.environ.clear()
    os.environ.update(command.environment)
    sys.stdin = open(0, closefd=False)
    sys.stdout = open(1, "w", closefd=False)
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    _, module, *rest = command.arguments
    sys.argv = [module, *rest]
    sys.path[0] = command.folder
    status: object = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as ending:
        status = ending.code or 0
    except BaseException:
        traceback.print_exc()
        status = 1
    end(status)


def end(status: object) -> NoReturn:
    """End as Python does, but without freeing imports: memory shared with the server would be copied."""
    if not isinstance(status, int):
        print(status, file=sys.stderr)
        status = 1
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads that are no daemons
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def begins_otherwise(environment: dict[str, str]) -> bool:
    """Whether Python or llm would start differently in this environment than in the current one."""
    return _looked_at(os.environ) != _looked_at(environment)


def _looked_at(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(BEGINS_OTHERWISE)}


def main() -> None:
    """Serve on the listening socket of that number; in a forked process, be the command."""
    import_all()
    gc.freeze()  # what is there by now is not looked at, and stays shared
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that runs the tests
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no process waits for these children
    if command := serve(socket.socket(fileno=int(sys.argv[1]))):
        become(command)


if __name__ == "__main__":
    main()
