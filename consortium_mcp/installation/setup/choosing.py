"""Chooses the models of a first consortium, and checks whether each answers."""

from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase

import anyio
from packaging.utils import canonicalize_name

from consortium_mcp.installation.live_calls import ask_models
from consortium_mcp.models.catalogue import Catalogue, ModelEntry, load_catalogue, package_of
from consortium_mcp.models.local import LOCAL_MODEL_ID
from consortium_mcp.models.providers import Provider
from consortium_mcp.records import CallResult
from consortium_mcp.records.consortium import Consortium, define
from consortium_mcp.service.definitions import DEFAULT_INSTANCES
from consortium_mcp.service.service import ConsortiumService

_LLM_ITSELF = "llm"
"""The package for the models of a provider without a plugin of its own."""


def first_model(catalogue: Catalogue, provider: Provider, allowed: Collection[str] = ()) -> ModelEntry | None:
    """The model of a provider for a first consortium: the newest known one, else its first usable one.

    Args:
        allowed: patterns of ids that may be used; none means all.

    Returns:
        None if none of its models can be used.
    """
    if provider.is_embedded:
        entries = [entry for entry in catalogue.entries if entry.model_id == LOCAL_MODEL_ID]
    else:
        package = provider.package or _LLM_ITSELF
        entries = [entry for entry in catalogue.entries if canonicalize_name(package_of(entry.plugin)) == package]
    usable = [entry for entry in entries if _can_be_used(catalogue, entry, allowed)]
    for pattern in provider.first:
        if known := [entry for entry in usable if fnmatchcase(entry.model_id, pattern)]:
            return known[-1]
    return usable[0] if usable else None


def ask_each(models: Sequence[str]) -> dict[str, CallResult]:
    """Ask each model one tiny question, all at once; the results by the given names.

    Raises:
        ModelUnavailableError: a model is unknown or cannot be used.
    """

    async def ask() -> dict[str, CallResult]:
        with ConsortiumService() as service:
            catalogue = load_catalogue()
            entries = {name: catalogue.usable(name, service.settings.allowed_models) for name in models}
            results = await ask_models(service, list(entries.values()))
            return {name: results[entry.model_id] for name, entry in entries.items()}

    return anyio.run(ask)


def first_consortium(models: Sequence[str], arbiter: str | None = None) -> Consortium:
    """A consortium of these models; a single model gets three instances.

    Args:
        arbiter: the model that judges; None means the first of the models.
    """
    count = DEFAULT_INSTANCES if len(models) == 1 else 1
    return define(members=[{"model": model, "count": count} for model in models], arbiter=arbiter or models[0])


def _can_be_used(catalogue: Catalogue, entry: ModelEntry, allowed: Collection[str]) -> bool:
    return any(entry is found for found, problem in catalogue.search(entry.model_id, allowed) if problem is None)
