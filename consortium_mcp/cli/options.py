"""Options that several commands share, with llm-consortium's names."""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast, get_origin

import click
from pydantic.fields import FieldInfo

from consortium_mcp.cli.completion import (
    complete_consortiums,
    complete_judging_methods,
    complete_models,
    complete_runs,
    complete_strategies,
)
from consortium_mcp.cli.failures import WORDS
from consortium_mcp.cli.value_types import JsonObject, Number, TextOrFile, Threshold
from consortium_mcp.engine.judging import judging_methods
from consortium_mcp.engine.registry import Registry
from consortium_mcp.engine.strategies import strategies
from consortium_mcp.errors import InvalidConsortiumError
from consortium_mcp.models.catalogue import Catalogue
from consortium_mcp.records.request import ConsultRequest, DefinitionRequest, bare_type, choices_of, read_request
from consortium_mcp.service.definitions import Definitions, check_rules
from consortium_mcp.settings import MOST
from consortium_mcp.text.templates import plain

F = TypeVar("F", bound=Callable[..., Any])
Request = TypeVar("Request", DefinitionRequest, ConsultRequest)


COUNT = click.IntRange(1, MOST)
"""A positive integer."""


def _known(registry: Callable[[], Registry[Any]]) -> Callable[..., str | None]:
    """A callback that refuses an unknown name."""

    def check(_: click.Context, __: click.Parameter, name: str | None) -> str | None:
        if name is not None and name not in registry():
            raise click.BadParameter(registry().why_missing(name))
        return name

    return check


STDOUT = Path("-")
"""The value of `--output` for stdout."""


def output_option(help_text: str) -> Callable[[F], F]:
    """`--output FILE`, refused at once if the file's folder does not exist; `-` is stdout."""

    def check(_: click.Context, __: click.Parameter, path: Path | None) -> Path | None:
        if path is not None and not path.parent.is_dir():
            raise click.BadParameter(f"the folder {str(path.parent)!r} does not exist.")
        return path

    kind = click.Path(dir_okay=False, writable=True, path_type=Path)
    return click.option("--output", metavar="FILE", type=kind, callback=check, help=help_text)


_TYPES: "dict[str, click.ParamType[Any]]" = {
    "system_prompt": TextOrFile(),
    "own_answer": TextOrFile(),
    "confidence_threshold": Threshold(0, 100),
}
"""The options with a parser of their own; the type of every other option follows from its field."""

_SPELLINGS = {
    "models": ("-m", "--model"),
    "attachments": ("-a", "--attachment"),
    "count": ("-n", "--count"),
    "system_prompt": ("--system-prompt", "--system"),
    "confidence_threshold": ("--confidence-threshold", "--threshold"),
    "max_cost_usd": ("--max-cost-usd", "--max-cost"),
    "deadline_seconds": ("--deadline-seconds", "--deadline"),
}
"""Short, earlier and singular spellings; every other option has the name of its field."""

_COMPLETIONS = {
    "consortium": complete_consortiums,
    "models": complete_models,
    "arbiter": complete_models,
    "strategy": complete_strategies,
    "judging_method": complete_judging_methods,
    "follow_up_to": complete_runs,
}
"""The completions of an option."""

NOT_OPTIONS = ("prompt", "history")
"""Fields without an option: the prompt is an argument, and --follow-up-to names a conversation."""


def request_options(kind: type[Request]) -> Callable[[F], F]:
    """Add an option for each field of a request; the command gets their values as one argument, `given`."""
    names = [name for name in kind.model_fields if name not in NOT_OPTIONS]

    def decorate(command: F) -> F:
        @wraps(command)
        def called(*args: Any, **options: Any) -> Any:
            values = {name: options.pop(name) for name in names}
            given = {name: value for name, value in values.items() if value not in (None, ())}
            try:
                return command(*args, given=given, **options)
            except InvalidConsortiumError as error:
                said = _as_typed(error.message, given)
                raise InvalidConsortiumError(said, error.next_step, **error.about) from error

        decorated: Any = called
        for name in reversed(names):
            decorated = field_option(name, kind)(decorated)
        return cast(F, decorated)

    return decorate


def read_typed(kind: type[Request], given: dict[str, Any]) -> Request:
    """The request of the options. Raises UsageError, with the options as typed."""
    try:
        return read_request(kind, given)
    except InvalidConsortiumError as error:
        raise click.UsageError(plain(_as_typed(str(error), given))) from error


