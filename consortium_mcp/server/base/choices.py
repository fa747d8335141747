"""What a caller can choose from now, as tools/list names it: saved consortiums, usable models, strategies, methods."""

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
"""How many names a description holds, and what they may cost together."""


class SchemaChoices:
    """What can be chosen: the saved names as they are now, all else as it was when it was last looked up."""

    def __init__(self, list_saved: Callable[[], Sequence[str]], settings: Settings) -> None:
        """A menu that has yet to look up what takes its time.

        Args:
            list_saved: the names of the saved consortiums now; called in a thread.
            settings: say which models there are, and which of them callers may use.
        """
        self._list_saved = list_saved
        self._settings = settings
        self._models: list[str] = []
        self._rules: dict[str, Schema] = {}
        self._was_shown = False
        """Whether a client has seen the current models and rules."""

    async def choices(self) -> dict[str, dict[str, Schema]]:
        """What is added to the schema of these tools' arguments; names stand in the tool that needs them most."""
        saved = await anyio.to_thread.run_sync(self._saved_names)
        self._was_shown = True
        names = {
            "consortium": {"description": _named("Saved", saved, "list_consortiums")},
            "models": {"description": _named("Usable", self._models, "list_models")},
        }
        return {"consult_consortium": names | self._rules, "save_consortium": self._rules}

    def rules(self) -> dict[str, dict[str, Schema]]:
        """The same without names, which differ from place to place: the strategies and methods that were looked up."""
        return {"consult_consortium": self._rules, "save_consortium": self._rules}

    async def look_up(self) -> bool:
        """Find out what can be used now, and whether a client was shown something else.

        This imports llm and its plugins, however long that takes.
        """
        models, rules = await anyio.to_thread.run_sync(self._find, abandon_on_cancel=True)
        if (models, rules) == (self._models, self._rules):
            return False
        self._models, self._rules = models, rules
        was_shown, self._was_shown = self._was_shown, False
        return was_shown

    def _saved_names(self) -> Sequence[str]:
        with suppress(ConsortiumError):  # the tools that need the store say what is wrong with it
            return self._list_saved()
        return ()

    def _find(self) -> tuple[list[str], dict[str, Schema]]:
        """The models that may be used here, llm's default first, and the rules with those of other packages.

        The saved consortiums, which llm offers as models too, have a place of their own. Where the models cannot be
        looked up, they are the known ones.
        """
        rules: dict[str, Schema] = {
            "strategy": {"enum": list(strategies.strategies())},
            "judging_method": {"enum": list(arbiter.judging_methods())},
        }
        try:
            found = catalogue.load_catalogue(self._settings)
            usable = found.usable_ids(self._settings.allowed_models)
            return sorted(usable, key=lambda model: model != found.default_model), rules
        except Exception as error:  # of llm, its files or its plugins; the tools that need models say what is wrong
            logger.warning("The models cannot be listed: %s: %s", type(error).__name__, masked(str(error)))
            return self._models, rules


def _named(what: str, names: Iterable[str], where: str) -> str:
    """`Saved: code, legal.`, or the first few of them and which tool lists all."""
    known = [plain(name) for name in names]
    shown: list[str] = []
    for name in known[:MOST_NAMES]:
        if most_tokens(", ".join([*shown, name])) > MOST_TOKENS:
            break
        shown.append(name)
    if len(shown) < len(known):
        return f"{what}: {', '.join([*shown, '…'])}; {where} lists all."
    return f"{what}: {', '.join(shown)}." if shown else f"{where} lists them."
