"""The tools that save, list and remove consortiums, and list the models that they can be made of."""

from typing import Annotated

import anyio.to_thread
from mcp.server.mcpserver import Resolve
from mcp_types import CallToolResult
from pydantic import Field

from consortium_mcp.engine.judging import judging_methods
from consortium_mcp.engine.strategies import strategies
from consortium_mcp.engine.trust import why_unreachable
from consortium_mcp.errors import ConsortiumError
from consortium_mcp.models.catalogue import Catalogue, load_catalogue
from consortium_mcp.models.prices import price_usd
from consortium_mcp.records.consortium import Consortium
from consortium_mcp.records.presets import PRESETS
from consortium_mcp.records.request import DefinitionRequest
from consortium_mcp.records.roles import ROLES
from consortium_mcp.records.uris import CONSORTIUMS, MODELS, consortium_uri
from consortium_mcp.reports.definitions import by_reason, definition_text
from consortium_mcp.server.base.mcp_server import StrictServer
from consortium_mcp.server.tools.confirming import Outcome, overwriting, was_asked
from consortium_mcp.server.tools.model_list import ModelList, ModelSummary
from consortium_mcp.server.tools.parameters import gatherer, hints, takes
from consortium_mcp.server.tools.results import Choice, ConsortiumList, ConsortiumSummary, SavedConsortium, result
from consortium_mcp.service.runner import Runner

_MILLION = 1_000_000

SAVED = ("models",)
"""The required fields of a definition."""

gather_definition = gatherer(DefinitionRequest, SAVED)


def add_definitions(server: StrictServer, runner: Runner) -> None:
    """Register save_consortium, list_consortiums, remove_consortium and list_models."""
    _add_save(server, runner)
    _add_list(server, runner)
    _add_remove(server, runner)
    _add_list_models(server, runner)


def _add_save(server: StrictServer, runner: Runner) -> None:
    definitions, store = runner.service.definitions, runner.service.store

    @server.tool(title="Save a consortium", annotations=hints("Save a consortium", destroys=True, again=True))
    @takes(DefinitionRequest, required=SAVED)
    async def save_consortium(
        request: Annotated[DefinitionRequest, Resolve(gather_definition)],
        confirmed: Annotated[Outcome, Resolve(overwriting(runner))],
        name: Annotated[str, Field(min_length=1, max_length=100, description="Name for later consults.")],
        overwrite: Annotated[bool, Field(description="Replace a saved consortium of the same name.")] = False,
    ) -> Annotated[CallToolResult, SavedConsortium]:
        """Save a consortium of models under a name, for later consults."""
        agreed = was_asked(confirmed, f"{name!r} stays as it was saved.")

        def save() -> tuple[Consortium, bool, str | None]:
            catalogue = load_catalogue(runner.service.settings)
            hides = name in store.consortiums.list_names.sync() and name not in store.consortiums.list_own_names.sync()
            consortium = definitions.define(catalogue, request)
            definitions.save(name, consortium, catalogue, overwrite=overwrite or agreed)
            return consortium, hides, definitions.problem(name, consortium, catalogue)

        consortium, hides, problem = await anyio.to_thread.run_sync(save)
        text = f"Saved {definition_text(name, consortium)}."
        if hides:
            text += " It hides the server's consortium of this name from you until you call remove_consortium."
        if unreachable := why_unreachable(consortium):
            text += f" Note: {unreachable}"
        if problem:
            text += f" It cannot run yet: {problem}"
        return result(text, SavedConsortium(name=name, definition=consortium), _rest(name))


def _add_list(server: StrictServer, runner: Runner) -> None:
    @server.tool(title="List consortiums", annotations=hints("List consortiums", reads=True, again=True))
    async def list_consortiums() -> Annotated[CallToolResult, ConsortiumList]:
        """List every saved consortium, with the reason if it cannot run now, and the parts for a new one."""
        listed = await anyio.to_thread.run_sync(list_saved, runner)
        return result(_list_text(listed), listed, f"{CONSORTIUMS} lists all")


def _list_text(listed: ConsortiumList) -> str:
    lines = [
        (definition_text(one.name, one.definition) if one.definition else one.name)
        + (f" - CANNOT RUN: {one.problem}" if one.problem else "")
        for one in listed.consortiums
    ]
    lines = lines or ["No consortium is saved yet; save_consortium saves one."]
    for what, choices in (
        ("Strategies", listed.strategies),
        ("Judging methods", listed.judging_methods),
        ("Presets", listed.presets),
        ("Roles", listed.roles),
    ):
        lines += ["", f"{what}:", *(f"{one.name}: {one.description}" for one in choices)]
    return "\n".join(lines)


