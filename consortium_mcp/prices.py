"""What a call costs, from the public price lists in genai-prices; an unknown price is unknown, never 0."""

from collections.abc import Iterator
from decimal import Decimal

from consortium_mcp.catalogue import ModelEntry
from consortium_mcp.lazy import genai_prices
from consortium_mcp.local_model import LOCAL_MODEL_ID

_PROVIDER_OF_PLUGIN = {"llm.default_plugins.openai_models": "openai"}


def price_usd(entry: ModelEntry, input_tokens: int, output_tokens: int) -> float | None:
    """What so many tokens of a model cost in US dollars; None when no list has its price."""
    if entry.model_id == LOCAL_MODEL_ID:
        return 0.0
    usage = genai_prices.Usage(input_tokens=input_tokens, output_tokens=output_tokens)
    for model, provider, url in _references(entry):
        try:
            found = genai_prices.calc_price(usage, model, provider_id=provider, provider_api_url=url)
        except LookupError:
            continue
        return float(Decimal(found.total_price))
    return None


def _references(entry: ModelEntry) -> Iterator[tuple[str, str | None, str | None]]:
    """How a price list may name the model: (model, provider, address of its API)."""
    name = str(getattr(entry.model, "model_name", None) or entry.model_id)
    if base := getattr(entry.model, "api_base", None):
        yield name, None, str(base)  # somebody's own address: another provider's price for the name means nothing
        return
    provider, slash, rest = name.partition("/")
    if slash:
        yield rest, provider, None
    yield rest or name, _PROVIDER_OF_PLUGIN.get(entry.plugin), None
