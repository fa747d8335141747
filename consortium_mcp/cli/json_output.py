"""`--json`: one object with a version, of a record that has a schema; and how a failure is said in JSON."""

from collections.abc import Callable
from typing import Any, Literal, TypeVar

import click

from consortium_mcp._util.frozen_model import FrozenModel
from consortium_mcp.cli.screen import say
from consortium_mcp.records import Run

F = TypeVar("F", bound=Callable[..., Any])

ErrorKind = Literal[
    "usage",
    "interrupted",
    "invalid",
    "not_found",
    "model_unavailable",
    "busy",
    "run_failed",
    "store_unusable",
    "read_too_long",
    "output",
    "failed",
]
"""The kinds of failures of commands: those of `errors`, and two that only a command line has."""


class JsonOutput(FrozenModel):
    """What a command prints with `--json`."""

    schema_version: Literal[1] = 1
    """The version of all outputs with `--json`; it changes if a field is removed, renamed, or gets another meaning."""


class RunOutput(Run, JsonOutput):
    """The whole run: every question, response and verdict."""


class JsonError(FrozenModel):
    """Why a command failed."""

    kind: ErrorKind
    """The kind of the failure; `usage` is a wrong command line."""

    message: str
    """What happened."""

    next_step: str | None
    """What to do next; None if `message` says it."""

    run_id: str | None
    """The run that the failure is about; None if it is about no run."""


class ErrorOutput(JsonOutput):
    """The last line of stderr of a command that failed, if `--json` was given."""

    error: JsonError
    """The failure."""


def json_option(*kinds: type[JsonOutput]) -> Callable[[F], F]:
    """`--json`, for a command that prints one of these records."""

    def decorate(command: F) -> F:
        decorated: F = click.option("--json", "as_json", cls=JsonOption, kinds=kinds, is_flag=True, help="Print JSON.")(
            command
        )
        return decorated

    return decorate


class JsonOption(click.Option):
    """`--json`, with the record that is printed."""

    def __init__(self, *args: Any, kinds: tuple[type[JsonOutput], ...], **more: Any) -> None:
        super().__init__(*args, **more)
        self.kinds = kinds


def print_json(record: JsonOutput) -> None:
    """Print a record as JSON."""
    say(record.model_dump_json(indent=1))


def error_line(kind: str, message: str, next_step: str | None, run_id: str | None = None) -> str:
    """A failure as one line of JSON."""
    error = {"kind": kind, "message": message, "next_step": next_step, "run_id": run_id}
    return ErrorOutput.model_validate({"error": error}).model_dump_json()


def run_output(run: Run) -> RunOutput:
    """A run in its printed form."""
    return RunOutput.model_construct(**dict(run))
