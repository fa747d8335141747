"""The price of a call from the public price lists in genai-prices; an unknown price is None, never 0."""

import ipaddress
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from consortium_mcp._util.lazy import genai_prices
from consortium_mcp.models.catalogue import ModelEntry
from consortium_mcp.models.local import LOCAL_MODEL_ID
from consortium_mcp.models.price_file import price_in_file
from consortium_mcp.records.consortium import CLIENT

_PROVIDER_OF_PLUGIN = {"llm.default_plugins.openai_models": "openai"}


def price_usd(entry: ModelEntry, input_tokens: int, output_tokens: int) -> float | None:
    """The cost of these tokens of a model in US dollars; None if no list has its price.

    The user's own price file wins over the public lists. Raises ConsortiumError if that file cannot be used.
    """
    if entry.model_id in (LOCAL_MODEL_ID, CLIENT):  # the calling client pays for its own model
        return 0.0
    if entry.price_file is not None:
        own = price_in_file(entry.price_file, _names(entry), _api_base(entry), input_tokens, output_tokens)
        if own is not None:
            return own
    for model, where in _references(entry):
        if _is_listed(model, *where.items()):
            usage = genai_prices.Usage(input_tokens=input_tokens, output_tokens=output_tokens)
            return float(genai_prices.calc_price(usage, model, **where).total_price)
    return None


@cache
def _is_listed(model: str, *where: tuple[str, Any]) -> bool:
    """Whether a list has the model's price; a search without result takes longest."""
    try:
        genai_prices.calc_price(genai_prices.Usage(input_tokens=1), model, **dict(where))
    except LookupError:
        return False
    return True


def _references(entry: ModelEntry) -> Iterator[tuple[str, dict[str, Any]]]:
    """The names that a price list may have for the model, each with arguments that identify the provider."""
    name = _names(entry)[0]
    if base := _api_base(entry):
        if _is_public(base):  # loading the lists takes memory and a tenth of a second
            yield name, {"provider_api_url": base}  # other providers' prices for the same name do not apply
        return
    provider, slash, rest = name.partition("/")
    if slash:
        yield rest, {"provider_id": provider}
    yield rest or name, {"provider_id": _PROVIDER_OF_PLUGIN.get(entry.plugin)}


def _names(entry: ModelEntry) -> list[str]:
    """The name that the provider knows, then llm's id."""
    known = getattr(entry.model, "model_name", None)
    return [str(known), entry.model_id] if known else [entry.model_id]


def _api_base(entry: ModelEntry) -> str | None:
    """The URL of the model's server, if the model names one."""
    base = getattr(entry.model, "api_base", None)
    return str(base) if base else None


@cache
def _is_public(url: str) -> bool:
    """Whether a server has a public name in the internet; the lists contain only such servers."""
    host = ""
    with suppress(ValueError):
        host = urlsplit(url if "//" in url else f"//{url}").hostname or ""
    with suppress(ValueError):
        ipaddress.ip_address(host)
        return False
    return "." in host
