"""Reports a command's failure: one sentence on stderr, or one line of JSON with `--json`."""

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, NoReturn

import click

from consortium_mcp._util.lazy import LazyModule
from consortium_mcp.errors import ConsortiumError, OutputError
from consortium_mcp.text.templates import plain

if TYPE_CHECKING:
    import consortium_mcp._util.output as output
    import consortium_mcp.cli.json_output as json_output
else:
    output = LazyModule("consortium_mcp._util.output")
    json_output = LazyModule("consortium_mcp.cli.json_output")

WORDS = "consortium_mcp.words"
"""The key of the command line's words in a click context."""

INTERRUPTED = 130
"""The exit status of a command that was interrupted."""

_LONG_WORD = re.compile(r"\S{300,}")


class JsonFailure(click.ClickException):
    """A failure that is shown as one line of JSON."""

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the line on stderr."""
        click.echo(self.message, file=file, err=file is None)


class JsonUsageFailure(JsonFailure):
    """A wrong command line."""

    exit_code = click.UsageError.exit_code


def asks_for_json(words: Sequence[str]) -> bool:
    """Whether a command line has `--json`; it works even if the command line cannot be parsed."""
    return "--json" in words[: words.index("--") if "--" in words else None]


@contextmanager
def told(as_json: bool) -> Iterator[None]:
    """Wraps a command; a known kind of failure becomes a ClickException.

    The exit status is 1 for a failure, 2 for wrong usage, and 130 for an interruption.
    """
    try:
        yield
    except ConsortiumError as error:
        raise _failure(error, as_json) from error
    except click.UsageError as error:
        if not as_json and (message := error.format_message()) == _shown(message):
            raise
        raise _wrong_usage(error, as_json) from error
    except OSError as error:
        raise refused_output(error, as_json) from error
    except click.Abort as abort:
        click.echo(err=True)  # the question is on this line
        if isinstance(abort.__context__, KeyboardInterrupt):
            _end_interrupted(None, as_json)
        raise _failure(ConsortiumError("A question got no answer."), as_json) from abort
    except KeyboardInterrupt as interrupt:
        _end_interrupted(interrupt.args[0] if interrupt.args else None, as_json)


def refused_output(error: OSError, as_json: bool = False) -> click.ClickException:
    """The error for an unwritable stdout; any other error is raised again."""
    if (why := output.why_unwritable(error)) is None:
        raise error
    return _failure(OutputError(why), as_json)


def _failure(error: ConsortiumError, as_json: bool) -> click.ClickException:
    if not as_json:
        return click.ClickException(_shown(str(error)))
    run_id = error.about.get("run_id")
    return JsonFailure(json_output.error_line(error.kind, _shown(error.message), error.advice, run_id))


def _wrong_usage(error: click.UsageError, as_json: bool) -> click.ClickException:
    message = _shown(error.format_message())
    if not as_json:
        return click.UsageError(message, error.ctx)
    command = error.ctx.command_path if error.ctx else "consortium-mcp"
    advice = f"`{command} --help` lists the arguments and options."
    return JsonUsageFailure(json_output.error_line("usage", message, advice))


def _end_interrupted(kept: ConsortiumError | None, as_json: bool) -> NoReturn:
    """Report that the command was interrupted, and which part of its work is stored; then end it."""
    if as_json:
        message = "Interrupted." if kept is None else f"Interrupted. {kept.message}"
        advice, run_id = (None, None) if kept is None else (kept.advice, kept.about.get("run_id"))
        click.echo(json_output.error_line("interrupted", message, advice, run_id), err=True)
    else:
        click.echo("Interrupted." if kept is None else f"Interrupted. {kept}", err=True)
    sys.exit(INTERRUPTED)


def _shown(message: str) -> str:
    """An error message for a screen; a very long word that was given as a name is cut."""
    return _LONG_WORD.sub(lambda word: f"{word[0][:100]}…", plain(message))
