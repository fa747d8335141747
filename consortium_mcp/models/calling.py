"""One call to one llm model: asynchronous or in a thread, with a timeout, its usage and its ending."""

import asyncio
import math
import os
import re
import threading
import time
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakValueDictionary

import anyio
from anyio.lowlevel import RunVar

from consortium_mcp._util.lazy import llm
from consortium_mcp._util.places import Places
from consortium_mcp._util.threads import in_thread
from consortium_mcp.models.adapting import STREAM, adaptations_of, adapted, learn, note_of
from consortium_mcp.models.attaching import as_llm_attachments
from consortium_mcp.models.catalogue import ModelEntry, package_of
from consortium_mcp.models.credentials import credentials_of
from consortium_mcp.models.failures import Failure, classify, find_finish_reason, find_model, reply_failure
from consortium_mcp.models.remedies import with_remedy
from consortium_mcp.models.reply_bounds import MOST_CHARACTERS, too_large
from consortium_mcp.models.reply_faults import broken_off
from consortium_mcp.models.watching import Reader, Watch, watching
from consortium_mcp.records import CallResult, CallSpec, ErrorKind, Turn, now_utc
from consortium_mcp.records.outer_call import give_sign_of_life
from consortium_mcp.settings import MOST, Settings
from consortium_mcp.text.masking import masked, without_secrets
from consortium_mcp.text.templates import storable
from consortium_mcp.text.thinking import Split, told_apart
from consortium_mcp.text.wrappings import unwrapped

ResponseSink = Callable[[Any], None]
"""Receives each finished llm response, for llm's own log."""


_REJECTIONS: frozenset[ErrorKind] = frozenset(
    {"invalid_request", "invalid_reply", "auth", "model_unavailable", "server"}
)
"""The error kinds whose message may name the rejected part of a request."""

_VERDICT = re.compile(r"""["'<](synthesis|best|ranking|confidence)\b""", re.IGNORECASE)
"""The fields that every form of a verdict has."""

_KEEPING_WHOLE = {"Responses", "AsyncResponses", "OllamaChatModel", "AsyncOllamaChatModel"}
"""The classes that keep the payload of complete replies only: llm's for OpenAI's Responses API, and llm-ollama's."""

NESTED_SHARE = 0.9
"""The part of a call's time that a nested consortium may use."""

ChunkSink = Callable[[str], None]
"""Receives each chunk of a reply as it arrives."""


def ignore(chunk: str) -> None:
    """The ChunkSink of a reply that no reader follows."""


class ConcurrencyLimits:
    """The limits of simultaneous work over all event loops of the process."""

    def __init__(self, max_concurrent_calls: int, max_concurrent_runs: int = 1) -> None:
        self.runs = Places(max_concurrent_runs)
        """The places of active runs; nested runs need none."""
        self.consults = Places(max_concurrent_runs)
        """The places of consults by the Python API, which wait before their run opens; nested consults need none."""
        self._calls = Places(max_concurrent_calls)
        self._of_model: dict[str, Places] = {}

    def of(self, entry: ModelEntry) -> list[Places]:
        """The places that a call of the model takes, in the order in which it takes them.

        A call of a consortium takes none: the calls inside it take places, and must not wait for this call.
        """
        if entry.is_consortium:
            return []
        if entry.max_parallel_calls is None:
            return [self._calls]
        return [self._of_model.setdefault(entry.model_id, Places(entry.max_parallel_calls)), self._calls]


_limits: WeakValueDictionary[tuple[Settings, int], ConcurrencyLimits] = WeakValueDictionary()
_finding = threading.Lock()


def limits_of(settings: Settings) -> ConcurrencyLimits:
    """The limits for all work of this process with these settings, for as long as they are referenced."""
    key = (settings, os.getpid())  # a forked process has places of its own
    with _finding:
        if (limits := _limits.get(key)) is None:
            limits = ConcurrencyLimits(settings.max_concurrent_calls, settings.max_concurrent_runs)
            _limits[key] = limits
        return limits


async def take_place(places: Places, seconds: float) -> bool:
    """Take a place, at once if one is free; False if none became free in time."""
    with anyio.move_on_after(seconds) as waiting:
        await places.take()
    return not waiting.cancelled_caught


