"""Exports runs as JSON lines, Markdown, or one HTML page."""

from collections.abc import Callable, Iterable
from typing import Literal, get_args

from consortium_mcp.records import Run
from consortium_mcp.reports.html import page
from consortium_mcp.reports.markdown import transcript

ExportFormat = Literal["jsonl", "md", "html"]
"""The formats of exported runs."""

_WRITERS: dict[ExportFormat, Callable[[Iterable[Run]], Iterable[str]]] = {
    "jsonl": lambda runs: (f"{run.model_dump_json()}\n" for run in runs),
    "md": lambda runs: (f"{transcript(run)}\n\n" for run in runs),
    "html": lambda runs: [page(runs)],
}

EXPORT_FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)


def exported(runs: Iterable[Run], form: ExportFormat) -> Iterable[str]:
    """The runs in this format, in pieces."""
    return _WRITERS[form](runs)
