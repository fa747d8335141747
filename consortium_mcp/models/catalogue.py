"""The models that llm offers here, and what each still needs; a broken plugin hides only its own models."""

import difflib
import importlib.metadata
import inspect
import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import JsonValue, ValidationError

from consortium_mcp._util.lazy import llm, llm_plugins
from consortium_mcp.errors import ConsortiumError, ModelUnavailableError, NextStep
from consortium_mcp.models.default_options import load_default_options
from consortium_mcp.models.llm_files import READER, load_aliases, models_file_fault, object_fault
from consortium_mcp.models.plugin_packages import plugin_sentence
from consortium_mcp.models.reaching import address_problem, key_problem
from consortium_mcp.records.consortium import CLIENT
from consortium_mcp.settings import Settings, current_settings, using
from consortium_mcp.text.masking import masked

if TYPE_CHECKING:
    from llm import AsyncModel, Model

logger = logging.getLogger(__name__)

T = TypeVar("T")

RECENT_SECONDS = 1.0
"""The age up to which a consult uses an existing catalogue."""


@dataclass(frozen=True)
class ModelEntry:
    """One model that llm offers."""

    model_id: str
    """The llm model id."""

    aliases: tuple[str, ...]
    """Other names of the model."""

    plugin: str
    """The llm plugin that offers the model."""

    sync_model: "Model | None"
    """llm's synchronous model; None if the plugin has only an asynchronous one."""

    async_model: "AsyncModel | None"
    """llm's asynchronous model; None if the plugin has only a synchronous one."""

    price_file: Path | None = None
    """The file with prices of the user's own; None means the public lists alone."""

    @property
    def model(self) -> "Model | AsyncModel":
        """The model that we call: the asynchronous one if it exists."""
        found = self.async_model or self.sync_model
        assert found is not None
        return found

    @property
    def supports_schema(self) -> bool:
        """Whether the model supports JSON schemas; for a consortium that depends on its arbiter."""
        return bool(self.model.supports_schema) and not self.is_consortium

    @property
    def attachment_types(self) -> frozenset[str]:
        """The media types of the files that it takes; empty for a model that takes text alone."""
        return frozenset(getattr(self.async_model or self.sync_model, "attachment_types", None) or ())

    @property
    def is_consortium(self) -> bool:
        """Whether it is a saved consortium; its id is the consortium's name."""
        return bool(getattr(self.async_model or self.sync_model, "is_consortium", False))

    @property
    def needs_short_texts(self) -> bool:
        """Whether it is a very small model, which declares that it needs the short texts."""
        return bool(getattr(self.async_model or self.sync_model, "needs_short_texts", False))

    @property
    def max_parallel_calls(self) -> int | None:
        """The number of calls that it can answer at once; None means no limit."""
        return getattr(self.model, "max_parallel_calls", None)

    def problem(self) -> str | None:
        """Why it cannot be called now, and what to do; None if it can."""
        try:
            return self._own_problem() or self._key_problem() or self._address_problem()
        except Exception as error:  # an exception of a plugin makes only its own model unusable
            why = masked(f"{type(error).__name__}: {error}")
            return f"{self.model_id} ({self.plugin}) cannot be read: {why}; update the plugin or remove it."

    def _own_problem(self) -> str | None:
        own = getattr(self.model, "problem", None)
        return str(sentence) if callable(own) and (sentence := own()) else None

    def _key_problem(self) -> str | None:
        try:
            key = self.model.get_key()
        except llm.NeedsKeyException as error:
            return f"{self.model_id} ({self.plugin}): {error}."
        except (ValueError, OSError, AttributeError):  # of llm's own reading
            if fault := object_fault(llm.user_dir() / "keys.json"):
                return fault
            raise
        name = getattr(self.model, "needs_key", None) or self.model_id
        return key_problem(str(name), key) if isinstance(key, str) else None

    def _address_problem(self) -> str | None:
        return address_problem(self.model_id, getattr(self.model, "api_base", None))

    @cached_property
    def default_options(self) -> dict[str, JsonValue]:
        """The model's options from `llm models options set`."""
        return load_default_options(self.model_id)

    def options_for(self, options: Mapping[str, JsonValue], seed: int | None = None) -> dict[str, JsonValue]:
        """The options of a call, validated by the model's option class: llm's defaults, then the named ones.

        Args:
            seed: for a model that accepts one, unless the options name it; None leaves the choice to the model.
        """
        named = {**self.default_options, **options}
        if seed is not None and "seed" in self.model.Options.model_fields:
            named = {"seed": seed, **named}
        try:
            read: dict[str, JsonValue] = self.model.Options(**named).model_dump(mode="json", include=set(named))
        except ValidationError:  # of a plugin that has changed since; the model itself reports it when it is asked
            return named
        return read

    def check_options(self, options: dict[str, JsonValue]) -> None:
        """Raise ModelUnavailableError if the model does not accept these options, including llm's defaults."""
        try:
            self.model.Options(**{**self.default_options, **options})
        except ValidationError as error:
            wrong = error.errors()[0]
            name = ".".join(str(part) for part in wrong["loc"])
            known = ", ".join(sorted(self.model.Options.model_fields)) or "none"
            is_default = name not in options and name in self.default_options
            remedy = f" {self.default_remedy(name)}" if is_default else ""
            raise ModelUnavailableError(
                f"{self.model_id} does not take the option {name!r} as given: {wrong['msg']}. Its options: {known}."
                f"{remedy}"
            ) from error

    def default_remedy(self, name: str) -> str:
        """The command that removes an option set by `llm models options set`."""
        return f"It is a default of llm: `llm models options clear {self.model_id} {name}` removes it."


