"""Libraries that are slow to import, imported at their first use: a server's first answer must not wait for them."""

import importlib
from typing import TYPE_CHECKING, Any

__all__ = ["genai_prices", "llm", "llm_migrations", "llm_plugins"]

if TYPE_CHECKING:
    import genai_prices
    import llm
    import llm.migrations as llm_migrations
    import llm.plugins as llm_plugins
else:

    class _LazyModule:
        """Stands for a module; the first attribute read imports it."""

        def __init__(self, name: str) -> None:
            self._name = name

        def __getattr__(self, attribute: str) -> Any:
            return getattr(importlib.import_module(self._name), attribute)

    genai_prices = _LazyModule("genai_prices")
    llm = _LazyModule("llm")
    llm_migrations = _LazyModule("llm.migrations")
    llm_plugins = _LazyModule("llm.plugins")
