"""The choices that tools/list names: saved consortiums, usable models, strategies, methods."""

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio.to_thread

from consortium_mcp._util.lazy import LazyModule
from consortium_mcp.errors import ConsortiumError
from consortium_mcp.server.base.result_size import most_tokens
from consortium_mcp.server.base.tool_schemas import Schema
from consortium_mcp.settings import Settings
from consortium_mcp.text.masking import masked
from consortium_mcp.text.templates import plain

if TYPE_CHECKING:
    import consortium_mcp.engine.judging as arbiter
    import consortium_mcp.engine.strategies as strategies
    import consortium_mcp.models.catalogue as catalogue
else:
    arbiter = LazyModule("consortium_mcp.engine.judging")
    catalogue = LazyModule("consortium_mcp.models.catalogue")
    strategies = LazyModule("consortium_mcp.engine.strategies")

logger = logging.getLogger(__name__)

MOST_NAMES = 10
MOST_TOKENS = 80
"""The most names in a description, and the most tokens of all its names."""


class SchemaChoices:
    """The choices: current saved names, and everything else as of the last `look_up`."""

    def __init__(self, list_saved: Callable[[], Sequence[str]], settings: Settings) -> None:
        """Create it without looking up models.

        Args:
            list_saved: returns the current saved names; called in a thread.
            settings: give the models, and which of them callers may use.
        """
        self.list_saved = list_saved
        """Returns the current saved names."""
        self._settings = settings
        self._models: list[str] = []
        self._rules: dict[str, Schema] = {}
        self._was_shown = False
        """Whether a client has seen the current models and rules."""

    async def choices(self) -> dict[str, dict[str, Schema]]:
        """The additions to these tools' argument schemas; a name is listed only at the tool that needs it most."""
        saved = await anyio.to_thread.run_sync(self._saved_names)
        self._was_shown = True
        names = {
            "consortium": {"description": _named("Saved", saved, "list_consortiums")},
            "models": {"description": _named("Usable", self._models, "list_models")},
        }
        return {"consult_consortium": names | self._rules, "save_consortium": self._rules}

    def rules(self) -> dict[str, dict[str, Schema]]:
        """The same without names, which differ between machines: the strategies and methods of the last `look_up`."""
        return {"consult_consortium": self._rules, "save_consortium": self._rules}

    async def look_up(self) -> bool:
        """Load the current models and rules; returns whether a client has seen an outdated list.

        This imports llm and its plugins, which can take long.
        """
        models, rules = await anyio.to_thread.run_sync(self._find, abandon_on_cancel=True)
        if (models, rules) == (self._models, self._rules):
            return False
        self._models, self._rules = models, rules
        was_shown, self._was_shown = self._was_shown, False
        return was_shown

    def _saved_names(self) -> Sequence[str]:
        with suppress(ConsortiumError):  # the tools that need the store report its error
            return self.list_saved()
        return ()

    def _find(self) -> tuple[list[str], dict[str, Schema]]:
        """The usable models, llm's default first, and the rules, with those of other packages.

        Saved consortiums, which llm offers as models too, are listed separately. If the models cannot be loaded, the
        previous ones stay.
        """
        rules: dict[str, Schema] = {
            "strategy": {"enum": list(strategies.strategies())},
            "judging_method": {"enum": list(arbiter.judging_methods())},
        }
        try:
            found = catalogue.load_catalogue(self._settings)
            usable = found.usable_ids(self._settings.allowed_models)
            return sorted(usable, key=lambda model: model != found.default_model), rules
        except Exception as error:  # from llm, its files or its plugins; the tools that need models report the error
            logger.warning("The models cannot be listed: %s: %s", type(error).__name__, masked(str(error)))
            return self._models, rules


def _named(what: str, names: Iterable[str], where: str) -> str:
    """`Saved: code, legal.`, or the first few names and the tool that lists all."""
    known = [plain(name) for name in names]
    shown: list[str] = []
    for name in known[:MOST_NAMES]:
        if most_tokens(", ".join([*shown, name])) > MOST_TOKENS:
            break
        shown.append(name)
    if len(shown) < len(known):
        return f"{what}: {', '.join([*shown, '…'])}; {where} lists all."
    return f"{what}: {', '.join(shown)}." if shown else f"{where} lists them."
