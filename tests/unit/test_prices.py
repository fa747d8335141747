"""The cost of a call: from the price lists if the provider is in one, else unknown."""

from typing import Any

import pytest
from llm.default_plugins.openai_models import Chat

from consortium_mcp.models import prices
from consortium_mcp.models.catalogue import ModelEntry


def served_at(api_base: str | None) -> ModelEntry:
    """A model that OpenAI lists, at another address or at OpenAI's."""
    model: Any = Chat("mine", model_name="gpt-4o-mini", api_base=api_base)
    return ModelEntry("mine", (), "llm.default_plugins.openai_models", model, None)


@pytest.mark.parametrize("url", [None, "https://api.openai.com/v1"])
def test_a_listed_provider_has_prices(url: str | None) -> None:
    cost = prices.price_usd(served_at(url), 1_000_000, 0)

    assert cost is not None and cost > 0


def test_a_provider_that_is_on_no_list_has_no_price() -> None:
    assert prices.price_usd(served_at("https://models.example.com/v1"), 1_000, 1_000) is None


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8080/v1",
        "http://[::1]:8080/v1",
        "http://[fe80::1%25eth0",
        "http://localhost:11434/v1",
        "localhost:11434",
        "http://gpu:8000/v1",
        "http://192.168.1.20/v1",
        "api",
    ],
)
def test_a_server_without_a_public_name_has_no_price_and_no_list_is_read(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prices, "genai_prices", None)

    assert prices.price_usd(served_at(url), 1_000, 1_000) is None
