"""Prints a run: as Markdown without control sequences on a terminal; only the answer to a pipe."""

import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import click
from rich.console import Console
from rich.markdown import Markdown

from consortium_mcp._util.output import why_unwritable
from consortium_mcp._util.private_files import create_private
from consortium_mcp.errors import NextStep, OutputError
from consortium_mcp.records import Run
from consortium_mcp.reports.markdown import about_answer, answer_text, usage_text
from consortium_mcp.reports.trust import trust_line
from consortium_mcp.text.templates import plain


def say(text: str, *, nl: bool = True, err: bool = False) -> None:
    """Print a foreign text; on a terminal, only its visible characters."""
    click.echo(plain(text) if is_terminal(sys.stderr if err else sys.stdout) else text, nl=nl, err=err)


def is_terminal(stream: TextIO | None) -> bool:
    """Whether the stream is a terminal; None is a stream that the parent process has closed."""
    return stream is not None and stream.isatty()


def print_run(run: Run, *, raw: bool = False) -> None:
    """Print the answer on stdout, and everything about it on stderr."""
    selected = run.iterations[(run.selected_iteration or 1) - 1]
    if raw and selected.raw_verdict:
        say(selected.raw_verdict)
    elif is_terminal(sys.stdout):
        Console().print(Markdown(plain(answer_text(run, between="\n\n")), hyperlinks=False))
    else:
        click.echo(answer_text(run))
    about = [trust_line(run), about_answer(run), f"Used: {usage_text(run.usage)}"]
    say("\n".join(line for line in about if line), err=True)


@contextmanager
def told_where_kept(run_id: str) -> Iterator[None]:
    """Wraps code that prints a run: if stdout cannot be written, the error names the stored run.

    Raises OutputError.
    """
    try:
        yield
    except OSError as error:
        if (why := why_unwritable(error)) is None:
            raise
        raise OutputError(f"{why} The run is kept.", NextStep.READ_RUN, run_id=run_id) from error


def write_file(path: Path, pieces: Iterable[str]) -> None:
    """Write the result to a file. Raises OutputError.

    The file is opened, and so emptied, only when all parts are loaded, because loading may fail. It is written in place
    and not replaced, because it may be a pipe, a device or a link. A new file is readable by its owner only.
    """
    try:
        with tempfile.TemporaryFile("w+", encoding="utf-8") as gathered:
            gathered.writelines(pieces)
            gathered.seek(0)
            create_private(path)
            with path.open("w", encoding="utf-8") as file:
                shutil.copyfileobj(gathered, file)
    except OSError as error:
        raise OutputError(f"{str(path)!r} cannot be written: {error.strerror or error}.") from error
