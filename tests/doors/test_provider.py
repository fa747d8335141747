"""The tests' own provider does what its scripts say, seen through llm, as consortium_mcp will see it."""

import asyncio
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx2
import llm
import openai
import pytest

from tests.provider import API_KEY, Fault, Provider, Reply, Request, tagged_verdict, verdict

pytestmark = pytest.mark.anyio
SCHEMA = {"type": "object", "properties": {"synthesis": {"type": "string"}}}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    with Provider() as provider:
        folder = provider.write_llm_config(tmp_path, ["model-a", "model-b"], schema=["arbiter"], refused=["gone"])
        monkeypatch.setenv("LLM_USER_PATH", str(folder))
        yield provider


def ask(model: str = "model-a", prompt: str = "why?", *, stream: bool = True) -> str:
    return llm.get_model(model).prompt(prompt, stream=stream).text()


async def ask_async(model: str = "model-a", prompt: str = "why?", *, stream: bool = True) -> str:
    return await llm.get_async_model(model).prompt(prompt, stream=stream).text()


@pytest.mark.parametrize("stream", [True, False])
def test_sync_model_reads_the_scripted_answer(provider: Provider, stream: bool) -> None:
    provider.on("model-a", "two  words\n")
    assert ask(stream=stream) == "two  words\n"


@pytest.mark.parametrize("stream", [True, False])
async def test_async_model_reads_the_scripted_answer(provider: Provider, stream: bool) -> None:
    provider.on("model-a", "two  words\n")
    assert await ask_async(stream=stream) == "two  words\n"


def test_model_without_a_script_says_who_answered(provider: Provider) -> None:
    assert ask("model-b") == "answer of model-b"


def test_streamed_answer_comes_word_by_word(provider: Provider) -> None:
    provider.on("model-a", "one two three")
    assert list(llm.get_model("model-a").prompt("why?")) == ["one", " two", " three"]


def test_model_can_be_configured_as_one_that_cannot_stream(provider: Provider, tmp_path: Path) -> None:
    provider.write_llm_config(tmp_path, ["model-a"], can_stream=False)
    assert not llm.get_model("model-a").can_stream


@pytest.mark.parametrize("stream", [True, False])
def test_usage_arrives_in_both_manners(provider: Provider, stream: bool) -> None:
    provider.on("model-a", Reply("three more words", input_tokens=70))
    response = llm.get_model("model-a").prompt("why?", stream=stream)
    usage = response.usage()
    assert (usage.input, usage.output) == (70, 3)


def test_request_records_what_was_sent(provider: Provider) -> None:
    llm.get_model("model-a").prompt("why?", system="be brief", temperature=0.5).text()
    request = provider.requests[0]
    assert (request.system, request.prompt, request.options["temperature"], request.api_key, request.stream) == (
        "be brief",
        "why?",
        0.5,
        API_KEY,
        True,
    )


def test_requests_are_numbered_overall_and_for_each_model(provider: Provider) -> None:
    for model in ["model-a", "model-b", "model-b"]:
        ask(model)
    numbers = [(request.number, request.model_number) for request in provider.requests]
    assert numbers == [(1, 1), (2, 1), (3, 2)]


def test_schema_reaches_the_provider(provider: Provider) -> None:
    llm.get_model("arbiter").prompt("judge", schema=SCHEMA).text()
    response_format = provider.requests[0].response_format
    assert response_format and response_format["json_schema"]["schema"] == SCHEMA


def test_list_is_consumed_one_per_call_and_its_last_repeats(provider: Provider) -> None:
    provider.on("model-a", ["first", "second"])
    assert [ask() for _ in range(3)] == ["first", "second", "second"]


def test_function_answers_from_the_request(provider: Provider) -> None:
    provider.on("model-a", lambda request: request.prompt.upper())
    assert ask(prompt="louder") == "LOUDER"


def test_error_in_a_script_is_raised_when_the_provider_closes() -> None:
    def broken(request: Request) -> str:
        raise KeyError("not in my script")

    with pytest.raises(KeyError, match="not in my script"), Provider() as provider:
        provider.on("model-a", broken)
        httpx2.post(f"{provider.url}/chat/completions", json={"model": "model-a", "messages": []})


