"""Checks keys, models and consortiums: which can be asked."""

import os
import stat
from collections.abc import Iterator

from consortium_mcp._util.counts import counted
from consortium_mcp._util.lazy import llm
from consortium_mcp.engine.judging import judging_methods
from consortium_mcp.engine.strategies import strategies
from consortium_mcp.errors import ConsortiumError
from consortium_mcp.installation.doctor.check import Check
from consortium_mcp.installation.setup.finding import find_providers, stored_keys
from consortium_mcp.models.catalogue import Catalogue, ModelEntry, load_catalogue, package_of
from consortium_mcp.models.llm_files import object_fault
from consortium_mcp.models.plugin_packages import package_command
from consortium_mcp.models.price_file import load_price_file
from consortium_mcp.models.providers import PROVIDERS
from consortium_mcp.models.reaching import key_problem
from consortium_mcp.service.service import ConsortiumService
from consortium_mcp.settings import llm_user_path, load_settings


def check_models() -> Iterator[Check]:
    """The stored keys, and the number of models that can be used with them."""
    yield from _keys_file()
    allowed = load_settings().allowed_models
    catalogue = load_catalogue()
    if catalogue.broken_file:
        yield Check(about="Models", state="problem", found=catalogue.broken_file)
    if fault := object_fault(llm_user_path() / "model_options.json"):
        yield Check(about="Models", state="warning", found=f"{fault} Until then no option in it is used.")
    for plugin, why in catalogue.broken_plugins.items():
        package = package_of(plugin)
        update = f"Update it with `llm install -U {package}`, or remove it with `llm uninstall {package}`."
        yield Check(about="Models", state="warning", found=f"The llm plugin {plugin} is broken: {why}", remedy=update)
    yield from _keys(catalogue)
    yield from _prices()
    yield from _unused()
    usable = catalogue.usable_ids(allowed)
    if usable:
        every = counted(sum(not entry.is_consortium for entry in catalogue.entries), "model")
        found = f"{len(usable)} of {every} have all that can be checked here; `doctor --live` calls the used ones"
        yield Check(about="Models", state="ok", found=found)
    elif not catalogue.broken_file:
        mend = (
            "`consortium-mcp setup` sets up a first one, with or without a key. "
            "`consortium-mcp models` says what each model needs."
        )
        yield Check(about="Models", state="problem", found="No model can be used.", remedy=mend)


def _prices() -> Iterator[Check]:
    """Whether the file with prices of the user's own can be used; nothing without one."""
    path = load_settings().prices
    if path is None:
        return
    try:
        providers = load_price_file(path)
    except ConsortiumError as error:
        yield Check(about="Prices", state="problem", found=str(error))
        return
    models = sum(len(provider.models) for provider in providers)
    yield Check(about="Prices", state="ok", found=f"{path} has prices of {counted(models, 'model')}")


def _keys_file() -> Iterator[Check]:
    """The problems of llm's key file; none if it is correct or missing."""
    path = llm_user_path() / "keys.json"
    if not path.exists():
        return
    stored_keys()
    if os.name == "posix" and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        found = f"Other users can read {path}."
        yield Check(
            about="Keys", state="warning", found=found, remedy=(f"`chmod 600 {path}` makes it readable for you only.")
        )


def _keys(catalogue: Catalogue) -> Iterator[Check]:
    wanted = {str(needed): entry for entry in catalogue.entries if (needed := getattr(entry.model, "needs_key", None))}
    there = sorted(name for name, entry in wanted.items() if _has_key(entry))
    missing = sorted(set(wanted) - set(there))
    for name in there:
        if problem := key_problem(name, wanted[name].model.get_key() or ""):
            yield Check(about="Keys", state="problem", found=problem)
    found = f"there: {', '.join(there) or 'none'}" + (f"; not set: {', '.join(missing)}" if missing else "")
    if there or not missing:
        yield Check(about="Keys", state="ok", found=found)
    else:
        yield Check(about="Keys", state="warning", found=found, remedy=f"`llm keys set {missing[0]}` sets one.")


def _unused() -> Iterator[Check]:
    """Keys and running servers of providers whose plugin is not installed."""
    states = find_providers()
    for provider in PROVIDERS:
        state = states[provider.name]
        if state.package is None:
            continue
        remedy = f"Plugin {state.package}: {package_command([state.package])}."
        if state.runs:
            found = f"{provider.title} runs here; no plugin here uses it."
            yield Check(about="Models", state="warning", found=found, remedy=remedy)
        elif state.key:
            holder = "keys.json holds" if state.key == "stored" else f"{provider.variable} is"
            found = f"{holder} a key for {provider.name}; no plugin here uses it."
            yield Check(about="Keys", state="warning", found=found, remedy=remedy)


def _has_key(entry: ModelEntry) -> bool:
    try:
        return bool(entry.model.get_key())
    except llm.NeedsKeyException:
        return False


def check_consortiums() -> Iterator[Check]:
    """Whether each saved consortium can run, and which models the default asks."""
    with ConsortiumService() as service:
        catalogue = load_catalogue()
        loaded, damaged = service.store.consortiums.list_all.sync()
        problems = {
            name: problem
            for name, one in loaded.items()
            if (problem := service.definitions.problem(name, one, catalogue))
        }
        for name, problem in sorted((damaged | problems).items()):
            yield Check(about="Consortiums", state="warning", found=f"{name!r} cannot run: {problem}")
        if ready := sorted(set(loaded) - set(problems)):
            yield Check(about="Consortiums", state="ok", found=f"ready: {', '.join(ready)}")
        try:
            default_name, default = service.definitions.default(catalogue)
        except ConsortiumError as error:
            if catalogue.broken_file or object_fault(llm_user_path() / "keys.json"):
                return  # the check of the models has named the file
            yield Check(about="Default", state="warning", found=f"A consult without named models cannot run: {error}")
        else:
            asked = default_name or ", ".join(map(str, default.members))
            yield Check(about="Default", state="ok", found=f"a consult without named models asks {asked}")


def check_additions() -> Iterator[Check]:
    """The strategies and judging methods of other packages that were left out as broken."""
    for registry in (strategies(), judging_methods()):
        for name, why in registry.broken.items():
            found = f"The {registry.noun} {name!r} of {why}."
            yield Check(about="Additions", state="warning", found=found, remedy="Update that package, or uninstall it.")
