"""Options that several commands share, named as llm-consortium named them."""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, get_args

import click

from consortium_mcp.cli.completion import complete_judging_methods, complete_models, complete_strategies
from consortium_mcp.engine.judging import judging_methods
from consortium_mcp.engine.registry import Registry
from consortium_mcp.engine.strategies import strategies
from consortium_mcp.errors import ConsortiumError, InvalidConsortiumError
from consortium_mcp.models.catalogue import Catalogue
from consortium_mcp.records.consortium import MAX_INSTANCES, MAX_ITERATIONS, StopOn
from consortium_mcp.service.definitions import Definitions, check_rules
from consortium_mcp.settings import MOST
from consortium_mcp.text.templates import plain

F = TypeVar("F", bound=Callable[..., Any])


class Number(click.FloatRange):
    """A number of a range; `nan`, which is above and below none, is in no range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number; what is none is refused."""
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is no number.", param, ctx)
        return number


COUNT = click.IntRange(1, MOST)
"""How many of something, where nothing lower is the most."""

ITERATIONS = click.IntRange(1, MAX_ITERATIONS)
"""How often the members are asked."""


def _known(registry: Callable[[], Registry[Any]]) -> Callable[..., str | None]:
    """A callback that refuses what has no such name."""

    def check(_: click.Context, __: click.Parameter, name: str | None) -> str | None:
        if name is not None and name not in registry():
            raise click.BadParameter(registry().why_missing(name))
        return name

    return check


known_strategy = _known(strategies)
known_judging_method = _known(judging_methods)


def output_option(help_text: str) -> Callable[[F], F]:
    """`--output FILE`, refused before anything is done where the file's folder is not there."""

    def check(_: click.Context, __: click.Parameter, path: Path | None) -> Path | None:
        if path is not None and not path.parent.is_dir():
            raise click.BadParameter(f"there is no folder {str(path.parent)!r}.")
        return path

    kind = click.Path(dir_okay=False, writable=True, path_type=Path)
    return click.option("--output", metavar="FILE", type=kind, callback=check, help=help_text)


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def definition_options(command: F) -> F:
    """Everything that defines a consortium."""
    for option in reversed(
        (
            click.option(
                "-m",
                "--model",
                "models",
                multiple=True,
                shell_complete=complete_models,
                help="Who is asked: 'model', 'model:count', 'model|backup', 'model as role'; may be given again.",
            ),
            click.option(
                "-n",
                "--count",
                type=click.IntRange(1, MAX_INSTANCES),
                default=1,
                help="Instances of a model that is named without a number. [1]",
            ),
            click.option(
                "--arbiter",
                shell_complete=complete_models,
                help="Model that judges the responses; default: the first model.",
            ),
            click.option(
                "--confidence-threshold", type=float, help="Confidence at which to stop, 0-1 or a percentage. [0.8]"
            ),
            click.option("--max-iterations", type=ITERATIONS, help="Ask the members at most so often. [3]"),
            click.option("--min-iterations", type=ITERATIONS, help="Ask them at least so often. [1]"),
            click.option("--system", help="System prompt for the members: text, or the path of a file."),
            click.option(
                "--strategy",
                callback=known_strategy,
                shell_complete=complete_strategies,
                help="Who is asked what in each iteration; see `strategies`. [refine]",
            ),
            click.option(
                "--judging-method",
                callback=known_judging_method,
                shell_complete=complete_judging_methods,
                help="How responses become a verdict; see `strategies`. [synthesize]",
            ),
            click.option(
                "--stop-on",
                type=click.Choice(get_args(StopOn)),
                help="What must reach the threshold: the confidence, the members' agreement, or both. [arbiter]",
            ),
            click.option(
                "--check-order/--no-check-order",
                default=None,
                help="Ask the arbiter again, in reversed order, where its confidence is close to the threshold. [yes]",
            ),
            click.option("--embedding-model", help="llm embedding model by which a vote compares answers. [none]"),
        )
    ):
        command = option(command)
    return command


def definition_of(
    models: tuple[str, ...], count: int, system: str | None, confidence_threshold: float | None, **rules: Any
) -> dict[str, Any]:
    """The options as `Definitions.resolve` takes them."""
    if confidence_threshold is not None and not 0 <= confidence_threshold <= 100:
        raise click.UsageError("Confidence threshold must be between 0.0 and 1.0 (or 0 and 100).")
    return {
        "models": list(models) or None,
        "count": count,
        "system_prompt": text_or_file(system),
        "confidence_threshold": confidence_threshold,
        **rules,
    }


def check_typed(definitions: Definitions, catalogue: Catalogue, asked: dict[str, Any]) -> None:
    """Raise UsageError where a definition that was typed breaks a rule; that of a saved one is no wrong usage."""
    if not asked["models"]:
        return
    try:
        check_rules(definitions.resolve(catalogue, **asked)[1])
    except InvalidConsortiumError as error:
        raise click.UsageError(plain(str(error))) from error


def text_or_file(value: str | None) -> str | None:
    """The text itself, or what the file of that name says."""
    # Of a text that no path can be, for its length or a character, Path.is_file() would raise.
    if value is None or not os.path.isfile(value):
        return value
    try:
        return Path(value).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConsortiumError(f"The system prompt file {value!r} cannot be read: {error}.") from error
