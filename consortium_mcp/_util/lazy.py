"""Imports modules that are slow to import at their first use."""

import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

__all__ = [
    "LazyModule",
    "aiohttp",
    "babel",
    "genai_prices",
    "httpx2",
    "jinja2",
    "lazy_names",
    "llm",
    "llm_migrations",
    "llm_plugins",
    "llm_utils",
    "markdown_it",
    "openai",
]


class LazyModule:
    """A substitute for a module; reading its first attribute imports the module."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(importlib.import_module(self._name), attribute)


def lazy_names(package: str, homes: Mapping[str, tuple[str, ...]]) -> Callable[[str], Any]:
    """The `__getattr__` of a package whose modules are imported when one of their names is first used.

    Args:
        homes: the names that the package takes from each module.
    """

    def find(name: str) -> Any:
        for home, names in homes.items():
            if name in names:
                return getattr(importlib.import_module(f"{package}.{home}"), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return find


if TYPE_CHECKING:
    import aiohttp
    import babel
    import genai_prices
    import httpx2
    import jinja2
    import llm
    import llm.migrations as llm_migrations
    import llm.plugins as llm_plugins
    import llm.utils as llm_utils
    import markdown_it
    import openai
else:
    aiohttp = LazyModule("aiohttp")
    babel = LazyModule("babel")
    genai_prices = LazyModule("genai_prices")
    httpx2 = LazyModule("httpx2")
    jinja2 = LazyModule("jinja2")
    llm = LazyModule("llm")
    llm_migrations = LazyModule("llm.migrations")
    llm_plugins = LazyModule("llm.plugins")
    llm_utils = LazyModule("llm.utils")
    markdown_it = LazyModule("markdown_it")
    openai = LazyModule("openai")