async def make_call(
    entry: ModelEntry,
    spec: CallSpec,
    limits: ConcurrencyLimits,
    timeout_seconds: float,
    log: ResponseSink,
    over: float = math.inf,
    hear: ChunkSink = ignore,
    on_turn: Callable[[], None] = lambda: None,
) -> CallResult:
    """Make the call. Each failure of the model is in the result; only cancellation is raised.

    Args:
        timeout_seconds: the limit for the call itself, from the first byte sent to the last received; waiting for a
            place in `limits` is not counted.
        log: gets the llm response when it is complete.
        over: when (`time.monotonic()`) the call must have ended, waiting for a place included.
        hear: gets the reply in chunks as they arrive.
        on_turn: called when it is the call's turn; nothing is sent before.
    """
    with ExitStack() as held:
        for limiter in limits.of(entry):
            if not await take_place(limiter, over - time.monotonic()):
                return CallResult(
                    error_kind="timeout", error=("The call was still queued when the run reached its deadline.")
                )
            held.callback(limiter.release)
        await _turn()
        on_turn()
        timeout_seconds = min(timeout_seconds, over - time.monotonic())
        began, started = now_utc(), time.monotonic()
        collected = _Collected(hear)
        failure: Failure | None = None
        asked = adapted(entry, spec)
        watch = Watch(adaptations_of(entry))
        secrets = credentials_of(entry)
        watching.set(watch)
        try:
            with anyio.move_on_after(timeout_seconds) as scope:
                await _collect(entry, _within(entry, asked, timeout_seconds), collected)
            if scope.cancelled_caught:
                within = f"{round(timeout_seconds, 2):g} seconds"
                failure = Failure(kind="timeout", message=f"No full reply within {within}.")
        # A plugin may raise anything, even an exception that would end the process or its task; each becomes a result.
        except (Exception, SystemExit, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and _is_cancelled():
                raise
            failure = with_remedy(classify(error, package_of(entry.plugin), secrets), entry)
            if failure.kind in _REJECTIONS:
                learn(entry, asked, failure)
        duration_ms = round((time.monotonic() - started) * 1000)
        if failure is None and collected.response is not None:
            log(collected.response)
        first_piece_ms = round((collected.first_at - started) * 1000) if collected.first_at else None
        result = _as_result(spec, collected, watch.reader, failure, began, duration_ms, secrets)
        return result.model_copy(update={"first_piece_ms": first_piece_ms, "note": note_of(entry, spec)})


_turns: RunVar[anyio.Semaphore] = RunVar("turns")


async def _turn() -> None:
    """Wait for a turn of the event loop in which no other call begins; a cancelled call gets none.

    The loop sends at the end of a turn. If calls began in the same turn, all would wait for the last of them, and their
    replies would arrive together.
    """
    turns = _turns.get(None) or anyio.Semaphore(1, fast_acquire=True)
    _turns.set(turns)
    await turns.acquire()
    asyncio.get_running_loop().call_soon(turns.release)


def _is_cancelled() -> bool:
    """Whether our own task was cancelled, and not only a task of a plugin."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


@dataclass
class _Collected:
    """The parts of a reply that have arrived."""

    hear: ChunkSink
    chunks: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    tool: str | None = None
    """The first tool that the model called; None if it called none."""
    tool_arguments: list[str] = field(default_factory=list)
    """The arguments of the tool calls, in pieces."""
    response: Any = None
    characters: int = 0
    """The number of events of any kind."""
    first_at: float | None = None
    """The time of the first piece (`time.monotonic()`); None before it."""

    def count(self, event: Any) -> None:
        """Raise ReplyFault if more has arrived than the limits of a reply allow; called in the reading thread."""
        self.characters += len(event.chunk or "")
        if self.characters > MOST_CHARACTERS:
            raise too_large(MOST_CHARACTERS, "characters")

    def note(self, event: Any) -> None:
        """Store the text and the thinking of one of llm's stream events; each event is a sign of life."""
        self.first_at = self.first_at or time.monotonic()
        give_sign_of_life()
        if event.type == "text":
            self.chunks.append(event.chunk)
            self.hear(event.chunk)
        elif event.type == "reasoning":
            self.thoughts.append(event.chunk)
        elif event.type == "tool_call_name" and self.tool is None:
            self.tool = event.chunk
        elif event.type == "tool_call_args":
            self.tool_arguments.append(event.chunk)

    @property
    def text(self) -> str:
        return "".join(self.chunks)


async def _collect(entry: ModelEntry, spec: CallSpec, collected: _Collected) -> None:
    if entry.async_model is not None:
        collected.response = response = entry.async_model.prompt(**_arguments(entry, spec))
        async for event in response.astream_events():
            collected.count(event)
            collected.note(event)
        return
    assert entry.sync_model is not None
    stop = threading.Event()
    loop = asyncio.get_running_loop()

    def note(event: Any) -> None:
        collected.count(event)
        loop.call_soon_threadsafe(collected.note, event)

    try:
        collected.response = await in_thread(lambda: _read_in_thread(entry, spec, note, stop))
    finally:
        stop.set()


def _read_in_thread(entry: ModelEntry, spec: CallSpec, note: Callable[[Any], None], stop: threading.Event) -> Any:
    """The complete reply of a synchronous model; before each chunk it checks whether the call was cancelled."""
    if stop.is_set():
        return None
    assert entry.sync_model is not None
    response = entry.sync_model.prompt(**_arguments(entry, spec))
    for event in response.stream_events():
        if stop.is_set():
            return None
        note(event)
    return response


def _within(entry: ModelEntry, spec: CallSpec, timeout_seconds: float) -> CallSpec:
    """The question; for a member that is a consortium, with a deadline, so that its answer arrives in time."""
    if not entry.is_consortium:
        return spec
    return spec.model_copy(update={"options": {"deadline_seconds": timeout_seconds * NESTED_SHARE, **spec.options}})


def _arguments(entry: ModelEntry, spec: CallSpec) -> dict[str, Any]:
    """The arguments for `model.prompt()`.

    Earlier turns become llm messages. The system prompt is then one of them too, because llm sends the messages
    unchanged. It is also given separately, for plugins that read only that.
    """
    arguments: dict[str, Any] = {
        "prompt": spec.prompt,
        "system": spec.system,
        "options": dict(spec.options),
        # llm's library streams if the model can; only its command line checks the option.
        "stream": bool(entry.model.can_stream) and STREAM not in adaptations_of(entry),
    }
    if spec.output_schema is not None:
        arguments["schema"] = spec.output_schema
    if spec.attachments:
        arguments["attachments"] = as_llm_attachments(spec.attachments)
    if spec.history:
        system = [llm.system(spec.system)] if spec.system else []
        arguments["messages"] = [*system, *map(_message, spec.history)]
    return arguments


def _message(turn: Turn) -> Any:
    """An earlier turn as llm's message."""
    said = llm.user if turn.role == "user" else llm.assistant
    return said(turn.text, *as_llm_attachments(turn.attachments))


def _as_result(
    spec: CallSpec,
    collected: _Collected,
    reader: Reader | None,
    failure: Failure | None,
    began: str,
    duration_ms: int,
    secrets: Collection[str],
) -> CallResult:
    """The result of the call, with secrets masked in the provider's messages."""
    response = collected.response
    payload = getattr(response, "response_json", None)
    finish_reason = _text_or_none(find_finish_reason(payload) or (reader and reader.finish_reason), secrets)
    if failure is None and payload is None and finish_reason is None and _tells_its_end(response):
        failure = Failure(kind="broken_off", message=str(broken_off(len(collected.text))))
    thinking, text = _said(spec, collected, reader)
    tool = collected.tool
    if spec.asks_member:
        text, tool_in_text = unwrapped(text)
        tool = tool_in_text if tool is None else tool
    if failure is None:
        failure = reply_failure(payload, finish_reason, text, reader, thinking, tool)
    return CallResult(
        text=text or None,
        thinking=thinking or None,
        error_kind=failure.kind if failure else None,
        error=masked(storable(failure.message), *secrets) if failure else None,
        finish_reason=finish_reason,
        retry_after_seconds=failure.retry_after_seconds if failure else None,
        resolved_model=_text_or_none(getattr(response, "resolved_model", None) or find_model(payload), secrets),
        input_tokens=_count_or_none(getattr(response, "input_tokens", None)),
        output_tokens=_count_or_none(getattr(response, "output_tokens", None)),
        datetime_utc=began,
        duration_ms=duration_ms,
    )


def _tells_its_end(response: Any) -> bool:
    """Whether the model's class keeps the payload of every complete reply, and of no incomplete one."""
    classes = type(getattr(response, "model", None)).__mro__
    return any(one.__name__ in _KEEPING_WHOLE for one in classes)


def _said(spec: CallSpec, collected: _Collected, reader: Reader | None) -> Split:
    """The reply and its thinking, which was a separate field or a part of the text."""
    beside = "".join(collected.thoughts) or (reader.thinking if reader else "")
    text = storable(collected.text)
    inside, rest = told_apart(text)
    thinking = storable("\n\n".join(filter(None, (beside.strip(), inside))))
    if not rest.strip() and not spec.asks_member:
        arguments = "".join(collected.tool_arguments) or (reader.tool_arguments if reader else "")
        rest = _verdict_beside(storable(arguments), thinking) or rest
    return Split(thinking, rest)


def _verdict_beside(arguments: str, thinking: str) -> str | None:
    """A verdict that a server returned as a tool's arguments or as thinking; None if there is none.

    llm-anthropic requests a schema through a tool if the model supports no other way.
    """
    return next((text for text in (arguments, thinking) if _VERDICT.search(text)), None)


def _text_or_none(value: Any, secrets: Collection[str]) -> str | None:
    """The value from a provider or a plugin as text, with secrets masked; None if it is no text."""
    return without_secrets(storable(value), secrets) if isinstance(value, str) else None


def _count_or_none(value: Any) -> int | None:
    """The value from a provider or a plugin as a number of tokens; None if it is none."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if is_number and 0 <= value <= MOST and value == int(value) else None