class ClientEntry(ModelEntry):
    """The calling client's own model, which is asked through the caller's connection; llm does not know it."""

    def options_for(self, options: Mapping[str, JsonValue], seed: int | None = None) -> dict[str, JsonValue]:
        """The named options; a client accepts no seed."""
        return dict(options)

    supports_schema = False
    max_parallel_calls = None

    def problem(self) -> str | None:
        """None: whether a client offers its model is known only at the call."""
        return None

    def check_options(self, options: dict[str, JsonValue]) -> None:
        """Raise ModelUnavailableError for all options but the length of a reply; the client decides the rest."""
        if others := [name for name in options if name != "max_tokens"]:
            raise ModelUnavailableError(f"{CLIENT} does not take the option {others[0]!r}. Its options: max_tokens.")


CLIENT_ENTRY = ClientEntry(CLIENT, (), "MCP client", None, None)


Models = Mapping[str, Sequence[ModelEntry]]
"""The models that a run may call, each with its backups, by the name in the consortium."""


def with_short_texts(models: Models) -> frozenset[str]:
    """The names whose model and backups all need the short texts."""
    return frozenset(name for name, entries in models.items() if all(one.needs_short_texts for one in entries))


@dataclass(frozen=True)
class Catalogue:
    """All models that llm offers, loaded once."""

    entries: tuple[ModelEntry, ...]
    """The models, in llm's order."""

    broken_plugins: dict[str, str] = field(default_factory=dict)
    """The reason for each plugin that cannot be used, by the plugin's name."""

    broken_file: str | None = None
    """The fault of llm's file of further models, none of which is here then; None if it has none."""

    default_model: str = ""
    """The model that llm uses if none is named."""

    def find(self, name: str) -> ModelEntry | None:
        """The model with this id or alias; None if there is none."""
        return self._by_name.get(name)

    def knows(self, name: str) -> bool:
        """Whether the name is the id or an alias of a model."""
        return name in self._by_name

    def search(
        self,
        query: str | None = None,
        allowed: Collection[str] = (),
        problems: Mapping[str, str | None] = MappingProxyType({}),
    ) -> list[tuple[ModelEntry, str | None]]:
        """The models whose id or an alias contains the query, each with its problem; usable ones first.

        Args:
            allowed: patterns of ids that may be used; none means all.
            problems: why saved consortiums cannot run, by name; their catalogue entries do not know it.
        """
        wanted = (query or "").lower()
        found = [
            (entry, _not_allowed(entry, allowed) or entry.problem() or problems.get(entry.model_id))
            for entry in self.entries
            if any(wanted in name.lower() for name in (entry.model_id, *entry.aliases))
        ]
        return sorted(found, key=lambda one: one[1] is not None)

    def usable_ids(self, allowed: Collection[str] = ()) -> list[str]:
        """The ids of all models that can be called now, without saved consortiums.

        Args:
            allowed: patterns of ids that may be used; none means all.
        """
        found = self.search(allowed=allowed)
        return [entry.model_id for entry, problem in found if problem is None and not entry.is_consortium]

    def usable(self, name: str, allowed: Collection[str] = ()) -> ModelEntry:
        """The model with this id or alias, ready to be called.

        Args:
            allowed: patterns of ids that may be used; none means all.

        Raises:
            ModelUnavailableError: it is unknown, has no key, or is not allowed here; the message says what to do.
        """
        entry = self.find(name)
        if entry is None:
            raise self._unknown(name)
        if problem := _not_allowed(entry, allowed):
            raise ModelUnavailableError(f"The model {entry.model_id!r} is {problem}")
        if problem := entry.problem():
            raise ModelUnavailableError(f"The model {name!r} cannot be used: {problem}", NextStep.LIST_MODELS)
        return entry

    def _unknown(self, name: str) -> ModelUnavailableError:
        message = f"llm knows no model {name!r}."
        if close := difflib.get_close_matches(name, self._by_name, n=3, cutoff=0.6):
            message += f" Did you mean {' or '.join(repr(one) for one in close)}?"
        elif not self.broken_plugins and not self.broken_file:
            message += plugin_sentence(name)
        if self.broken_file:
            message += f" {self.broken_file}"
        if self.broken_plugins:
            broken = "; ".join(f"{plugin}: {why}" for plugin, why in self.broken_plugins.items())
            message += f" These llm plugins are broken ({broken}): update them, or remove them with `llm uninstall`."
        return ModelUnavailableError(message, None if self.broken_plugins or self.broken_file else NextStep.LIST_MODELS)

    @cached_property
    def _by_name(self) -> dict[str, ModelEntry]:
        known = {name: entry for entry in self.entries for name in (*entry.aliases, entry.model_id)}
        return {**known, CLIENT: CLIENT_ENTRY}


