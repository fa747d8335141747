"""Every failure of a provider has its kind, over real HTTP, and no message shows a key."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import llm
import openai
import pytest

from consortium_mcp.errors import RunFailedError
from consortium_mcp.models.calling import ConcurrencyLimits, make_call
from consortium_mcp.models.catalogue import load_catalogue
from consortium_mcp.models.failures import RETRIED, classify, find_finish_reason, reply_failure
from consortium_mcp.models.reply_events import EventReader
from consortium_mcp.records import CallId, CallResult, CallSpec
from consortium_mcp.records.consortium import define
from consortium_mcp.service.service import ConsortiumService
from tests.consulted import consulted
from tests.provider import API_KEY, Fault, Provider

UNREADABLE = "The plugin llm-x cannot read the provider's reply. `llm install -U llm-x` may repair it."

SPEC = CallSpec(call_id=CallId("i1/m1"), iteration=1, label="a#1", model="a", prompt="why?")

KINDS = [
    (Fault.rate_limit(), "rate_limit"),
    (Fault.rate_limit(retry_after=2), "rate_limit"),
    (Fault.billing(), "billing"),
    (Fault.server_error(500), "server"),
    (Fault.server_error(503), "server"),
    (Fault.server_error(529), "server"),
    (Fault.wrong_key(), "auth"),
    (Fault.unknown_model(), "model_unavailable"),
    (Fault.context_length(), "context_length"),
    (Fault.garbage(), "invalid_reply"),
    (Fault.garbage(b"", "application/json"), "invalid_reply"),
    (Fault.garbled_stream(), "invalid_reply"),
    (Fault.empty(), "empty"),
    (Fault.content_filter(), "content_filter"),
    (Fault.content_filter("half an answer"), "content_filter"),
    (Fault.truncated(), "truncated"),
]


async def ask(model: str = "a", timeout_seconds: float = 60) -> CallResult:
    """One call, as a run makes it."""
    entry = load_catalogue().usable(model)
    return await make_call(entry, SPEC, ConcurrencyLimits(1), timeout_seconds, lambda response: None)


def without_sdk_retries(fault: Fault) -> Fault:
    return fault.without_sdk_retries() if fault.body is not None else fault


@pytest.mark.parametrize("can_stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize(("fault", "kind"), KINDS, ids=[f"{fault}-{kind}" for fault, kind in KINDS])
async def test_each_fault_has_its_kind(
    provider: Provider, llm_home: Path, fault: Fault, kind: str, can_stream: bool
) -> None:
    provider.write_llm_config(llm_home, ["a"], can_stream=can_stream)
    provider.on("a", without_sdk_retries(fault))

    assert (await ask()).error_kind == kind


@pytest.mark.parametrize(
    ("code", "kind"),
    [(502, "server"), ("502", "server"), ("server_error", "server"), (429, "rate_limit"), (402, "billing")],
)
async def test_an_error_in_the_middle_of_a_stream_has_its_kind(provider: Provider, code: int | str, kind: str) -> None:
    provider.on("a", Fault.error_in_stream(code))

    assert (await ask()).error_kind == kind


async def test_a_connection_that_breaks_is_network(provider: Provider) -> None:
    provider.on("a", Fault.reset_mid_stream(after_chunks=2))

    assert (await ask()).error_kind == "network"


async def test_a_port_without_a_listener_is_network(provider: Provider, llm_home: Path) -> None:
    provider.write_llm_config(llm_home, ["a"], refused=["gone"])

    assert (await ask("gone")).error_kind == "network"


@pytest.mark.parametrize("after_chunks", [0, 2])
async def test_B23_silence_is_a_timeout(provider: Provider, after_chunks: int) -> None:
    provider.on("a", Fault.hang(after_chunks))

    result = await ask(timeout_seconds=0.2)

    assert (result.error_kind, result.error) == ("timeout", "No full reply within 0.2 seconds.")


async def test_an_answer_of_one_byte_now_and_then_is_a_timeout(provider: Provider) -> None:
    provider.on("a", Fault.slow(0.05))

    assert (await ask(timeout_seconds=0.2)).error_kind == "timeout"


async def test_billing_and_rate_limit_differ_although_both_are_429(provider: Provider) -> None:
    provider.on("a", [fault.without_sdk_retries() for fault in (Fault.billing(), Fault.rate_limit())])

    kinds = [(await ask()).error_kind, (await ask()).error_kind]

    assert [kind in RETRIED for kind in kinds] == [False, True]


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [
        *((None, None), (7, 7.0), ("0.5", 0.5), (-3, 0.0)),
        *(("soon", None), ("inf", None), ("nan", None), ("1e999", None)),
        ("Fri, 27 Nov 99999 00:00:00 GMT", None),
    ],
)
def test_a_failure_says_how_long_the_provider_asks_us_to_wait(
    provider: Provider, retry_after: float | str | None, seconds: float | None
) -> None:
    provider.on("a", Fault.rate_limit(retry_after).without_sdk_retries())

    with pytest.raises(openai.RateLimitError) as caught:
        llm.get_model("a").prompt("why?").text()
    assert classify(caught.value).retry_after_seconds == seconds


# messages


@pytest.mark.parametrize(
    "secret",
    [
        API_KEY,
        "sk-proj-abcDEF0123456789",
        "sk-ant-api03-abcDEF-0123456789",
        "gsk_abcDEF0123456789",
        "AIzaSyA0123456789abcdef",
        "Bearer abcDEF0123456789",
        "api_key=abcDEF0123456789",
        "https://host/v1?key=abcDEF0123456789&alt=sse",
    ],
)
async def test_no_message_shows_a_key(provider: Provider, secret: str) -> None:
    provider.on("a", Fault.refused("echo", 400, None, f"Refused: {secret} is wrong"))

    message = (await ask()).error or ""

    assert message.startswith("Error code: 400 - Refused: ")
    assert secret[-10:] not in message and "0123456789" not in message


async def test_a_key_of_any_form_is_masked_because_it_is_known(provider: Provider, llm_home: Path) -> None:
    (llm_home / "keys.json").write_text('{"tests-provider": "opensesame"}')
    provider.on("a", Fault.refused("echo", 400, None, "The word opensesame is wrong"))

    assert (await ask()).error == "Error code: 400 - The word … is wrong"


@pytest.mark.parametrize("text", ["the task-force-2000 met", "a risk-averse-person", "keyboard-shortcuts"])
async def test_words_that_only_look_like_keys_stay(provider: Provider, text: str) -> None:
    provider.on("a", Fault.refused("plain", 400, None, text))

    assert (await ask()).error == f"Error code: 400 - {text}"


# exceptions of other plugins


class Response:
    """What httpx and its kind hang on an exception."""

    def __init__(self, status_code: int, headers: dict[str, str] | None = None) -> None:
        self.status_code = status_code
        self.headers = headers or {}


def error_with(words: str = "it failed", **attributes: Any) -> Exception:
    error = Exception(words)
    for name, value in attributes.items():
        setattr(error, name, value)
    return error


def caused(outer: Exception, inner: Exception) -> Exception:
    outer.__cause__ = inner
    return outer


def without_context(outer: Exception, inner: Exception) -> Exception:
    """What `raise outer from None` makes of it."""
    outer.__context__, outer.__suppress_context__ = inner, True
    return outer


def while_handling(outer: Exception, inner: Exception) -> Exception:
    outer.__context__ = inner
    return outer


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (error_with(status_code=429), "rate_limit"),
        (error_with(response=Response(503)), "server"),
        (error_with(response=Response(402)), "billing"),
        (error_with(status_code=529, body={"type": "error", "error": {"type": "overloaded_error"}}), "server"),
        (error_with(status_code=400, body={"error": {"type": "billing_error"}}), "billing"),
        (error_with(status_code=500, body={"error": {"type": "api_error"}}), "server"),
        (error_with(body={"error": {"status": "RESOURCE_EXHAUSTED", "code": 429}}), "rate_limit"),
        (error_with(body={"error": {"status": "INTERNAL"}}), "server"),
        (caused(llm.ModelError("wrapped"), error_with(status_code=401)), "auth"),
        (while_handling(KeyError("error"), error_with(status_code=503)), "server"),
        (llm.NeedsKeyException("no key"), "auth"),
        (TimeoutError(), "timeout"),
        (ConnectionResetError(), "network"),
        (KeyError("choices"), "invalid_reply"),
        (ValueError("its own reason"), "invalid_reply"),
        (llm.ModelError("API key not valid. Please pass a valid API key."), "auth"),
        (llm.ModelError("You exceeded your current quota, check your billing. Please retry in 1s."), "rate_limit"),
        (llm.ModelError("You exceeded your current quota, check your billing."), "billing"),
        (error_with(body='{"error": {"status": "RESOURCE_EXHAUSTED"}}'), "rate_limit"),
    ],
    ids=str,
)
def test_B6_kinds_are_found_in_types_codes_and_bodies(error: Exception, kind: str) -> None:
    assert classify(error).kind == kind


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (error_with(status_code=429, headers={"retry-after": "2"}), 2.0),
        (without_context(error_with(status_code=429), error_with(response=Response(429, {"retry-after": "3"}))), 3.0),
        (llm.ModelError("Quota exceeded. Please retry in 4s."), 4.0),
    ],
    ids=["headers of its own", "hidden by `from None`", "in words"],
)
def test_a_wait_is_found_where_plugins_leave_it(error: Exception, seconds: float) -> None:
    assert classify(error).retry_after_seconds == seconds


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (error_with(status_code=401, body='{"detail": "Unauthorized"}'), "Error code: 401 - Unauthorized"),
        (error_with(status_code=500, words="too busy (status code: 500)"), "Error code: 500 - too busy"),
    ],
    ids=["a body as text", "words alone"],
)
def test_words_are_found_where_plugins_leave_them(error: Exception, message: str) -> None:
    assert classify(error).message == message


@pytest.mark.parametrize("make", [ValueError, RuntimeError])
def test_B6_the_words_of_a_message_decide_nothing(make: Callable[[str], Exception]) -> None:
    assert classify(make("RateLimitError: 429 timeout, insufficient_quota")).kind == "invalid_reply"


def test_B35_an_llm_error_of_a_consortium_keeps_its_cause(provider: Provider, service: ConsortiumService) -> None:
    service.store.consortiums.save.sync("panel", define(members=[{"model": "a"}]))
    provider.on("a", Fault.wrong_key())

    with pytest.raises(llm.ModelError, match="a#1: auth") as caught:
        llm.get_model("panel").prompt("?").text()

    assert isinstance(caught.value.__cause__, RunFailedError)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError(), "The plugin llm-x failed, and gave no reason."),
        (ValueError("its own reason"), "its own reason"),
        (KeyError("choices"), UNREADABLE),
        (TypeError("'NoneType' object is not subscriptable"), UNREADABLE),
        (RuntimeError("'Message' object has no attribute 'text'"), UNREADABLE),
        (json.JSONDecodeError("Expecting value", "<html>", 0), "The provider's reply is not valid JSON."),
    ],
    ids=str,
)
def test_what_a_plugin_raises_is_said_without_the_words_of_python(error: Exception, message: str) -> None:
    failure = classify(error, plugin="llm-x")

    assert (failure.kind, failure.message) == ("invalid_reply", message)


def test_an_address_that_redirects_in_a_loop_is_named() -> None:
    class TooManyRedirects(Exception):
        """As httpx and requests call it."""

    failure = classify(caused(ConnectionError("Connection error."), TooManyRedirects("Exceeded")))

    assert failure.kind == "invalid_request"
    assert failure.message == "The model's address redirects in a loop. Check its api_base."


def test_a_connection_that_a_plugins_client_lost_is_said_in_words() -> None:
    class RemoteProtocolError(Exception):
        """As httpx calls it."""

    failure = classify(RemoteProtocolError("peer closed connection (incomplete chunked read)"))

    assert failure.kind == "network"
    assert failure.message == "Connection error: the provider closed the connection before its reply was complete."


def test_a_fault_in_our_own_code_is_internal_and_only_that() -> None:
    with pytest.raises(TypeError) as caught:
        find_model_of_nothing()

    assert classify(caught.value).kind == "internal"


def find_model_of_nothing() -> None:
    """A fault in code of ours, which takes what was given for an event."""
    EventReader().feed(None).__next__()  # type: ignore[arg-type]


# finish reasons


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ({"choices": [{"finish_reason": "length", "message": {"content": "x"}}]}, "length"),
        ({"content": "x", "finish_reason": "stop"}, "stop"),
        ({"stop_reason": "max_tokens", "content": []}, "max_tokens"),
        ({"candidates": [{"content": {"parts": []}, "finishReason": "MAX_TOKENS"}]}, "MAX_TOKENS"),
        ({"done": True, "done_reason": "stop"}, "stop"),
        ([{"choices": [{"finish_reason": None}]}, {"choices": [{"finish_reason": "length"}]}], "length"),
        ({"choices": []}, None),
        (None, None),
    ],
)
def test_B32_the_finish_reason_is_found_at_whatever_depth(payload: Any, reason: str | None) -> None:
    assert find_finish_reason(payload) == reason


@pytest.mark.parametrize(
    "payload",
    [
        {"content": [{"text": "The capital is"}], "stop_reason": None},
        {"chunks": [{"choices": [{"delta": {"content": "The capital is"}, "finish_reason": None}]}]},
        {"candidates": [{"index": 0}], "modelVersion": "gemini"},
    ],
    ids=["Anthropic's", "Mistral's", "Gemini's"],
)
def test_a_plugins_reply_without_its_finish_reason_is_broken_off(payload: Any) -> None:
    failure = reply_failure(payload, find_finish_reason(payload), "The capital is")

    assert failure is not None
    assert (failure.kind, failure.message) == (
        "broken_off",
        "The reply broke off after 14 characters: it has no finish reason.",
    )


@pytest.mark.parametrize("payload", [None, {}, {"text": "The capital is Paris."}, {"done": True}], ids=str)
def test_a_payload_that_has_no_place_for_a_finish_reason_says_nothing(payload: Any) -> None:
    assert reply_failure(payload, None, "The capital is Paris.") is None


def test_a_fault_of_the_tests_provider_is_never_left_out() -> None:
    made = {name for name in vars(Fault) if isinstance(vars(Fault)[name], staticmethod)} - {"refused"}
    named = {str(replace(fault, status=0)).partition("_5")[0] for fault, _ in KINDS}

    assert made - named == {"hang", "reset_mid_stream", "slow", "error_in_stream"}


@pytest.mark.parametrize(
    ("fault", "kind", "sentence"),
    [
        (
            Fault.refused("forbidden", 403, None, "You may not use this."),
            "auth",
            "Error code: 403 - You may not use this. The account of the key tests-provider may not do this: change its "
            "rights at the provider, or use another key.",
        ),
        (
            Fault.refused("wrong_path", 404, None, "Invalid URL (POST /v2/chat/completions)"),
            "invalid_request",
            "Error code: 404 - Invalid URL (POST /v2/chat/completions). Check the model's api_base.",
        ),
        (
            Fault.unknown_model(),
            "model_unavailable",
            "Error code: 404 - The model does not exist or you cannot use it. Choose another model, or correct its "
            "name: the provider lists its models.",
        ),
        (
            Fault.wrong_key(),
            "auth",
            "Error code: 401 - Incorrect API key provided: key-…. Set the key with `llm keys set tests-provider`.",
        ),
    ],
    ids=["403", "wrong path", "unknown model", "wrong key"],
)
async def test_a_rejected_call_says_what_to_repair(provider: Provider, fault: Fault, kind: str, sentence: str) -> None:
    provider.on("a", fault)

    result = await ask()

    assert (result.error_kind, result.error) == (kind, sentence)


async def test_a_server_that_cannot_be_reached_is_named_once_with_its_repair(
    provider: Provider, llm_home: Path, service: ConsortiumService
) -> None:
    provider.write_llm_config(llm_home, ["a", "arbiter"], refused=["gone"])
    lines = json.loads((llm_home / "extra-openai-models.yaml").read_text())
    lines[0]["api_base"] = "http://no-such-host.invalid/v1"
    (llm_home / "extra-openai-models.yaml").write_text(json.dumps(lines))
    server = provider.closed_port().removesuffix("/v1").rpartition("/")[2]

    responses = (await consulted(service, "gone", "a")).iterations[0].responses

    repair = "Start the server, correct the model's api_base, or check the network."
    assert [one.error for one in responses] == [
        f"Connection error: cannot connect to {server} (connection refused). {repair}",
        f"Connection error: the host no-such-host.invalid is not found. {repair}",
    ]
