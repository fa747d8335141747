"""`models`: what a consortium can be made of."""

import json

import click

from consortium_mcp.catalogue import load_catalogue
from consortium_mcp.cli.options import json_option


@click.command()
@click.argument("query", required=False)
@json_option
def models(query: str | None, as_json: bool) -> None:
    """List models that can be used now, and what the others lack.

    QUERY is part of an id or alias; without one, all are listed.
    """
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
