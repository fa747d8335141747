"""`strategies`: strategies, judging methods, presets and roles."""

import json
from collections.abc import Mapping

import click

from consortium_mcp.cli.options import json_option
from consortium_mcp.engine.judging import judging_methods
from consortium_mcp.engine.strategies import strategies as known_strategies
from consortium_mcp.records.presets import PRESETS
from consortium_mcp.records.roles import ROLES


@click.command()
@json_option
def strategies(as_json: bool) -> None:
    """List strategies, judging methods, presets and roles, each with what it does."""
    listed: dict[str, Mapping[str, str]] = {
        "strategies": {name: strategy.description for name, strategy in known_strategies().items()},
        "judging_methods": {name: method.description for name, method in judging_methods().items()},
        "presets": {name: preset.description for name, preset in PRESETS.items()},
        "roles": ROLES,
    }
    if as_json:
        click.echo(json.dumps(listed, indent=1))
        return
    for kind, sentences in listed.items():
        click.echo(kind.replace("_", " ").capitalize())
        for name, sentence in sentences.items():
            click.echo(f"  {name}: {sentence}")
