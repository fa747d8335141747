"""Parts of a request that a provider rejects are omitted or renamed: asked once more, reported, and remembered."""

import json
from collections.abc import Callable
from pathlib import Path
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


def has(name: str) -> Callable[[Request], Any]:
    """Whether an option is sent."""
    return lambda request: name in request.options


def has_system(request: Request) -> Any:
    return request.system


def streams(request: Request) -> Any:
    return request.stream


WORDS: tuple[tuple[Callable[[Request], Any], str, dict[str, Any]], ...] = (
    (has_system, "Unsupported value: 'messages[0].role' does not support 'system' with this model.", {}),
    (has_system, "Conversation roles must alternate user/assistant/user/assistant/...", {}),
    (has_system, "Invalid value: 'system'. Supported values are: 'user', 'assistant'.", {}),
    (streams, "This model does not support streaming.", {}),
    (streams, "The model is unsupported for streaming.", {}),
    (streams, "stream=true is not supported", {}),
    (streams, "stream must be false for this model", {}),
    (has("max_tokens"), "Use max_completion_tokens instead of max_tokens, which is not supported.", {"max_tokens": 9}),
    (has("presence_penalty"), "Argument not supported on this model: presencePenalty", {"presence_penalty": 0.5}),
    (has("presence_penalty"), "Presence penalty is not enabled for models/x", {"presence_penalty": 0.5}),
    (has("top_p"), "`temperature` and `top_p` cannot both be specified for this model.", {"top_p": 0.5}),
)


async def test_a_rejection_is_understood_in_the_words_of_each_provider(
    provider: Provider, service: ConsortiumService, llm_home: Path
) -> None:
    members = [
        {"model": f"m{number}", "system_prompt": "Be brief.", "options": options}
        for number, (_, _, options) in enumerate(WORDS)
    ]
    provider.write_llm_config(llm_home, [f"m{number}" for number in range(len(WORDS))], schema=["arbiter"])
    for number, (is_sent, message, _) in enumerate(WORDS):
        provider.on(f"m{number}", rejecting(is_sent, message))
    provider.on("arbiter", verdict())

    run = await consulted(service, consortium=define(members=members, arbiter="arbiter", max_iterations=1))

    assert [one.error for one in run.iterations[0].responses] == [None] * len(WORDS)


@pytest.mark.parametrize(
    "error",
    [
        {"message": "Unsupported parameter", "param": "temperature"},
        {
            "message": "Provider returned error",
            "code": 400,
            "metadata": {
                "raw": '{"error": {"message": "Unsupported value: \'temperature\'"}}',
                "provider_name": "OpenAI",
            },
        },
    ],
    ids=["in a field of its own", "behind OpenRouter"],
)
async def test_a_rejection_is_understood_wherever_its_error_names_the_option(
    provider: Provider, service: ConsortiumService, error: dict[str, Any]
) -> None:
    fault = Fault("rejected", body=json.dumps({"error": error}).encode(), status=400).without_sdk_retries()
    provider.on("a", lambda request: fault if "temperature" in request.options else Reply("It is 42."))
    provider.on("arbiter", verdict())

    run = await consulted(service, 'a {"temperature": 0.5}')

    assert run.degraded == ("a#1: Asked without temperature, which its provider rejects.",)


async def test_as_many_parts_as_a_provider_rejects_are_left_out(provider: Provider, service: ConsortiumService) -> None:
    def reject(request: Request) -> Any:
        sent = next((name for name in ("temperature", "top_p", "seed", "stop") if name in request.options), None)
        message = f"Unsupported parameter: '{sent}' is not supported with this model."
        return Fault.refused("rejected", 400, None, message).without_sdk_retries() if sent else Reply("It is 42.")

    provider.on("a", reject)
    provider.on("arbiter", verdict())

    run = await consulted(service, 'a {"temperature": 0.5, "top_p": 0.5, "seed": 1, "stop": "x"}')

    assert kinds(service, run, "i1/m1") == [*["invalid_request"] * 4, None]


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "This response_format type is unavailable now"),
        (400, "The provided JSON schema contains features not supported by xgrammar."),
        (400, "Bad Request"),
        (422, "\u4e0d\u652f\u6301"),
        (404, "No endpoints found that can handle the requested parameters."),
    ],
)
async def test_an_arbiter_is_asked_without_a_schema_whatever_words_reject_it(
    provider: Provider, service: ConsortiumService, status: int, message: str
) -> None:
    fault = Fault.refused("rejected", status, "invalid_request_error", message).without_sdk_retries()
    provider.on("arbiter", lambda request: fault if request.response_format else Reply(verdict("It is 42.")))

    run = await consulted(service, "a")

    assert (run.answer, run.degraded, len(provider.requests_to("arbiter"))) == ("It is 42.", (), 2)


@pytest.mark.parametrize(
    "message",
    ["Unsupported parameter: 'temperature'", "create() got an unexpected keyword argument 'temperature'"],
    ids=["in words", "in Python's words"],
)
async def test_a_rejection_that_comes_as_a_fault_of_the_server_is_understood(
    provider: Provider, service: ConsortiumService, message: str
) -> None:
    fault = Fault.refused("rejected", 500, "internal_error", message).without_sdk_retries()
    provider.on("a", lambda request: fault if "temperature" in request.options else Reply("It is 42."))
    provider.on("arbiter", verdict())

    run = await consulted(service, 'a {"temperature": 0.5}')

    assert run.degraded == ("a#1: Asked without temperature, which its provider rejects.",)
    assert provider.count("a") == 2


async def test_a_fault_of_the_server_that_only_has_the_words_of_an_option_removes_none(
    provider: Provider, service: ConsortiumService
) -> None:
    fault = Fault.refused("failed", 500, None, "Unknown failure while the temperature was read").without_sdk_retries()
    provider.on("a", [fault, Reply("It is 42.")])
    provider.on("arbiter", verdict())

    run = await consulted(service, 'a {"temperature": 0.5}')

    assert (run.degraded, provider.requests_to("a")[1].options["temperature"]) == ((), 0.5)


async def test_a_default_of_llm_that_is_rejected_is_named_with_the_command_that_removes_it(
    provider: Provider, service: ConsortiumService, llm_home: Path
) -> None:
    (llm_home / "model_options.json").write_text(json.dumps({"a": {"temperature": "0.3"}}))
    provider.on("a", rejecting(has("temperature"), "Unsupported parameter: 'temperature'"))
    provider.on("arbiter", verdict())

    run = await consulted(service, "a", "b")

    assert run.degraded == (
        "a#1: Asked without temperature, which its provider rejects. It is a default of llm: "
        "`llm models options clear a temperature` removes it.",
    )
