"""`models`: the models for a consortium."""

from collections.abc import Iterator, Mapping

import click

from consortium_mcp._util.frozen_model import FrozenModel
from consortium_mcp.cli.json_output import JsonOutput, json_option, print_json
from consortium_mcp.cli.screen import say
from consortium_mcp.errors import StoreUnusableError
from consortium_mcp.models.catalogue import Catalogue, ModelEntry, load_catalogue
from consortium_mcp.reports.definitions import by_reason
from consortium_mcp.service.service import ConsortiumService
from consortium_mcp.settings import load_settings


class ListedModel(FrozenModel):
    """A model that llm offers here."""

    model: str
    """The llm model id."""

    aliases: tuple[str, ...]
    """Its other names."""

    plugin: str
    """The llm plugin that offers it."""

    problem: str | None
    """Why it cannot be used; None if it can."""


class ModelsOutput(JsonOutput):
    """What a consortium can be made of."""

    models: tuple[ListedModel, ...]
    """The models, those that cannot be used too."""

    broken_plugins: dict[str, str]
    """The llm plugins that cannot be loaded, each with the reason."""


@click.command()
@click.argument("query", required=False)
@json_option(ModelsOutput)
def models(query: str | None, as_json: bool) -> None:
    """List the usable models, and what the others need first.

    QUERY is part of an id or alias. Without it, all models are listed.
    """
    catalogue = load_catalogue()
    found = catalogue.search(query, load_settings().allowed_models, _problems(catalogue))
    if as_json:
        listed = (
            ListedModel(model=one.model_id, aliases=one.aliases, plugin=one.plugin, problem=problem)
            for one, problem in found
        )
        print_json(ModelsOutput(models=tuple(listed), broken_plugins=dict(catalogue.broken_plugins)))
    else:
        for line in _lines(found):
            say(line)
    if query and not found:
        click.echo(f"No model's id or alias contains {query!r}.", err=True)
    if catalogue.broken_file:
        say(catalogue.broken_file, err=True)
    for plugin, why in catalogue.broken_plugins.items():
        say(f"The llm plugin {plugin} is broken: {why}", err=True)


def _problems(catalogue: Catalogue) -> Mapping[str, str | None]:
    """Why each saved consortium cannot run; empty if the database cannot be used, because models still can."""
    if not any(entry.is_consortium for entry in catalogue.entries):
        return {}  # and listing models creates no database
    try:
        with ConsortiumService() as service:
            return service.definitions.list_problems(catalogue)
    except StoreUnusableError as error:
        say(str(error), err=True)
        return {}


def _lines(found: list[tuple[ModelEntry, str | None]]) -> Iterator[str]:
    """A line for each usable model, then one for each reason why others cannot be used."""
    lacking: list[tuple[str, str]] = []
    for one, problem in found:
        if problem is None:
            yield one.model_id + (f"  ({', '.join(one.aliases)})" if one.aliases else "")
        else:
            lacking.append((one.model_id, problem.removeprefix(f"{one.model_id} ({one.plugin}): ")))
    for problem, model_ids in by_reason(lacking).items():
        yield f"Not usable: {', '.join(model_ids)}: {problem}"
