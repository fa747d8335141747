"""A dry run gives a likely figure beside the range, and says what it is based on."""

from typing import Any

import pytest

from consortium_mcp.service.service import ConsortiumService
from tests.consulted import consulted
from tests.doors.test_cli import run_command
from tests.in_process import in_process
from tests.provider import Fault, Provider, Reply, verdict
from tests.server_process import said, structured

pytestmark = pytest.mark.anyio

RULES: dict[str, Any] = {"max_iterations": 2, "judging_method": "vote"}


async def planned(service: ConsortiumService, **arguments: Any) -> tuple[dict[str, Any], str]:
    """The likely usage of a consult of `a` and `b`, and the text of the plan."""
    async with in_process("auto", service) as client:
        result = await client.call_tool(
            "consult_consortium", {"prompt": "?", "models": ["a", "b"], "dry_run": True, **RULES, **arguments}
        )
    return dict(structured(result)["plan"]["likely"] or {}), said(result)


async def test_without_an_earlier_run_it_is_the_fewest_calls_with_short_replies(
    provider: Provider, service: ConsortiumService
) -> None:
    likely, text = await planned(service)

    assert (likely["calls"], likely["cost_usd"]) == (2, None)
    assert likely["basis"] == "1 iteration, replies of 300 tokens; no earlier run"
    assert f"Likely: 2 calls, {likely['tokens']} tokens, cost unknown ({likely['basis']})." in text


async def test_it_is_the_median_of_the_earlier_runs_of_the_same_definition(
    provider: Provider, service: ConsortiumService
) -> None:
    for number, tokens in enumerate((10, 1_000, 70)):
        provider.on("a", Reply("Answer: yes", input_tokens=tokens, output_tokens=0))
        provider.on("b", Reply("Answer: yes", input_tokens=0, output_tokens=5))
        await consulted(service, "a", "b", prompt=f"Question {number}?", **RULES)
    provider.on("a", Reply("Answer: yes", input_tokens=500_000, output_tokens=0))
    await consulted(service, "a", "b", **{**RULES, "max_iterations": 1})  # another definition

    likely, text = await planned(service)

    assert (likely["calls"], likely["tokens"]) == (2, 75)  # of 15, 75 and 1005
    assert likely["basis"] == "median of 3 earlier runs of the same consortium" and likely["basis"] in text


async def test_a_run_without_an_answer_says_nothing_of_the_next_run(
    provider: Provider, service: ConsortiumService
) -> None:
    provider.on("a", Fault.wrong_key())
    provider.on("b", Fault.wrong_key())
    await consulted(service, "a", "b", **RULES)

    likely, _ = await planned(service)

    assert likely["basis"].endswith("no earlier run")


async def test_what_cannot_run_has_no_likely_figure(provider: Provider, service: ConsortiumService) -> None:
    likely, text = await planned(service, max_calls=1)

    assert likely == {} and "Likely" not in text


def test_the_command_line_shows_it_too(provider: Provider) -> None:
    provider.on("arbiter", verdict("Paris"))
    asked = ("consult", "?", "-m", "a", "--arbiter", "arbiter", "--max-iterations", "1")
    run_command(*asked)

    done = run_command(*asked, "--dry-run")

    assert "Likely: 2 calls, " in done.stdout and "(median of 1 earlier run of the same consortium)." in done.stdout
