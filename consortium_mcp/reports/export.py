"""Exports runs as JSON lines, Markdown, or one HTML page."""

import base64
import json
from collections.abc import Callable, Iterable
from typing import Literal, get_args

from consortium_mcp.records import AttachmentFile, Run
from consortium_mcp.reports.html import page
from consortium_mcp.reports.markdown import transcript

ExportFormat = Literal["jsonl", "md", "html"]
"""The formats of exported runs."""

_WRITERS: dict[ExportFormat, Callable[[Iterable[Run]], Iterable[str]]] = {
    "jsonl": lambda runs: (f"{_line(run)}\n" for run in runs),
    "md": lambda runs: (f"{transcript(run)}\n\n" for run in runs),
    "html": lambda runs: [page(runs)],
}

EXPORT_FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)


def _line(run: Run) -> str:
    """The run as JSON, with the content of each attachment that has it, in base64."""
    record = run.model_dump(mode="json")
    for place, one in enumerate(run.attachments):
        if isinstance(one, AttachmentFile):
            record["attachments"][place]["content"] = base64.b64encode(one.content).decode()
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")) if run.attachments else run.model_dump_json()


def exported(runs: Iterable[Run], form: ExportFormat) -> Iterable[str]:
    """The runs in this format, in pieces."""
    return _WRITERS[form](runs)
