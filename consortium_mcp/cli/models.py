"""`models` and `strategies`: what a consortium can be made of."""

import json

import click

from consortium_mcp.arbiter import judging_methods
from consortium_mcp.catalogue import load_catalogue
from consortium_mcp.cli.options import json_option
from consortium_mcp.roles import ROLES
from consortium_mcp.strategies import strategies as known_strategies


@click.command()
@click.argument("query", required=False)
@json_option
def models(query: str | None, as_json: bool) -> None:
    """List models that can be used now, and what the others lack; QUERY is part of an id or alias."""
    catalogue = load_catalogue()
    found = catalogue.search(query)
    if as_json:
        listed = [
            {"model": one.model_id, "aliases": one.aliases, "plugin": one.plugin, "problem": problem}
            for one, problem in found
        ]
        click.echo(json.dumps(listed, indent=1))
    else:
        for one, problem in found:
            click.echo(one.model_id + (f"  (not usable: {problem})" if problem else ""))
    for plugin, why in catalogue.broken_plugins.items():
        click.echo(f"The llm plugin {plugin} is broken: {why}", err=True)


@click.command()
@json_option
def strategies(as_json: bool) -> None:
    """List strategies, judging methods and roles, each with one sentence."""
    listed = {
        "strategies": {name: strategy.sentence for name, strategy in known_strategies().items()},
        "judging_methods": {name: method.sentence for name, method in judging_methods().items()},
        "roles": ROLES,
    }
    if as_json:
        click.echo(json.dumps(listed, indent=1))
        return
    for kind, sentences in listed.items():
        click.echo(kind.replace("_", " ").capitalize())
        for name, sentence in sentences.items():
            click.echo(f"  {name}: {sentence}")
