"""One call to one model over real HTTP: the request, the record, the limits of simultaneous calls, and cancellation."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import llm
import pytest
from llm.parts import StreamEvent

from consortium_mcp import consult
from consortium_mcp._util.threads import in_thread
from consortium_mcp.models.calling import ConcurrencyLimits, make_call
from consortium_mcp.models.catalogue import ModelEntry, load_catalogue
from consortium_mcp.models.openai_clients import KeptClients
from consortium_mcp.records import CallId, CallResult, CallSpec, Turn
from consortium_mcp.service.service import ConsortiumService
from tests.consulted import consulted
from tests.provider import Fault, Provider, Reply, verdict
from tests.store_methods import replace_method

SPEC = CallSpec(call_id=CallId("i1/m1"), iteration=1, label="a#1", model="a", prompt="why?")
AddModel = Callable[..., None]


def entry_of(model: str) -> ModelEntry:
    return load_catalogue().usable(model)


async def call(
    model: str = "a",
    limits: ConcurrencyLimits | None = None,
    timeout_seconds: float = 60,
    log: Callable[[Any], None] = lambda response: None,
    **fields: Any,
) -> CallResult:
    """One call, as a run makes it."""
    spec = SPEC.model_copy(update=fields)
    return await make_call(entry_of(model), spec, limits or ConcurrencyLimits(64), timeout_seconds, log)


async def happens(event: threading.Event) -> None:
    """Returns when a thread has set the event."""
    assert await anyio.to_thread.run_sync(event.wait, 30, limiter=anyio.CapacityLimiter(1))


# what is recorded


@pytest.mark.parametrize("can_stream", [True, False], ids=["streamed", "whole"])
async def test_text_usage_ending_and_model_are_recorded(provider: Provider, llm_home: Any, can_stream: bool) -> None:
    provider.write_llm_config(llm_home, ["a"], can_stream=can_stream)
    provider.on("a", Reply("because it is", input_tokens=11, output_tokens=7, resolved_model="a-2026-11-01"))

    result = await call()

    assert provider.requests[0].stream is can_stream
    assert result == CallResult(
        text="because it is",
        finish_reason="stop",
        resolved_model="a-2026-11-01",
        input_tokens=11,
        output_tokens=7,
        first_piece_ms=result.first_piece_ms,
        duration_ms=result.duration_ms,
        datetime_utc=result.datetime_utc,
    )


async def test_beginning_and_duration_are_recorded(provider: Provider) -> None:
    result = await call()

    assert result.datetime_utc.endswith("+00:00")
    assert result.duration_ms > 0


async def test_what_a_provider_does_not_count_is_unknown(provider: Provider) -> None:
    provider.on("a", Reply("because", reports_usage=False))

    result = await call()

    assert (result.text, result.input_tokens, result.output_tokens) == ("because", None, None)


@pytest.mark.parametrize("text", ["", "   ", "\n"])
async def test_B31_an_empty_reply_is_an_error(provider: Provider, text: str) -> None:
    provider.on("a", Reply(text))

    result = await call()

    assert (result.ok, result.error_kind, result.error) == (False, "empty", "The model gave an empty reply.")


async def test_B32_a_truncated_reply_is_marked_and_its_text_is_kept(provider: Provider) -> None:
    provider.on("a", Fault.truncated("This answer stops in the"))

    result = await call()

    assert (result.ok, result.error_kind, result.text) == (True, "truncated", "This answer stops in the")


async def test_B31_and_B32_reach_the_reader_of_a_run(provider: Provider) -> None:
    provider.on("a", Fault.empty())
    provider.on("b", Fault.truncated("half"))
    provider.on("arbiter", verdict("so"))

    run = await consult("why?", models=["a", "b", "c"], arbiter="arbiter", max_iterations=1)

    assert [response.error_kind for response in run.iterations[0].responses] == ["empty", "truncated", None]


async def test_only_complete_replies_are_logged(provider: Provider) -> None:
    provider.on("a", ["first", Fault.wrong_key(), Fault.reset_mid_stream(), "last"])
    logged: list[str] = []

    for _ in range(4):
        await call(log=lambda response: logged.append("".join(response._chunks)))

    assert logged == ["first", "last"]


# what is sent


def messages(provider: Provider) -> list[tuple[str, str]]:
    """Role and text of each message of the one request that came."""
    [request] = provider.requests
    return [(message["role"], message["content"]) for message in request.messages]


async def test_B1_the_prompt_is_sent_as_it_is(provider: Provider) -> None:
    await call(prompt="Is <b>1 < 2</b>?\n\n{x}")

    assert messages(provider) == [("user", "Is <b>1 < 2</b>?\n\n{x}")]


async def test_B1_the_system_prompt_is_a_system_message(provider: Provider) -> None:
    await call(system="Be brief.")

    assert messages(provider) == [("system", "Be brief."), ("user", "why?")]


@pytest.mark.parametrize("system", [None, "Be brief."])
async def test_B1_earlier_turns_are_messages(provider: Provider, system: str | None) -> None:
    history = (Turn(role="user", text="sky?"), Turn(role="assistant", text="blue"))
    await call(system=system, history=history)

    first = [("system", system)] if system else []
    assert messages(provider) == [*first, ("user", "sky?"), ("assistant", "blue"), ("user", "why?")]


async def test_options_are_sent(provider: Provider) -> None:
    await call(options={"temperature": 0.25, "max_tokens": 100})

    options = provider.requests[0].options
    assert (options["temperature"], options["max_tokens"]) == (0.25, 100)


async def test_a_schema_is_sent_to_a_model_that_supports_it(provider: Provider) -> None:
    schema = {"type": "object", "properties": {"x": {"type": "string"}}}
    await call("arbiter", output_schema=schema)

    assert (provider.requests[0].response_format or {})["json_schema"]["schema"] == schema


async def test_the_key_is_taken_from_llm(provider: Provider) -> None:
    await call()

    assert provider.requests[0].api_key == "key-of-the-tests"


# asynchronous or in a thread


class SyncModel(llm.Model):
    """A model without an asynchronous side; it yields what it is given."""

    can_stream = True

    def __init__(self, model_id: str, *chunks: str, max_parallel_calls: int | None = None) -> None:
        self.model_id = model_id
        self.chunks = chunks
        self.max_parallel_calls = max_parallel_calls
        self.threads: list[str] = []

    def execute(self, prompt: Any, stream: bool, response: Any, conversation: Any) -> Iterator[str]:
        """Yield the chunks."""
        self.threads.append(threading.current_thread().name)
        yield from self.chunks


class AsyncModel(llm.AsyncModel):
    """The asynchronous side of one that has both."""

    model_id = "both"

    async def execute(self, prompt: Any, stream: bool, response: Any, conversation: Any) -> Any:
        """Say which side it is."""
        yield "asynchronous"


async def test_the_asynchronous_model_is_used_where_there_is_one(add_model: AddModel) -> None:
    add_model(SyncModel("both", "synchronous"), AsyncModel())

    assert (await call("both")).text == "asynchronous"


async def test_a_model_that_is_only_asynchronous_is_called(add_model: AddModel) -> None:
    add_model(None, AsyncModel())

    assert (await call("both")).text == "asynchronous"


async def test_a_model_that_is_only_synchronous_is_called_in_a_thread(add_model: AddModel) -> None:
    model = SyncModel("sync", "one ", "two")
    add_model(model)

    result = await call("sync")

    assert result.text == "one two"
    assert threading.current_thread().name not in model.threads


class ObservedModel(SyncModel):
    """Reports its first chunk, waits before the second, and reports when no caller wants more."""

    def __init__(self, model_id: str = "observed") -> None:
        super().__init__(model_id)
        self.begun, self.go_on, self.left = threading.Event(), threading.Event(), threading.Event()
        self.given: list[str] = []

    def execute(self, prompt: Any, stream: bool, response: Any, conversation: Any) -> Iterator[str]:
        """Yield numbers for ever."""
        try:
            for number in range(1_000_000):
                self.given.append(f"{number} ")
                yield f"{number} "
                self.begun.set()
                self.go_on.wait(30)
        finally:
            self.left.set()


async def test_a_cancelled_synchronous_model_stops_at_its_next_chunk(add_model: AddModel) -> None:
    model = ObservedModel()
    add_model(model)
    # The thread has taken the first chunk when it asks for the second.
    async with anyio.create_task_group() as group:
        group.start_soon(call, "observed")
        await happens(model.begun)
        group.cancel_scope.cancel()
    model.go_on.set()
    await happens(model.left)

    assert model.given == ["0 ", "1 "]


async def test_a_synchronous_model_that_hangs_is_a_timeout_and_stops_at_its_next_chunk(add_model: AddModel) -> None:
    model = ObservedModel()
    add_model(model)

    result = await call("observed", timeout_seconds=0.2)
    model.go_on.set()
    await happens(model.left)

    assert (result.error_kind, result.ok) == ("timeout", False)


async def test_what_a_synchronous_model_raises_is_the_calls_error(add_model: AddModel) -> None:
    class Broken(SyncModel):
        def execute(self, prompt: Any, stream: bool, response: Any, conversation: Any) -> Iterator[str]:
            yield "one"
            raise ConnectionError("the line is cut")

    add_model(Broken("broken"))

    result = await call("broken")
    assert (result.text, result.error_kind, result.error) == ("one", "network", "the line is cut. Check the network.")


async def test_a_cancelled_asynchronous_call_hangs_up(provider: Provider) -> None:
    gate = provider.gate("a")
    async with anyio.create_task_group() as group:
        group.start_soon(call)
        await gate.wait_for_async(1)
        group.cancel_scope.cancel()
    await provider.wait_until_async(lambda: provider.disconnects == 1)

    assert provider.finished() == 0


# how many at once


async def test_fifty_synchronous_calls_are_in_flight_at_once(add_model: AddModel) -> None:
    together = threading.Barrier(50, timeout=30)

    class Meeting(SyncModel):
        def execute(self, prompt: Any, stream: bool, response: Any, conversation: Any) -> Iterator[str]:
            together.wait()
            yield "met"

    add_model(Meeting("meeting"))
    limits, entry, results = ConcurrencyLimits(64), entry_of("meeting"), list[str | None]()

    async def one() -> None:
        results.append((await make_call(entry, SPEC, limits, 60, lambda response: None)).text)

    async with anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(one)

    assert results == ["met"] * 50


async def test_a_model_that_cannot_be_called_twice_at_once_is_queued_and_holds_up_no_other(
    add_model: AddModel,
) -> None:
    class Single(SyncModel):
        begun, go_on = threading.Event(), threading.Event()
        inside = peak = 0

        def execute(self, prompt: Any, stream: bool, response: Any, conversation: Any) -> Iterator[str]:
            self.inside += 1
            self.peak = max(self.peak, self.inside)
            self.begun.set()
            self.go_on.wait(30)
            yield "one"
            self.inside -= 1

    single, free = Single("single", max_parallel_calls=1), SyncModel("free", "here")
    add_model(single)
    add_model(free)
    limits, results = ConcurrencyLimits(2), list[str | None]()

    async def one() -> None:
        results.append((await call("single", limits)).text)

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(one)
        await happens(single.begun)
        results.append((await call("free", limits)).text)
        single.go_on.set()

    assert (single.peak, results) == (1, ["here", "one", "one", "one"])


async def test_no_more_calls_are_in_flight_than_the_settings_allow(provider: Provider) -> None:
    gate = provider.gate("a")
    limits = ConcurrencyLimits(2)
    async with anyio.create_task_group() as group:
        for _ in range(6):
            group.start_soon(call, "a", limits)
        await gate.wait_for_async(2)
        gate.open()

    assert (provider.peak_in_flight, provider.finished()) == (2, 6)


async def test_a_call_that_was_cancelled_before_its_turn_never_has_it(provider: Provider) -> None:
    turns: list[bool] = []

    with anyio.CancelScope() as scope:
        scope.cancel()
        await make_call(
            entry_of("a"), SPEC, ConcurrencyLimits(64), 60, lambda response: None, on_turn=lambda: turns.append(True)
        )

    assert scope.cancelled_caught and turns == [] and provider.count() == 0


async def test_waiting_for_a_slot_is_not_part_of_the_timeout(provider: Provider) -> None:
    provider.on("a", [Fault.hang(), "at last"])
    limits, results = ConcurrencyLimits(1), list[str | None]()

    async def one() -> None:
        result = await call("a", limits, timeout_seconds=1)
        results.append(result.text or result.error_kind)

    async with anyio.create_task_group() as group:
        group.start_soon(one)
        group.start_soon(one)

    assert results == ["timeout", "at last"]


# text that is no text


async def test_a_character_that_came_in_two_halves_is_one(add_model: AddModel) -> None:
    add_model(SyncModel("halves", "a \ud83d", "\ude00 b"))

    assert (await call("halves")).text == "a 😀 b"


async def test_half_a_character_does_not_lose_the_run(provider: Provider) -> None:
    provider.on("a", "half \ud83d a character")
    provider.on("b", Fault.refused("half", 400, None, "half \ud83d a reason"))
    provider.on("arbiter", verdict("so \ud83d"))

    run = await consult("why?", models=["a", "b"], arbiter="arbiter", max_iterations=1)

    assert (run.iterations[0].responses[0].text, run.iterations[0].responses[1].error, run.answer) == (
        "half \ufffd a character",
        "Error code: 400 - half \ufffd a reason",
        "so \ufffd",
    )


async def test_models_that_many_runs_share_get_one_client_from_the_first_run(provider: Provider) -> None:
    clients, together = KeptClients(), threading.Barrier(8)
    entry = load_catalogue().usable("a")

    def use() -> None:
        together.wait(30)
        clients.use_in(entry)

    with ThreadPoolExecutor(8) as threads:
        for done in [threads.submit(use) for _ in range(8)]:
            done.result()
    model: Any = entry.async_model
    found = {id(model.get_client(None, async_=True)) for _ in range(3)}
    await clients.aclose()

    assert len(found) == 1


class Odd(llm.Model):
    """A model whose plugin misbehaves before it answers."""

    model_id = "odd"

    def __init__(self, does: Callable[[Any], None]) -> None:
        self.does = does

    def execute(self, prompt: Any, stream: bool, response: Any, conversation: Any) -> Iterator[str]:
        self.does(response)
        yield "I am sure."


class AsyncOdd(llm.AsyncModel):
    """The same, asynchronous."""

    model_id = "odd"

    def __init__(self, does: Callable[[Any], None]) -> None:
        self.does = does

    async def execute(self, prompt: Any, stream: bool, response: Any, conversation: Any) -> AsyncGenerator[str]:
        self.does(response)
        yield "I am sure."


@pytest.mark.parametrize("tokens", ["many", -1_000_000, 10**30, 3.5, float("nan"), True], ids=str)
async def test_a_count_that_is_none_costs_no_answer_and_gives_no_budget_back(
    provider: Provider, service: ConsortiumService, add_model: AddModel, tokens: Any
) -> None:
    add_model(Odd(lambda response: response.set_usage(input=tokens, output=7)))
    provider.on("arbiter", verdict("Paris"))

    run = await consulted(service, "a", "odd", max_iterations=1)

    assert run.answer == "Paris" and run.degraded == () and run.iterations[0].responses[1].text == "I am sure."
    assert (run.usage.input_tokens or 0) >= 0 and service.store.journal.load_spending.sync(f"run:{run.run_id}")[1] >= 0


def name_no_model(response: Any) -> None:
    response.resolved_model = 123


def end_for_half_a_character(response: Any) -> None:
    response.response_json = {"finish_reason": "st\ud800"}


@pytest.mark.parametrize("does", [name_no_model, end_for_half_a_character])
async def test_what_a_provider_says_beside_its_text_costs_no_answer(
    provider: Provider, service: ConsortiumService, add_model: AddModel, does: Callable[[Any], None]
) -> None:
    add_model(Odd(does))
    provider.on("arbiter", verdict("Paris"))

    run = await consulted(service, "a", "odd", max_iterations=1)

    assert run.answer == "Paris" and run.degraded == ()


class OllamaChatModel(Odd):
    """As llm-ollama's, which keeps a payload of whole replies alone."""


