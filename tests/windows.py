"""Our command on a system like Windows: `python -m tests.windows …` is `consortium-mcp …` there.

Other people's packages are imported as they are here. Then the names that Windows does not have are gone, the platform
is `win32`, and signals cannot be awaited on the event loop. Our own modules are imported after that.
"""

import asyncio
import importlib
import os
import signal
import socket
import sys
from typing import Any, NoReturn

MODULES = ("fcntl", "grp", "pwd", "resource", "termios", "tty", "uvloop")
NAMES: dict[Any, tuple[str, ...]] = {
    os: (
        "O_NOFOLLOW",
        "O_NONBLOCK",
        "O_DIRECTORY",
        "fchmod",
        "getuid",
        "geteuid",
        "getgid",
        "sched_getaffinity",
        "statvfs",
    ),
    signal: ("SIGHUP", "SIGKILL", "SIGUSR1", "SIGUSR2"),
    socket: ("AF_UNIX",),
}
"""What Windows does not have, of what our code could use."""

THEIRS = (
    "aiohttp",
    "anyio._backends._asyncio",
    "click",
    "httpx2",
    "llm",
    "mcp",
    "mcp.client.stdio",
    "openai",
    "trio",
)
SERVING = (
    "mcp.server.stdio",
    "platformdirs",
    "rich.console",
    "rich.live",
    "rich.markdown",
    "sqlite_utils",
    "starlette",
)


def become_windows() -> None:
    """Take away what Windows does not have, before our modules are imported."""
    for name in (*THEIRS, *SERVING, "uvicorn.main", "opentelemetry.trace"):
        importlib.import_module(name)
    for name in MODULES:
        sys.modules[name] = None  # type: ignore[assignment]
    pair, family = socket.socketpair, socket.AF_UNIX
    socket.socketpair = lambda *_, **__: pair(family)  # the event loop's own, which Windows makes in another way
    for module, names in NAMES.items():
        for name in names:
            if hasattr(module, name):
                delattr(module, name)
    assert "consortium_mcp" not in sys.modules
    setattr(asyncio.SelectorEventLoop, "add_signal_handler", _not_there)  # noqa: B010 - mypy knows its parameters
    sys.platform = "win32"


def _not_there(*_: object) -> NoReturn:
    raise NotImplementedError


if __name__ == "__main__":
    become_windows()
    from consortium_mcp.cli import main

    main(prog_name="consortium-mcp")