def load_catalogue(settings: Settings | None = None) -> Catalogue:
    """Load the models of every llm plugin; the exception of a broken plugin is kept in `broken_plugins`.

    llm's own lookup stops at the first plugin that raises, and asks all plugins again for each model.

    Args:
        settings: give the saved consortiums and the embedded model's weights; None means those in use.
    """
    with using(settings):
        return _load_catalogue()


def _load_catalogue() -> Catalogue:
    broken = _load_plugins()
    found: list[ModelEntry] = []
    extra_aliases = load_aliases()
    registered: list[Any] = []
    broken_file: str | None = None
    for implementation in reversed(llm_plugins.pm.hook.register_models.get_hookimpls()):
        plugin = str(implementation.plugin_name)
        try:
            _ask_plugin(implementation.function, _collector(plugin, found, extra_aliases, registered), registered)
        except Exception as error:  # an exception of a plugin is not our failure
            if plugin == READER and (fault := models_file_fault()):
                broken_file = fault
                continue
            broken[plugin] = masked(f"{type(error).__name__}: {error}")
            logger.warning("The llm plugin %s is broken: %s", plugin, broken[plugin])
    if prices := current_settings().prices:
        found = [replace(one, price_file=prices) for one in found]
    return Catalogue(tuple(found), broken, broken_file, llm.get_default_model())


class RecentCatalogue:
    """One catalogue for the consults of the same second, because asking all plugins takes a millisecond, or much
    longer.

    An outdated catalogue never makes a consult fail. Safe to use from several threads.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._catalogue: Catalogue | None = None
        self._loaded_at = 0.0

    def use(self, work: Callable[[Catalogue], T]) -> T:
        """The result of the work with the catalogue; after a ConsortiumError it is repeated with a new one."""
        catalogue, is_new = self._find()
        try:
            return work(catalogue)
        except ConsortiumError:
            if is_new:
                raise
        return work(load_catalogue(self._settings))

    def _find(self) -> tuple[Catalogue, bool]:
        with self._lock:
            if self._catalogue is not None and time.monotonic() - self._loaded_at < RECENT_SECONDS:
                return self._catalogue, False
            self._catalogue, self._loaded_at = load_catalogue(self._settings), time.monotonic()
            return self._catalogue, True


def _not_allowed(entry: ModelEntry, patterns: Collection[str]) -> str | None:
    """That a model may not be used here, and which ones may; None if it may."""
    if not patterns or any(fnmatchcase(entry.model_id, pattern) for pattern in patterns):
        return None
    return f"not allowed here; allowed: {', '.join(patterns)} (CONSORTIUM_ALLOWED_MODELS)."


def _load_plugins() -> dict[str, str]:
    """Load llm's plugins one by one, so that a broken one is named and does not affect the others."""
    manager = llm_plugins.pm
    with _loading:
        may_load = not llm_plugins._loaded and llm_plugins.LLM_LOAD_PLUGINS is None
        if may_load or not _packages:
            for distribution in importlib.metadata.distributions():
                for entry_point in distribution.entry_points.select(group="llm"):
                    _packages.setdefault(entry_point.name, distribution.name)
                    if may_load and not manager.has_plugin(entry_point.name):
                        try:
                            entry_point.load()
                        except Exception as error:  # as above, for the import of a plugin's code
                            manager.set_blocked(entry_point.name)
                            _broken_at_import[entry_point.name] = masked(f"{type(error).__name__}: {error}")
        llm_plugins.load_plugins()
    return dict(_broken_at_import)


def package_of(plugin: str) -> str:
    """The package that provides the plugin of a loaded catalogue; the plugin's name if the package is unknown."""
    return "llm" if plugin.startswith("llm.") else _packages.get(plugin, plugin)


_loading = threading.Lock()
_packages: dict[str, str] = {}
"""The packages of llm's plugins, by the names of their entry points."""
_broken_at_import: dict[str, str] = {}
"""The plugins that this process could not import, and why: llm imports each plugin once per process."""


def _ask_plugin(hook: Callable[..., Any], register: Callable[..., None], registered: list[Any]) -> None:
    wanted = inspect.signature(hook).parameters
    offered = {"register": register, "model_aliases": registered}
    hook(**{name: value for name, value in offered.items() if name in wanted})


def _collector(
    plugin: str, found: list[ModelEntry], extra: dict[str, list[str]], registered: list[Any]
) -> Callable[..., None]:
    def register(model: Any, async_model: Any = None, aliases: Iterable[str] | None = None) -> None:
        model_id = (model or async_model).model_id
        names = tuple(dict.fromkeys([*(aliases or ()), *extra.get(model_id, ())]))
        registered.append(llm.models.ModelWithAliases(model, async_model, set(names)))
        found.append(ModelEntry(model_id, names, plugin, model, async_model))

    return register