def _add_remove(server: StrictServer, runner: Runner) -> None:
    store = runner.service.store

    @server.tool(title="Remove a consortium", annotations=hints("Remove a consortium", destroys=True, again=True))
    async def remove_consortium(
        name: Annotated[str, Field(description="Name as in list_consortiums.")],
    ) -> Annotated[CallToolResult, SavedConsortium]:
        """Remove a saved consortium; its runs stay."""
        removed = await store.consortiums.delete(name)
        text = f"Removed {definition_text(name, removed) if removed else name}."
        if broken := await anyio.to_thread.run_sync(runner.service.definitions.list_uses, name):
            text += f" It was used by {', '.join(broken)}, which cannot run now."
        return result(text, SavedConsortium(name=name, definition=removed), "the consortium is removed")


def _add_list_models(server: StrictServer, runner: Runner) -> None:
    @server.tool(title="List models", annotations=hints("List models", reads=True, again=True))
    async def list_models(
        query: Annotated[str | None, Field(description="Part of an id or alias.")] = None,
    ) -> Annotated[CallToolResult, ModelList]:
        """List the models for members and arbiters, usable ones first, and what the others need."""
        listed = await anyio.to_thread.run_sync(list_known_models, runner, query)
        return result(_models_text(listed, query), listed, f"give a query, or read {MODELS}")


def _models_text(listed: ModelList, query: str | None) -> str:
    """The usable models of each plugin on a line with their prices, and one line for each reason of the others."""
    usable: dict[str, list[str]] = {}
    for one in listed.models:
        if one.problem is None:
            usable.setdefault(one.plugin, []).append(f"{one.model}{_price_text(one)}")
    lines = [f"{plugin}: {', '.join(models)}" for plugin, models in usable.items()]
    lacking = by_reason((one.model, _reason(one)) for one in listed.models if one.problem)
    lines += [f"Not usable: {', '.join(models)} - {reason}" for reason, models in lacking.items()]
    if usable:
        lines.append("Prices are US dollars for a million tokens, in and out.")
    if lines:
        return "\n".join(lines)
    return f"No model's id or alias contains {query!r}; call list_models without query to see all."


def _price_text(model: ModelSummary) -> str:
    if model.input_usd is None or model.output_usd is None:
        return ""
    return f" (${model.input_usd:g}/${model.output_usd:g})"


def _reason(model: ModelSummary) -> str:
    """Why a model cannot be used, without its name."""
    return (model.problem or "").removeprefix(f"{model.model} ({model.plugin}): ")


def list_saved(runner: Runner) -> ConsortiumList:
    """Every saved consortium with its problem, damaged rows included, and the parts for a new one."""
    service = runner.service
    catalogue = load_catalogue(service.settings)
    loaded, _ = service.store.consortiums.list_all.sync()
    summaries = [
        ConsortiumSummary(name=name, problem=problem, definition=loaded.get(name))
        for name, problem in service.definitions.list_problems(catalogue).items()
    ]
    return ConsortiumList(
        consortiums=tuple(sorted(summaries, key=lambda one: one.name)),
        strategies=tuple(Choice(name=one.name, description=one.description) for one in strategies().values()),
        judging_methods=tuple(Choice(name=one.name, description=one.description) for one in judging_methods().values()),
        presets=tuple(Choice(name=name, description=one.description) for name, one in PRESETS.items()),
        roles=tuple(Choice(name=name, description=text) for name, text in ROLES.items()),
    )


def list_known_models(runner: Runner, query: str | None = None) -> ModelList:
    """The models whose id or an alias contains the query, usable ones first."""
    service = runner.service
    catalogue = load_catalogue(service.settings)
    found = catalogue.search(query, service.settings.allowed_models, service.definitions.list_problems(catalogue))
    summaries = [
        ModelSummary(
            model=entry.model_id,
            aliases=entry.aliases,
            plugin=entry.plugin,
            problem=problem,
            input_usd=price_usd(entry, _MILLION, 0) if problem is None else None,
            output_usd=price_usd(entry, 0, _MILLION) if problem is None else None,
        )
        for entry, problem in found
    ]
    return ModelList(models=tuple(summaries), default=_default(runner, catalogue))


def _default(runner: Runner, catalogue: Catalogue) -> str | None:
    """The default of a consult that names nothing; None if there is none."""
    try:
        name, consortium = runner.service.definitions.default(catalogue)
    except ConsortiumError:
        return None
    return name or consortium.members[0].model


def _rest(name: str) -> str:
    return f"the full definition is in {consortium_uri(name)}"
