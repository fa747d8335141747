"""Prices of the user's own: a JSON file in the form of the lists in genai-prices."""

import json
import re
import warnings
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from consortium_mcp._util.lazy import LazyModule, genai_prices
from consortium_mcp.errors import ConsortiumError

if TYPE_CHECKING:
    import genai_prices.data_snapshot as lists
    import genai_prices.types as forms
else:
    forms = LazyModule("genai_prices.types")
    lists = LazyModule("genai_prices.data_snapshot")

MOST_BYTES = 10_000_000
"""The largest file that is read; genai-prices' own lists are a tenth of it."""


@cache
def load_price_file(path: Path) -> tuple["forms.Provider", ...]:
    """The providers of a price file; it is read once in a process.

    Raises:
        ConsortiumError: the file is missing, no JSON, or not in the form of the lists.
    """
    try:
        with path.expanduser().open("rb") as file:
            text = file.read(MOST_BYTES + 1)
        if len(text) > MOST_BYTES:
            raise ValueError(f"it has more than {MOST_BYTES} bytes")
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # the library only warns of a price that it does not know
            providers = _providers(json.loads(text))
    except OSError as error:
        raise _unusable(path, error.strerror or str(error)) from error
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise _unusable(path, f"{where}: {problem['msg']}") from error
    except (ValueError, TypeError, ArithmeticError, RecursionError, re.error, Warning) as error:
        raise _unusable(path, str(error) or type(error).__name__) from error
    return tuple(providers)


def price_in_file(
    path: Path, names: Sequence[str], api_base: str | None, input_tokens: int, output_tokens: int
) -> float | None:
    """The cost of these tokens in US dollars by a price file; None if the file does not have the model.

    Args:
        names: the names that the file may have for the model.
        api_base: the URL of its server, which the provider's `api_pattern` must match; None means any provider.

    Raises:
        ConsortiumError: the file cannot be used.
    """
    usage = genai_prices.Usage(input_tokens=input_tokens, output_tokens=output_tokens)
    for provider in load_price_file(path):
        if api_base is not None and not re.match(provider.api_pattern, api_base):
            continue
        for name in names:
            if provider.find_model(name.lower()) is None:
                continue
            found = lists.DataSnapshot([provider], from_auto_update=False)
            return float(found.calc(usage, name, provider.id, None, None).total_price)
    return None


def _unusable(path: Path, why: str) -> ConsortiumError:
    return ConsortiumError(
        f"The price file {path} (CONSORTIUM_PRICES) cannot be used: {why[:200]}. Correct it, or unset the variable."
    )


def _providers(content: Any) -> list["forms.Provider"]:
    """The providers that a file describes. Raises ValueError, ValidationError and their kind."""
    if not isinstance(content, list):
        raise ValueError("it is not a list of providers")
    form = TypeAdapter(list[forms.Provider], config=ConfigDict(arbitrary_types_allowed=True))
    providers = form.validate_python(_with_prices(content))
    for provider in providers:
        re.compile(provider.api_pattern)
        for model in provider.models:
            usage = genai_prices.Usage(input_tokens=1, output_tokens=1)
            found = lists.DataSnapshot([provider], from_auto_update=False)
            if provider.find_model(model.id.lower()) is model:
                found.calc(usage, model.id, provider.id, None, None)
    return providers


def _with_prices(content: Any) -> Any:
    """The content with an object of the library for each price, as its own reader makes them."""
    if isinstance(content, list):
        return [_with_prices(one) for one in content]
    if not isinstance(content, Mapping):
        return content
    return {
        name: _price(value) if name == "prices" and isinstance(value, Mapping) else _with_prices(value)
        for name, value in content.items()
    }


def _price(prices: Mapping[str, Any]) -> "forms.ModelPrice":
    """Prices for a million tokens, or for a number of requests."""
    form = TypeAdapter(dict[str, Decimal | forms.TieredPrices | None])
    return forms.ModelPrice(**form.validate_python(prices))
