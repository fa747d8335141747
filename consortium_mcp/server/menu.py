"""What a caller can choose from now, as tools/list names it: saved consortiums, usable models, strategies, methods."""

import logging
from collections.abc import Iterable
from contextlib import suppress

import anyio
import anyio.to_thread

from consortium_mcp.arbiter import judging_methods
from consortium_mcp.catalogue import load_catalogue
from consortium_mcp.errors import ConsortiumError
from consortium_mcp.masking import masked
from consortium_mcp.runner import Runner
from consortium_mcp.server.limits import most_tokens
from consortium_mcp.server.schemas import Schema
from consortium_mcp.strategies import strategies
from consortium_mcp.texts import plain

logger = logging.getLogger(__name__)

MOST_NAMES = 10
MOST_TOKENS = 80
"""How many names a description holds, and what they may cost together."""

PATIENCE_SECONDS = 1.5
"""How long tools/list waits for the models; llm and its plugins may take longer to import."""


class Menu:
    """Looks up what can be chosen, anew for each tools/list."""

    def __init__(self, runner: Runner) -> None:
        self._office = runner.consultancy
        self._models: list[str] | None = None
        """Those that could be used when they were last looked up; None before that."""

    @property
    def has_models(self) -> bool:
        """Whether the models are known by now."""
        return self._models is not None

    async def choices(self) -> dict[str, dict[str, Schema]]:
        """What is added to the schema of these tools' arguments; names stand in the tool that needs them most."""
        saved = await anyio.to_thread.run_sync(self._saved_names)
        with anyio.move_on_after(PATIENCE_SECONDS):
            await self.look_up_models()
        # llm offers the saved ones as models, too.
        models = [model for model in self._models or () if model not in saved]
        names = {
            "consortium": {"description": _named("Saved", saved, "list_consortiums")},
            "models": {"description": _named("Usable", models, "list_models")},
        }
        rules: dict[str, Schema] = {
            "strategy": {"enum": list(strategies())},
            "judging_method": {"enum": list(judging_methods())},
        }
        return {"consult_consortium": names | rules, "save_consortium": rules}

    def _saved_names(self) -> list[str]:
        with suppress(ConsortiumError):  # the tools that need the store say what is wrong with it
            return self._office.store.list_consortium_names()
        return []

    async def look_up_models(self) -> None:
        """Find out what can be used now, however long that takes; who does not wait gets it the next time."""
        await anyio.to_thread.run_sync(self._find_models, abandon_on_cancel=True)

    def _find_models(self) -> None:
        """Those that may be used here, llm's default first."""
        found: list[str] = []
        try:
            catalogue = load_catalogue()
            usable = catalogue.usable_ids(self._office.settings.allowed_models)
            found = sorted(usable, key=lambda model: model != catalogue.default_model)
        except Exception as error:  # of llm, its files or its plugins; the tools that need models say what is wrong
            logger.warning("The models cannot be looked up: %s: %s", type(error).__name__, masked(str(error)))
        self._models = found


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