@pytest.mark.parametrize(
    ("payload", "kind"), [({"done_reason": "stop"}, None), (None, "broken_off")], ids=["whole", "cut off"]
)
async def test_a_reply_without_the_payload_that_its_plugin_keeps_of_whole_ones_is_broken_off(
    add_model: AddModel, payload: Any, kind: str | None
) -> None:
    add_model(OllamaChatModel(lambda response: setattr(response, "response_json", payload)))

    result = await call("odd")

    assert (result.error_kind, result.text) == (kind, "I am sure.")


class ToolCaller(Odd):
    """A plugin's model that calls a tool and says nothing."""

    def execute(self, *arguments: Any, **named: Any) -> Iterator[Any]:
        yield StreamEvent(type="tool_call_name", chunk="look_up", tool_call_id="call_1")
        yield StreamEvent(type="tool_call_args", chunk="{}", tool_call_id="call_1")


class ToolArbiter(Odd):
    """A plugin's model that gives what it is asked for by calling a tool, as older ones of Anthropic's do."""

    def execute(self, *arguments: Any, **named: Any) -> Iterator[Any]:
        yield StreamEvent(type="tool_call_name", chunk="output_structured_data", tool_call_id="call_1")
        for piece in ('{"synthesis": "Par', 'is", "confidence": 0.8}'):
            yield StreamEvent(type="tool_call_args", chunk=piece, tool_call_id="call_1")


