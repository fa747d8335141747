"""A real terminal for tests: a command in tmux, whose screen can be read and whose keys can be pressed."""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

OURS = (sys.executable, "-m", "consortium_mcp")


class Terminal:
    """`python -m consortium_mcp …` in a terminal of its own, for the length of a `with`; its environment is ours.

    Args:
        folder: an empty one, for tmux's socket and what the command leaves.
        program: what is started with the arguments.
    """

    def __init__(
        self, folder: Path, *arguments: str, columns: int = 100, lines: int = 40, program: Sequence[str] = OURS
    ) -> None:
        self._socket = str(folder / "tmux")
        self._exit_status = folder / "exit-status"
        command = f"{shlex.join([*program, *arguments])}; echo $? > {self._exit_status}"
        # What follows keeps the screen there to be read when the command has ended.
        self._start = ["new-session", "-d", "-x", str(columns), "-y", str(lines), f"{command}; exec sleep 600"]

    def __enter__(self) -> "Terminal":
        self._tmux(*self._start)
        return self

    def __exit__(self, *_: object) -> None:
        self._tmux("kill-server")

    @property
    def screen(self) -> str:
        """What stands on it now."""
        return self._tmux("capture-pane", "-p", "-J")

    @property
    def styled_screen(self) -> str:
        """What stands on it now, with the escapes of its colours."""
        return self._tmux("capture-pane", "-p", "-e")

    def wait_until(self, condition: Callable[[str], bool], timeout: float = 60) -> str:
        """The screen, once it is so."""
        ends = time.monotonic() + timeout
        while not condition(screen := self.screen):
            assert time.monotonic() < ends, f"after {timeout} seconds the screen is:\n{screen}"
            time.sleep(0.1)  # tmux has no event for what a program draws
        return screen

    def wait_for(self, text: str) -> str:
        """The screen, once it has this text."""
        return self.wait_until(lambda screen: text in screen)

    def wait_for_exit(self) -> int:
        """The command's exit status, once it has ended."""
        self.wait_until(lambda _: self._exit_status.exists() and self._exit_status.read_text() != "")
        return int(self._exit_status.read_text())

    def type(self, text: str) -> None:
        """Type a text as it stands."""
        self._tmux("send-keys", "-l", "--", text)

    def press(self, *keys: str) -> None:
        """Press keys, as tmux names them: `C-c`, `y`, `Enter`."""
        self._tmux("send-keys", *keys)

    def _tmux(self, *arguments: str) -> str:
        environment = {name: value for name, value in os.environ.items() if name != "TMUX"} | {"LC_ALL": "C.UTF-8"}
        command = ["tmux", "-S", self._socket, "-f", "/dev/null", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
