"""`strategies`: strategies, judging methods, presets and roles."""

from collections.abc import Mapping

import click

from consortium_mcp.cli.json_output import JsonOutput, json_option, print_json
from consortium_mcp.engine.judging import judging_methods
from consortium_mcp.engine.strategies import strategies as known_strategies
from consortium_mcp.records.presets import PRESETS
from consortium_mcp.records.roles import ROLES


class StrategiesOutput(JsonOutput):
    """What a consortium's rules can name, each with what it does."""

    strategies: dict[str, str]
    """Who is asked what in each iteration."""

    judging_methods: dict[str, str]
    """How responses become a verdict."""

    presets: dict[str, str]
    """Rules that work together, under one name."""

    roles: dict[str, str]
    """The text that a member of the role gets."""


@click.command()
@json_option(StrategiesOutput)
def strategies(as_json: bool) -> None:
    """List strategies, judging methods, presets and roles, each with what it does."""
    listed: dict[str, Mapping[str, str]] = {
        "strategies": {name: strategy.description for name, strategy in known_strategies().items()},
        "judging_methods": {name: method.description for name, method in judging_methods().items()},
        "presets": {name: preset.description for name, preset in PRESETS.items()},
        "roles": ROLES,
    }
    if as_json:
        print_json(StrategiesOutput.model_validate(listed))
        return
    for kind, sentences in listed.items():
        click.echo(kind.replace("_", " ").capitalize())
        for name, sentence in sentences.items():
            click.echo(f"  {name}: {sentence}")
