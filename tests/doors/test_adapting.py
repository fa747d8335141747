"""What a provider rejects of a request is left out or renamed: once asked again, said, and remembered."""

from collections.abc import Callable
from typing import Any

import pytest

from consortium_mcp.records.consortium import define
from consortium_mcp.service.service import ConsortiumService
from tests.consulted import consulted, kinds
from tests.provider import Fault, Provider, Reply, Request, verdict
from tests.replies import AT_ONCE

pytestmark = pytest.mark.anyio


def rejecting(is_sent: Callable[[Request], Any], message: str, answer: str = "It is 42.") -> Callable[[Request], Any]:
    """A provider that answers 400 for as long as something is sent."""
    fault = Fault.refused("rejected", 400, "unsupported_parameter", message).without_sdk_retries()
    return lambda request: fault if is_sent(request) else Reply(answer)


@pytest.fixture(params=["1", "0"], ids=["direct", "by the SDK"])
def service(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, open_service: Callable[..., ConsortiumService]
) -> ConsortiumService:
    """A service for each way of streaming, whose attempts follow at once."""
    monkeypatch.setenv("CONSORTIUM_DIRECT_STREAMING", request.param)
    opened = open_service()
    opened.timing = AT_ONCE
    return opened


ROWS: dict[str, tuple[Callable[[Request], Any], str, dict[str, Any], tuple[str, ...]]] = {
    "stream_options": (
        lambda request: "stream_options" in request.options,
        "Unrecognized request argument supplied: stream_options",
        {},
        (),
    ),
    "max_tokens": (
        lambda request: "max_completion_tokens" not in request.options,
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
        {"options": {"max_tokens": 9}},
        (),
    ),
    "temperature": (
        lambda request: "temperature" in request.options,
        "Unsupported value: 'temperature' does not support 0.5. Only the default (1) value is supported.",
        {"options": {"temperature": 0.5}},
        ("a#1: Asked without temperature, which its provider rejects.",),
    ),
    "system role": (
        lambda request: request.system,
        "System role not supported",
        {"system_prompt": "Be brief."},
        (),
    ),
    "streaming": (
        lambda request: request.stream,
        "Your organization must be verified to stream this model.",
        {},
        (),
    ),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
async def test_what_a_member_rejects_is_not_sent_again(
    provider: Provider, service: ConsortiumService, row: tuple[Any, str, dict[str, Any], tuple[str, ...]]
) -> None:
    is_sent, message, member, degraded = row
    provider.on("a", rejecting(is_sent, message))
    provider.on("arbiter", verdict("It is 42."))

    panel = define(members=[{"model": "a", **member}], arbiter="arbiter", max_iterations=1)
    run = await consulted(service, consortium=panel, arbiter=None)
    again = await consulted(service, consortium=panel, arbiter=None)

    assert (run.answer, run.degraded) == ("It is 42.", degraded)
    assert kinds(service, run, "i1/m1") == ["invalid_request", None]
    assert kinds(service, again, "i1/m1") == [None]  # remembered


async def test_a_system_prompt_that_is_rejected_stands_in_front_of_the_prompt(
    provider: Provider, service: ConsortiumService
) -> None:
    provider.on("a", rejecting(lambda request: request.system, "System role not supported"))
    provider.on("arbiter", verdict())

    panel = define(members=[{"model": "a", "system_prompt": "Be brief."}], arbiter="arbiter", max_iterations=1)
    await consulted(service, consortium=panel, arbiter=None)

    assert provider.requests_to("a")[1].prompt.startswith("Be brief.") and "Why?" in provider.requests[1].prompt


async def test_an_arbiter_that_rejects_schemas_gets_the_schema_in_its_prompt(
    provider: Provider, service: ConsortiumService
) -> None:
    message = "This model does not support response_format json_schema."
    provider.on("arbiter", rejecting(lambda request: request.response_format, message, verdict("It is 42.")))

    run = await consulted(service, "a")

    first, second = provider.requests_to("arbiter")
    assert (run.answer, run.degraded) == ("It is 42.", ())
    assert second.response_format is None and '"synthesis"' in second.prompt and '"synthesis"' not in first.prompt


async def test_a_rejection_that_names_nothing_that_was_sent_is_final(
    provider: Provider, service: ConsortiumService
) -> None:
    provider.on("a", rejecting(lambda request: True, "Unknown parameter: 'temperature'"))
    provider.on("arbiter", verdict())

    run = await consulted(service, "a", "b")

    assert kinds(service, run, "i1/m1") == ["invalid_request"]
