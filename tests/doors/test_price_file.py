"""Prices of the user's own, in a file in the form of genai-prices: used for every limit, and checked."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from consortium_mcp.errors import ConsortiumError
from consortium_mcp.models.catalogue import load_catalogue
from consortium_mcp.models.price_file import load_price_file, price_in_file
from consortium_mcp.models.prices import price_usd
from consortium_mcp.service.service import ConsortiumService
from consortium_mcp.settings import load_settings
from tests.doors.test_cli import run_command
from tests.in_process import in_process
from tests.paths import ROOT
from tests.provider import Provider, verdict
from tests.server_process import said, structured

pytestmark = pytest.mark.anyio

Open = Callable[..., ConsortiumService]


def written(path: Path, provider: Provider, prices: Any, *others: dict[str, Any]) -> Path:
    """A file that prices the models of a provider, after other providers."""
    models = [{"id": "ours", "match": {"or": [{"equals": "a"}, {"equals": "arbiter"}]}, "prices": prices}]
    own = {"id": "own", "name": "Our own", "api_pattern": provider.url, "models": models}
    path.write_text(json.dumps([*others, own]))
    return path


@pytest.fixture
def path(tmp_path: Path, provider: Provider) -> Path:
    """A file in which a million tokens cost 2 dollars in and 10 out."""
    return written(tmp_path / "prices.json", provider, {"input_mtok": 2, "output_mtok": 10})


@pytest.mark.parametrize(
    ("prices", "usd"),
    [
        ({"input_mtok": 2, "output_mtok": 10}, 0.0007),  # 100 * 2e-6 + 50 * 10e-6
        ({"input_mtok": "0.5"}, 0.00005),  # 100 * 0.5e-6
        ({"input_mtok": {"base": 1, "tiers": [{"start": 50, "price": 3}]}}, 0.0003),  # 100 * 3e-6
        ([{"prices": {"output_mtok": 4}}], 0.0002),  # 50 * 4e-6
    ],
    ids=repr,
)
def test_every_form_of_a_price_is_read(prices: Any, usd: float, provider: Provider, tmp_path: Path) -> None:
    file = written(tmp_path / "prices.json", provider, prices)

    entry = load_catalogue(load_settings(None, prices=file)).find("a")

    assert entry and price_usd(entry, 100, 50) == pytest.approx(usd)


def test_a_model_is_priced_only_by_the_provider_of_its_address(provider: Provider, tmp_path: Path) -> None:
    other = {"id": "other", "name": "Another", "api_pattern": "https://other.example"}
    models = [{"id": "b", "match": {"equals": "b"}, "prices": {"input_mtok": 99}}]
    file = written(tmp_path / "prices.json", provider, {"input_mtok": 2}, {**other, "models": models})

    found = load_catalogue(load_settings(None, prices=file))
    costs = {name: price_usd(entry, 1_000_000, 0) for name in ("a", "b") if (entry := found.find(name))}

    assert costs == {"a": 2.0, "b": None}


async def test_a_limit_in_dollars_is_held_with_a_price_of_ones_own(
    provider: Provider, path: Path, open_service: Open
) -> None:
    provider.on("arbiter", verdict("Paris"))
    asked = {"prompt": "?", "models": ["a"], "arbiter": "arbiter", "max_iterations": 1, "max_cost_usd": 1}
    async with in_process("auto", open_service(prices=path, confirm_cost_usd=5)) as client:
        answered = structured(await client.call_tool("consult_consortium", asked))

    assert answered["answer"] == "Paris" and answered["usage"]["cost_usd"] > 0


async def test_without_a_price_the_refusal_names_the_file(provider: Provider, open_service: Open) -> None:
    asked = {"prompt": "?", "models": ["a"], "arbiter": "arbiter"}
    async with in_process("auto", open_service(confirm_cost_usd=1)) as client:
        unconfirmed = said(await client.call_tool("consult_consortium", asked))
        unheld = said(await client.call_tool("consult_consortium", {**asked, "max_cost_usd": 1}))

    assert "Or the user gives prices with CONSORTIUM_PRICES." in unconfirmed
    assert "or give prices (CONSORTIUM_PRICES)." in unheld


BAD = {
    "{": "Expecting property name",
    "{}": "it is not a list of providers",
    "[{}]": "0.id: Field required",
    '[{"id": "x", "name": "x", "api_pattern": "["}]': "unterminated character set",
    '[{"id": "x", "name": "x", "api_pattern": "x", "models": [{"id": "m", "match": {"equals": "m"}, '
    '"prices": {"input_mtok": "dear"}}]}]': "Input should be a valid",
    '[{"id": "x", "name": "x", "api_pattern": "x", "models": [{"id": "m", "match": {"equals": "m"}, '
    '"prices": {"pennies": 1}}]}]': "pennies",
    "[" * 100_000: "",
}


@pytest.mark.parametrize(("content", "why"), BAD.items(), ids=range(len(BAD)))
def test_a_file_that_cannot_be_used_is_one_sentence(content: str, why: str, tmp_path: Path) -> None:
    file = tmp_path / "prices.json"
    file.write_text(content)

    with pytest.raises(ConsortiumError) as refused:
        load_price_file(file)

    said = str(refused.value)
    assert said.startswith(f"The price file {file} (CONSORTIUM_PRICES) cannot be used: ") and why in said
    assert said.endswith("Correct it, or unset the variable.") and "\n" not in said


@pytest.mark.parametrize("content", [None, "{"])
def test_a_wrong_file_stops_a_consult_before_any_call_and_doctor_names_it(
    content: str | None, provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "prices.json"
    if content:
        file.write_text(content)
    monkeypatch.setenv("CONSORTIUM_PRICES", str(file))

    asked = run_command("consult", "?", "-m", "a", "--arbiter", "arbiter")
    examined = run_command("doctor")

    assert (asked.returncode, asked.stderr.count("\n"), provider.count()) == (1, 1, 0)
    assert asked.stderr.startswith(f"Error: The price file {file} (CONSORTIUM_PRICES) cannot be used: ")
    assert f"The price file {file}" in " ".join(examined.stdout.split()) and examined.returncode == 1


def test_doctor_says_how_many_models_have_a_price(
    provider: Provider, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONSORTIUM_PRICES", str(path))

    assert "has prices of 1 model" in " ".join(run_command("doctor").stdout.split())


def test_the_example_of_the_docs_prices_a_model_at_its_address(tmp_path: Path) -> None:
    page = (ROOT / "docs/reliability.md").read_text()
    example = page.partition("### Prices of your own")[2].partition("```json")[2].partition("```")[0]
    (tmp_path / "prices.json").write_text(example)

    ask = partial(price_in_file, tmp_path / "prices.json", ["llama3:8b"])

    costs = [ask(base, 1_000_000, 1_000_000) for base in ("http://gpu:8000/v1", None, "http://other:8000/v1")]
    assert costs == [pytest.approx(0.8), pytest.approx(0.8), None]
