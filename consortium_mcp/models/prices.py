"""What a call costs, from the public price lists in genai-prices; an unknown price is unknown, never 0."""

import ipaddress
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from consortium_mcp._util.lazy import genai_prices
from consortium_mcp.models.catalogue import ModelEntry
from consortium_mcp.models.local import LOCAL_MODEL_ID
from consortium_mcp.records.consortium import CLIENT

_PROVIDER_OF_PLUGIN = {"llm.default_plugins.openai_models": "openai"}


def price_usd(entry: ModelEntry, input_tokens: int, output_tokens: int) -> float | None:
    """What so many tokens of a model cost in US dollars; None when no list has its price."""
    if entry.model_id in (LOCAL_MODEL_ID, CLIENT):  # the calling client pays for the latter
        return 0.0
    for model, where in _references(entry):
        if _is_listed(model, *where.items()):
            usage = genai_prices.Usage(input_tokens=input_tokens, output_tokens=output_tokens)
            return float(genai_prices.calc_price(usage, model, **where).total_price)
    return None


@cache
def _is_listed(model: str, *where: tuple[str, Any]) -> bool:
    """Whether a list has the model's price; to look for one that none has takes longest."""
    try:
        genai_prices.calc_price(genai_prices.Usage(input_tokens=1), model, **dict(where))
    except LookupError:
        return False
    return True


def _references(entry: ModelEntry) -> Iterator[tuple[str, dict[str, Any]]]:
    """How a price list may name the model, and by what it knows the provider."""
    name = str(getattr(entry.model, "model_name", None) or entry.model_id)
    if base := getattr(entry.model, "api_base", None):
        if _is_public(str(base)):  # reading the lists takes memory and a tenth of a second
            yield name, {"provider_api_url": str(base)}  # other providers' prices for the name mean nothing
        return
    provider, slash, rest = name.partition("/")
    if slash:
        yield rest, {"provider_id": provider}
    yield rest or name, {"provider_id": _PROVIDER_OF_PLUGIN.get(entry.plugin)}


@cache
def _is_public(url: str) -> bool:
    """Whether a server has a name in the internet, as each has that a list knows."""
    host = ""
    with suppress(ValueError):
        host = urlsplit(url if "//" in url else f"//{url}").hostname or ""
    with suppress(ValueError):
        ipaddress.ip_address(host)
        return False
    return "." in host
