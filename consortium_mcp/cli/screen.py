"""What is printed of a run: as Markdown on a terminal, without what could steer that; piped, only the answer."""

import re
import sys

import click
from rich.console import Console
from rich.markdown import Markdown

from consortium_mcp.report import about_answer, answer_text, usage_text
from consortium_mcp.run import Run

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""Control characters but tab and line feed: with them a model's text could move the cursor or rename the window."""


def say(text: str, *, err: bool = False) -> None:
    """Print a text that others wrote; to a terminal only what can be seen of it."""
    is_terminal = (sys.stderr if err else sys.stdout).isatty()
    click.echo(_CONTROLS.sub("", text) if is_terminal else text, err=err)


def print_run(run: Run, *, raw: bool = False, as_json: bool = False) -> None:
    """The answer on stdout, what is to be known about it on stderr."""
    if as_json:
        click.echo(run.model_dump_json(indent=1))
        return
    selected = run.iterations[(run.selected_iteration or 1) - 1]
    if raw and selected.raw_verdict:
        say(selected.raw_verdict)
    elif sys.stdout.isatty():
        Console().print(Markdown(_CONTROLS.sub("", answer_text(run)), hyperlinks=False))
    else:
        click.echo(answer_text(run))
    say(f"{about_answer(run)}\nUsed: {usage_text(run.usage)}", err=True)