async def test_a_verdict_that_a_plugin_gives_by_calling_a_tool_is_read(
    provider: Provider, service: ConsortiumService, add_model: AddModel
) -> None:
    add_model(ToolArbiter(lambda response: None))

    run = await consulted(service, "a", arbiter="odd", max_iterations=1)

    assert (run.answer, run.degraded) == ("Paris", ())


async def test_a_plugins_reply_that_only_calls_a_tool_says_so(add_model: AddModel) -> None:
    add_model(ToolCaller(lambda response: None))

    result = await call("odd")

    assert result.error_kind == "invalid_reply"
    assert result.error == "The model called a tool (look_up) and gave no answer."


@pytest.mark.parametrize("kind", [Odd, AsyncOdd])
@pytest.mark.parametrize(
    "error", [SystemExit(3), asyncio.CancelledError("by a plugin"), LookupError("nothing")], ids=repr
)
async def test_what_a_plugin_raises_ends_neither_the_process_nor_the_run(
    provider: Provider, service: ConsortiumService, add_model: AddModel, kind: Any, error: BaseException
) -> None:
    def fail(response: Any) -> None:
        raise error

    add_model(*([kind(fail)] if kind is Odd else [None, kind(fail)]))
    provider.on("arbiter", verdict("Paris"))

    run = await consulted(service, "a", "odd", max_iterations=1)

    assert (run.answer, run.status) == ("Paris", "converged")
    assert run.degraded[0].startswith("1 of 2 instances gave no response (odd#1: ")
    assert run.iterations[0].responses[1].error_kind in ("internal", "invalid_reply")


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), StopIteration(), LookupError()], ids=repr)
async def test_an_exception_in_a_thread_is_an_error_for_its_caller(error: BaseException) -> None:
    def work() -> None:
        raise error

    with pytest.raises(LookupError if isinstance(error, LookupError) else RuntimeError):
        await in_thread(work)


async def test_an_unexpected_error_in_one_call_affects_no_other_response(
    provider: Provider, service: ConsortiumService, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settle = service.store.journal.settle_attempt.sync

    def cannot_settle(run_id: str, call_id: str, *settled: Any, **more: Any) -> CallResult:
        if call_id == "i1/m2":
            raise OverflowError("nobody foresaw it")
        return settle(run_id, call_id, *settled, **more)

    replace_method(monkeypatch, service.store.journal, "settle_attempt", cannot_settle)
    provider.on("arbiter", verdict("Paris"))

    run = await consulted(service, "a", "b", max_iterations=1)

    assert run.answer == "Paris" and "1 of 2 instances gave no response (b#1: internal, " in run.degraded[0]
    assert "OverflowError: nobody foresaw it" in caplog.text


async def test_keys_that_cannot_be_read_just_now_are_a_failure_of_the_call(provider: Provider, llm_home: Path) -> None:
    entry = entry_of("a")
    (llm_home / "keys.json").write_text('{"half')

    result = await make_call(entry, SPEC, ConcurrencyLimits(1), 60, lambda response: None)

    assert not result.ok and provider.count() == 0