def test_call_that_cannot_be_read_is_raised_when_the_provider_closes() -> None:
    with pytest.raises(json.JSONDecodeError), Provider() as provider, suppress(httpx2.RemoteProtocolError):
        httpx2.post(f"{provider.url}/chat/completions", content=b"{no json")


def test_verdict_is_json_with_all_its_fields() -> None:
    assert json.loads(verdict("both agree", confidence=0.4, refinement_areas=["costs"])) == {
        "synthesis": "both agree",
        "confidence": 0.4,
        "analysis": "the analysis",
        "dissent": "",
        "needs_iteration": False,
        "refinement_areas": ["costs"],
    }


def test_tagged_verdict_has_the_same_fields_as_the_json() -> None:
    tags = re.findall(r"<(\w+)>", tagged_verdict())
    assert tags == ["synthesis_output", *json.loads(verdict())]


async def test_gate_holds_all_requests_until_it_opens(provider: Provider) -> None:
    gate = provider.gate("model-a", "model-b")
    async with asyncio.TaskGroup() as group:
        for model in ["model-a", "model-b", "model-a"]:
            group.create_task(ask_async(model))
        await gate.wait_for_async(3)
        held = provider.in_flight, provider.finished()
        gate.open()
    assert (held, provider.finished()) == ((3, 0), 3)


def test_gate_lets_other_models_pass(provider: Provider) -> None:
    provider.gate("model-a")
    assert ask("model-b") == "answer of model-b"


def test_a_gate_without_enough_requests_says_how_many_came(provider: Provider) -> None:
    with pytest.raises(TimeoutError, match="0 of 2 requests"):
        provider.gate("model-a").wait_for(2, timeout=0.01)


def test_closing_drops_what_stands_at_a_gate() -> None:
    with ThreadPoolExecutor() as pool:
        with Provider() as provider:
            gate = provider.gate()
            body = {"model": "model-a", "messages": []}
            waiting = pool.submit(httpx2.post, f"{provider.url}/chat/completions", json=body)
            gate.wait_for(1)
        with pytest.raises(httpx2.RemoteProtocolError):
            waiting.result(timeout=10)


async def test_two_hundred_requests_are_in_flight_at_once() -> None:
    with Provider(keep_alive=True) as provider:
        gate = provider.gate()
        limits = httpx2.Limits(max_connections=None)
        async with httpx2.AsyncClient(limits=limits, timeout=30) as client, asyncio.TaskGroup() as group:
            for _ in range(200):
                body = {"model": "model-a", "messages": [], "stream": True}
                group.create_task(client.post(f"{provider.url}/chat/completions", json=body))
            await gate.wait_for_async(200)
            gate.open()
        assert (provider.peak_in_flight, provider.finished(), provider.in_flight) == (200, 200, 0)


async def test_kept_connection_serves_the_next_call() -> None:
    with Provider(keep_alive=True) as provider:
        async with httpx2.AsyncClient(base_url=provider.url) as client:
            body = {"model": "model-a", "messages": [], "stream": True}
            ports = {
                (await client.post("/chat/completions", json=body))
                .extensions["network_stream"]
                .get_extra_info("client_addr")
                for _ in range(3)
            }
        assert len(ports) == 1


def test_models_are_listed(provider: Provider) -> None:
    provider.on("model-a", "hello")
    listed = httpx2.get(f"{provider.url}/models").json()
    assert [model["id"] for model in listed["data"]] == ["model-a"]


@pytest.mark.parametrize(
    ("fault", "error", "code"),
    [
        (Fault.rate_limit(), openai.RateLimitError, "rate_limit_exceeded"),
        (Fault.billing(), openai.RateLimitError, "insufficient_quota"),
        (Fault.server_error(500), openai.InternalServerError, None),
        (Fault.server_error(529), openai.InternalServerError, None),
        (Fault.wrong_key(), openai.AuthenticationError, "invalid_api_key"),
        (Fault.unknown_model(), openai.NotFoundError, "model_not_found"),
        (Fault.context_length(), openai.BadRequestError, "context_length_exceeded"),
    ],
    ids=str,
)
async def test_error_status_arrives_as_the_sdk_names_it(
    provider: Provider, fault: Fault, error: type[openai.APIStatusError], code: str | None
) -> None:
    provider.on("model-a", fault.without_sdk_retries())
    with pytest.raises(error) as caught:
        await ask_async()
    assert (caught.value.status_code, caught.value.code) == (fault.status, code)