def _as_typed(sentence: str, fields: Iterable[str]) -> str:
    """A sentence about fields of a request, with options instead of field names.

    Args:
        fields: the given fields; a field whose name is an English word is replaced only at the beginning.
    """
    words = [name for name in ConsultRequest.model_fields if "_" in name]
    for name in {*words, *fields}:
        meant = rf"\b{name}\b" if "_" in name else rf"^{name}(?= is |=| has no effect )"
        sentence = re.sub(meant, _typed_spelling(name), sentence)
    return sentence


def _typed_spelling(name: str) -> str:
    """The spelling of a field's option on this command line; its usual one if it was not typed."""
    spellings, ctx = _spellings(name), click.get_current_context(silent=True)
    words = ctx.meta.get(WORDS, ()) if ctx else ()
    typed = [one for one in spellings if any(word == one or word.startswith(f"{one}=") for word in words)]
    return typed[0] if typed else spellings[-1 if name == "models" else 0]


def _spellings(name: str) -> tuple[str, ...]:
    """The spellings of a field's option."""
    return _SPELLINGS.get(name, (f"--{name.replace('_', '-')}",))


def _split_at_commas(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """The given values; a single text with commas is split."""
    return tuple(part.strip() for part in values[0].split(",")) if len(values) == 1 else values


_CHECKS: dict[str, Callable[..., Any]] = {
    "strategy": _known(strategies),
    "judging_method": _known(judging_methods),
    "choices": _split_at_commas,
}
"""Callbacks that check or split values before anything is opened."""


def field_option(name: str, kind: type[Request], help_text: str | None = None) -> Callable[[F], F]:
    """The option of one field.

    Args:
        help_text: None means the field's own sentence, with its default.
    """
    field = kind.model_fields[name]
    flag = f"--{name.replace('_', '-')}"
    if name == "llm_options":
        return _llm_options(help_text or str(field.description))
    spellings = _spellings(name)
    known = "" if field.default in (None, ()) else f" [{_word(field.default)}]"
    return click.option(
        *((f"{flag}/--no-{flag[2:]}",) if field.annotation is bool else spellings),
        name,
        type=_TYPES.get(name) or _type_of(field),
        multiple=_is_list(field),
        default=None,
        callback=_CHECKS.get(name),
        shell_complete=_COMPLETIONS.get(name),
        help=help_text or f"{field.description}{known}",
    )


def _llm_options(help_text: str) -> Callable[[F], F]:
    """`-o NAME VALUE`, repeatable; each model's own option class parses the value, as in llm."""

    def gather(_: click.Context, __: click.Parameter, pairs: tuple[tuple[str, str], ...]) -> dict[str, str] | None:
        return dict(pairs) or None

    return click.option(
        "-o", "--option", "llm_options", metavar="NAME VALUE", nargs=2, multiple=True, callback=gather, help=help_text
    )


def _is_list(field: FieldInfo) -> bool:
    """Whether an option is repeatable."""
    return get_origin(bare_type(field)) is Sequence


def _type_of(field: FieldInfo) -> "click.ParamType[Any]":
    """The click type of a field: its words, its numbers with their limits, or a text."""
    if choices := choices_of(field):
        return click.Choice(choices)
    kind = bare_type(field)
    limits = {
        name: value
        for one in field.metadata
        for name in ("ge", "gt", "le")
        if (value := getattr(one, name, None)) is not None
    }
    low, is_open = limits.get("ge", limits.get("gt")), "gt" in limits
    if kind is int:
        return click.IntRange(low, limits.get("le"), min_open=is_open)
    if kind is float:
        return Number(low, limits.get("le"), min_open=is_open)
    return JsonObject() if get_origin(kind) is dict else click.BOOL if kind is bool else click.STRING


def _word(value: object) -> str:
    """A default in words."""
    return ("no", "yes")[value] if isinstance(value, bool) else str(value)


def check_typed(definitions: Definitions, catalogue: Catalogue, request: ConsultRequest | DefinitionRequest) -> None:
    """Raise UsageError if a typed definition breaks a rule; a broken saved definition is no usage error."""
    if not request.models:
        return
    try:
        if isinstance(request, ConsultRequest):
            check_rules(definitions.resolve(catalogue, request)[1])
        else:
            check_rules(definitions.define(catalogue, request))
    except InvalidConsortiumError as error:
        raise click.UsageError(plain(_as_typed(str(error), request.model_fields_set))) from error
