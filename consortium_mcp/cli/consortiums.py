"""`save`, `list`, `show`, `remove`: saved consortiums."""

import shlex
from typing import Any

import click

from consortium_mcp._util.frozen_model import FrozenModel
from consortium_mcp.cli.completion import complete_consortiums
from consortium_mcp.cli.json_output import JsonOutput, json_option, print_json
from consortium_mcp.cli.options import check_typed, read_typed, request_options
from consortium_mcp.cli.screen import say
from consortium_mcp.engine.trust import why_unreachable
from consortium_mcp.models.catalogue import load_catalogue
from consortium_mcp.records.consortium import Consortium
from consortium_mcp.records.request import DefinitionRequest
from consortium_mcp.records.rules import Rules
from consortium_mcp.service.service import ConsortiumService


class SavedEntry(FrozenModel):
    """A saved consortium."""

    name: str
    """The name of the consortium."""

    problem: str | None
    """Why it cannot run now; None if it can."""

    definition: Consortium | None
    """Its members, arbiter and rules; None if the saved row is damaged."""


class SavedOutput(SavedEntry, JsonOutput):
    """A saved consortium."""


class SavedListOutput(JsonOutput):
    """All saved consortiums."""

    consortiums: tuple[SavedEntry, ...]
    """The saved consortiums by name."""


class RemovedOutput(JsonOutput):
    """A saved consortium that was removed."""

    name: str
    """The name of the consortium."""

    definition: Consortium | None
    """The removed definition; None if the saved row was damaged."""


@click.command()
@click.argument("name")
@request_options(DefinitionRequest)
@json_option(SavedOutput)
def save(name: str, given: dict[str, Any], as_json: bool) -> None:
    """Save a consortium as NAME. It replaces a saved one of that name."""
    request = read_typed(DefinitionRequest, given)
    if not request.models:
        raise click.UsageError("No model is named. Give at least one -m MODEL.")
    with ConsortiumService() as service:
        catalogue = load_catalogue()
        check_typed(service.definitions, catalogue, request)
        consortium = service.definitions.define(catalogue, request)
        replaces = name in service.store.consortiums.list_names.sync()
        service.definitions.save(name, consortium, catalogue, overwrite=True)
        problem = service.definitions.problem(name, consortium, catalogue)
    if as_json:
        print_json(SavedOutput(name=name, problem=problem, definition=consortium))
    else:
        done = "Replaced" if replaces else "Saved"
        click.echo(
            f"{done} {name}. Ask it with: consortium-mcp consult --consortium {shlex.quote(name)} 'your question'"
        )
    if unreachable := why_unreachable(consortium):
        say(f"Note: {unreachable}", err=True)
    if problem:
        say(f"It cannot run yet: {problem}", err=True)


@click.command(name="list")
@click.option("--long", "in_full", is_flag=True, help="Show every rule, also those at their defaults.")
@json_option(SavedListOutput)
def list_command(in_full: bool, as_json: bool) -> None:
    """List saved consortiums, a line each: who is asked, which rules differ from the defaults, and what is missing."""
    with ConsortiumService() as service:
        catalogue = load_catalogue()
        loaded, _ = service.store.consortiums.list_all.sync()
        problems = service.definitions.list_problems(catalogue)
    if as_json:
        listed = (
            SavedEntry(name=name, problem=problems[name], definition=loaded.get(name)) for name in sorted(problems)
        )
        print_json(SavedListOutput(consortiums=tuple(listed)))
        return
    for name in sorted(problems):
        consortium, problem = loaded.get(name), problems[name]
        say(_description(name, consortium, problem) if in_full else _line(name, consortium, problem))
    if not problems:
        click.echo("No consortium is saved yet; `consortium-mcp save NAME -m MODEL` saves one.", err=True)


@click.command()
@click.argument("name", shell_complete=complete_consortiums)
@json_option(SavedOutput)
def show(name: str, as_json: bool) -> None:
    """Show the saved consortium NAME."""
    with ConsortiumService() as service:
        consortium = service.store.consortiums.load.sync(name)
        problem = service.definitions.problem(name, consortium, load_catalogue())
    if as_json:
        print_json(SavedOutput(name=name, problem=problem, definition=consortium))
    else:
        say(_description(name, consortium, problem))


@click.command()
@click.argument("name", shell_complete=complete_consortiums)
@json_option(RemovedOutput)
def remove(name: str, as_json: bool) -> None:
    """Remove the saved consortium NAME; its runs stay."""
    with ConsortiumService() as service:
        removed = service.store.consortiums.delete.sync(name)
    if as_json:
        print_json(RemovedOutput(name=name, definition=removed))
    else:
        click.echo(f"Removed {name}.")


def _line(name: str, consortium: Consortium | None, problem: str | None) -> str:
    """A consortium on one line, without rules that have their default."""
    parts = []
    if consortium is not None:
        parts.append(", ".join(map(str, consortium.members)))
        others = [rule for rule in Rules.model_fields if getattr(consortium, rule) != Rules.model_fields[rule].default]
        parts += [f"{rule.replace('_', ' ')} {_short(getattr(consortium, rule))}" for rule in others]
        if consortium.description:
            parts.append(_short(consortium.description))
    if problem:
        parts.append(f"cannot run: {problem}")
    return f"{name}: {'; '.join(parts)}"


def _description(name: str, consortium: Consortium | None, problem: str | None) -> str:
    lines = [f"Consortium: {name}"]
    if consortium is not None:
        if consortium.description:
            lines.append(f"  Description: {consortium.description}")
        lines.append(f"  Models: {', '.join(map(str, consortium.members))}")
        named = {"arbiter": consortium.arbiter or f"{consortium.members[0].model} (the first member)"}
        rules = {name: getattr(consortium, name) for name in Rules.model_fields} | named
        lines += [f"  {name.replace('_', ' ').title()}: {_short(value)}" for name, value in rules.items()]
    if problem:
        lines.append(f"  Cannot run: {problem}")
    return "\n".join(lines)


def _short(value: object) -> str:
    """The short form of a rule's value."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = "none" if value in (None, "") else f"{value:g}" if isinstance(value, float) else str(value)
    return f"{text[:57]}..." if len(text) > 60 else text