def test_sdk_retries_of_a_passing_fault_are_counted(provider: Provider) -> None:
    provider.on("model-a", [Fault.rate_limit(retry_after=0.01), Fault.server_error(503), "at last"])
    assert (ask(), provider.count(), provider.finished()) == ("at last", 3, 1)


def test_retry_after_arrives_as_a_header(provider: Provider) -> None:
    provider.on("model-a", Fault.rate_limit(retry_after=7).without_sdk_retries())
    with pytest.raises(openai.RateLimitError) as caught:
        ask()
    assert caught.value.response.headers["retry-after"] == "7"


async def test_reset_comes_after_the_chunks_that_were_sent(provider: Provider) -> None:
    provider.on("model-a", Fault.reset_mid_stream(after_chunks=2))
    chunks = []
    with pytest.raises(openai.APIConnectionError):
        async for chunk in llm.get_async_model("model-a").prompt("why?"):
            chunks.append(chunk)
    assert chunks == ["one", " two"]


def test_closed_port_refuses_the_connection(provider: Provider) -> None:
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(f"{provider.closed_port()}/models")


def test_refused_model_is_configured_behind_the_closed_port(provider: Provider) -> None:
    with pytest.raises(openai.APIConnectionError):
        ask("gone")


@pytest.mark.parametrize("after_chunks", [0, 2])
async def test_client_that_gives_up_on_a_hang_is_noticed(provider: Provider, after_chunks: int) -> None:
    provider.on("model-a", Fault.hang(after_chunks))
    asking = asyncio.create_task(ask_async())
    await provider.wait_until_async(lambda: provider.in_flight == 1)
    asking.cancel()
    await provider.wait_until_async(lambda: provider.in_flight == 0)
    assert provider.disconnects == 1


def test_slow_answer_is_whole_in_the_end(provider: Provider) -> None:
    provider.on("model-a", Fault.slow(seconds_per_byte=0.0001))
    assert ask(stream=False).startswith("one two three")


def test_garbage_reaches_the_client_untouched(provider: Provider) -> None:
    provider.on("model-a", Fault.garbage())
    response = httpx2.post(f"{provider.url}/chat/completions", json={"model": "model-a", "messages": []})
    assert (response.status_code, response.text) == (200, "<html><body>It works!</body></html>")


def test_garbled_stream_is_no_json(provider: Provider) -> None:
    provider.on("model-a", Fault.garbled_stream())
    with pytest.raises(json.JSONDecodeError):
        ask()


def test_error_in_stream_has_a_code_but_no_status(provider: Provider) -> None:
    provider.on("model-a", Fault.error_in_stream(502))
    with pytest.raises(openai.APIError) as caught:
        ask()
    assert (caught.value.code, hasattr(caught.value, "status_code")) == ("502", False)


@pytest.mark.parametrize(
    ("fault", "text", "finish_reason"),
    [
        (Fault.empty(), "", "stop"),
        (Fault.truncated("half an"), "half an", "length"),
        (Fault.content_filter(), "", "content_filter"),
    ],
    ids=str,
)
def test_answer_that_lacks_something_is_whole_for_llm(
    provider: Provider, fault: Fault, text: str, finish_reason: str
) -> None:
    provider.on("model-a", fault)
    response = llm.get_model("model-a").prompt("why?")
    assert (response.text(), (response.response_json or {}).get("finish_reason")) == (text, finish_reason)


@pytest.mark.parametrize("fault", [Fault.garbage(), Fault.reset_mid_stream(), Fault.wrong_key()], ids=str)
def test_failed_answers_are_counted_but_not_as_finished(provider: Provider, fault: Fault) -> None:
    provider.on("model-a", fault)
    with suppress(httpx2.ReadError, httpx2.RemoteProtocolError):
        httpx2.post(f"{provider.url}/chat/completions", json={"model": "model-a", "messages": [], "stream": True})
    assert (provider.count(), provider.finished(), provider.in_flight) == (1, 0, 0)
