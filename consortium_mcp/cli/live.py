"""The live table of a run: each instance's state, time and tokens, on a terminal's stderr."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from consortium_mcp.records import CallProgress, Progress

_STYLES = {"thinking": "yellow", "waiting": "magenta", "answered": "green", "failed": "red", "late": "red"}


class LiveTable:
    """A run's table, which updates its seconds by itself."""

    def __init__(self) -> None:
        self._progress: Progress | None = None

    def show(self, progress: Progress) -> None:
        """Show this progress from now on."""
        self._progress = progress

    def __rich__(self) -> Table | Text:
        """The table as of now."""
        if self._progress is None or not self._progress.calls:
            return Text("starting")
        title = f"Iteration {self._progress.iteration}" if self._progress.iteration > 1 else None
        table = Table("Who", "State", title=title, title_justify="left")
        table.add_column("Seconds", justify="right")
        table.add_column("Tokens", justify="right")
        asked_member = True
        for call in self._progress.calls:
            if asked_member and not call.asks_member:
                table.add_section()
            asked_member = call.asks_member
            table.add_row(
                Text(call.label), _state(call), _seconds(call), "" if call.tokens is None else f"{call.tokens:,}"
            )
        return table


@contextmanager
def live_table() -> Iterator[LiveTable]:
    """A table on stderr; without output if stderr is not a terminal."""
    table, console = LiveTable(), Console(stderr=True)
    if not console.is_terminal:
        yield table
        return
    with Live(table, console=console, refresh_per_second=4):
        yield table


def _state(call: CallProgress) -> Text:
    kind = f": {call.error_kind}" if call.error_kind else ""
    return Text(f"{call.state}{kind}", style=_STYLES[call.state])


def _seconds(call: CallProgress) -> str:
    if call.duration_ms is not None:
        return f"{call.duration_ms / 1000:.1f}"
    if call.began_utc is None or not call.is_open:
        return ""
    return f"{max(0.0, (datetime.now(UTC) - datetime.fromisoformat(call.began_utc)).total_seconds()):.1f}"
