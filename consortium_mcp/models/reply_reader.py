"""Parses the reply of a chat completion from its bytes, in any form that a provider sends, streamed or not.

It knows neither HTTP nor the OpenAI SDK. What it gives has OpenAI's form: `choices` is a list, each `delta` an object,
each `content` a text.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from consortium_mcp.models.error_words import words_of
from consortium_mcp.models.reply_bounds import LONGEST_EVENT, MOST_BEFORE_REPLY, MOST_BYTES, MOST_OF_BODY, too_large
from consortium_mcp.models.reply_events import EventReader
from consortium_mcp.models.reply_faults import broken_off, not_a_reply, reported
from consortium_mcp.settings import MOST
from consortium_mcp.text.templates import storable

_PARTS = frozenset(
    "arguments choices content created delta finish_reason function function_call id index logprobs model name object "
    "refusal role service_tier system_fingerprint tool_calls type usage".split()
)
"""The fields of a chunk of a streamed completion, by the SDK's types."""

_DONE = "[DONE]"

_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")
"""The fields of a usage in the SDK's type, which must exist even if the provider omits them."""

_BROKEN = {
    "abort",
    "aborted",
    "cancelled",
    "canceled",
    "error",
    "failed",
    "incomplete",
    "insufficient_system_resource",
    "internal_error",
    "malformed_function_call",
    "malformed_response",
    "malformed_tool_call",
    "network_error",
    "other",
    "pause_turn",
    "time_limit",
    "timeout",
    "unexpected_tool_call",
    "unknown",
    "unspecified",
    "user_cancel",
}
"""Finish reasons for an incomplete reply, from OpenRouter, Gemini, DeepSeek, vLLM, Zhipu and Cohere."""

_SAID_OF_WHOLE = ("other", "unknown", "unspecified")
"""Native finish reasons that OpenRouter also passes on for complete replies."""

_THINKING = ("reasoning_content", "reasoning", "thinking", "thinking_content", "reasoning_text")
"""Fields with the thinking beside the content; the first existing one counts."""

_BOM = b"\xef\xbb\xbf"

_PART_OF_REPLY = re.compile(r'"(choices|content|delta|message|text)"')
"""A sign that a chunk of invalid JSON may have had text; any other text between events is noise."""

_LONGEST_START = 2_000
"""The number of bytes kept of a reply, to describe it if it is not one."""


class ReplyPart(dict[str, Any]):
    """A part of a reply with the attributes of the SDK's types; missing fields are None."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            if name in _PARTS:
                return None
            raise AttributeError(name) from None

    def model_dump(self) -> dict[str, Any]:
        """The part as it arrived."""
        return dict(self)


_decode = json.JSONDecoder(object_hook=ReplyPart).decode


class ReplyReader:
    """Parses one reply as it arrives; its other data stay readable afterwards."""

    def __init__(self) -> None:
        self._events = EventReader()
        self._start = b""
        self._bytes = 0
        self._body: list[bytes] | None = None
        """The bytes of a reply that is not an event stream; None while it may be one."""
        self._has_choices = self._has_deltas = self._is_garbled = False
        self._characters = 0
        self._half = ""
        """The first half of a surrogate pair whose second half has not arrived."""
        self._thinking: list[str] = []
        self._refusal: list[str] = []
        self._calls: dict[Any, list[str]] = {}
        self._arguments: list[str] = []
        self.finish_reason: str | None = None
        """The provider's finish reason; None before the end, or if it gives none."""
        self.has_ended = False
        """Whether the reply is complete."""

    @property
    def is_whole(self) -> bool:
        """Whether all text of the reply has arrived."""
        return self.has_ended or self.finish_reason is not None

    @property
    def thinking(self) -> str:
        """The thinking from a field beside the content."""
        return "".join(self._thinking)

    @property
    def refusal(self) -> str:
        """The model's refusal in its own words; empty if it does not refuse."""
        return "".join(self._refusal)

    @property
    def tools(self) -> list[str]:
        """The names of the tools that the model wanted to call."""
        return ["".join(names) for names in self._calls.values()]

    @property
    def tool_arguments(self) -> str:
        """The arguments of the first tool call as JSON; empty without one."""
        return "".join(self._arguments)

    def feed(self, chunk: bytes) -> Iterator[ReplyPart]:
        """The parts that are complete now; raises ReplyFault at an error, or above a limit."""
        self._bytes += len(chunk)
        if self._body is not None:
            self._body.append(chunk)
            self._check_size()
            return
        if not self._start:
            chunk = chunk.removeprefix(_BOM).lstrip()
            if chunk[:1] in (b"{", b"[", b"<"):
                self._body = [chunk]
        if len(self._start) < _LONGEST_START:
            self._start += chunk[:_LONGEST_START]
        if self._body is None:
            for data in self._events.feed(chunk):
                yield from self._of_event(data)
        self._check_size()

    def _check_size(self) -> None:
        """Raise ReplyFault if the reply exceeds a limit, or has shown no sign of being a reply."""
        is_page = self._body is not None and self._body[0][:1] == b"<" and self._bytes >= _LONGEST_START
        if is_page or (self._body is None and not self._has_choices and self._bytes > MOST_BEFORE_REPLY):
            raise not_a_reply(b"".join(self._body or [self._start]))
        if self._events.waiting > LONGEST_EVENT:
            raise too_large(LONGEST_EVENT)
        if self._bytes > (limit := MOST_BYTES if self._body is None else MOST_OF_BODY):
            raise too_large(limit)

    def end(self) -> Iterator[ReplyPart]:
        """The last parts at the end of the stream; raises ReplyFault if the reply is incomplete."""
        if self._body is not None:
            yield from self._of_body(b"".join(self._body))
        else:
            for data in self._events.end():
                yield from self._of_event(data)
        if not self.has_ended:
            self._conclude(is_marked=False)

    def _of_event(self, data: str) -> Iterator[ReplyPart]:
        if self.has_ended:
            return
        if data.lstrip().startswith(_DONE):
            self._conclude(is_marked=True)
            return
        try:
            piece = _decode(data)
        except (ValueError, RecursionError):
            if "\n" in data:  # events without an empty line between them
                for line in data.split("\n"):
                    yield from self._of_event(line)
                return
            self._is_garbled |= not self.is_whole and bool(_PART_OF_REPLY.search(data))
            return
        yield from self._of_piece(piece)

    def _conclude(self, is_marked: bool) -> None:
        """Accept the reply as complete; raises ReplyFault if it is not.

        Args:
            is_marked: whether the provider has marked the end.
        """
        if self._is_garbled or not self._has_choices:
            raise not_a_reply(self._start, self._is_garbled)
        if self.finish_reason is None and not is_marked:
            raise broken_off(self._characters)
        self.has_ended = True

    def _of_body(self, body: bytes) -> Iterator[ReplyPart]:
        """The parts of a reply that is one JSON value, or one value in each line."""
        text = body.decode("utf-8", "replace").strip()
        try:
            values = [_decode(text)]
        except (ValueError, RecursionError):
            values = self._lines_of(text)
        for value in values:
            yield from self._of_piece(value)
        self._conclude(is_marked=len(values) == 1)

    def _lines_of(self, text: str) -> list[Any]:
        try:
            return [_decode(line) for line in text.splitlines() if line.strip()]
        except (ValueError, RecursionError):
            raise not_a_reply(self._start, garbled=bool(_PART_OF_REPLY.search(text))) from None

    def _of_piece(self, piece: Any) -> Iterator[ReplyPart]:
        """A chunk in OpenAI's form; none if it is no object."""
        if self._is_text_alone(piece):
            yield piece
            return
        if isinstance(piece, list):
            for one in piece:
                if isinstance(one, dict):
                    yield from self._of_piece(one)
            return
        if not isinstance(piece, ReplyPart):
            return
        if error := _error_in(piece):
            if not self.is_whole:
                raise reported(error)
            return
        choices = _objects(piece.get("choices"))[:1]
        self._has_choices |= piece.get("choices") == [] and bool(piece.get("usage"))  # a reply without text
        piece["choices"] = [self._of_choice(choice) for choice in choices]
        usage = piece.pop("usage", None)
        if isinstance(usage, dict) and usage:
            piece["usage"] = ReplyPart({**usage, **{name: _count(usage.get(name)) for name in _COUNTS}})
        yield piece
        for choice in choices:
            self._take_finish(choice)

    def _is_text_alone(self, piece: Any) -> bool:
        """Whether a chunk has OpenAI's form and only adds text, as nearly all do; then it is counted."""
        if type(piece) is not ReplyPart or piece.get("usage") or "error" in piece:
            return False
        choices = piece.get("choices")
        if type(choices) is not list or len(choices) != 1 or type(choice := choices[0]) is not ReplyPart:
            return False
        delta = choice.get("delta")
        if type(delta) is not ReplyPart or len(delta) != 1 or choice.get("finish_reason") or "error" in choice:
            return False
        content = delta.get("content")
        if type(content) is not str or not content or not content.isascii() or self._half:
            return False
        self._has_choices, self._has_deltas, self.finish_reason = True, True, None
        self._characters += len(content)
        return True

    def _of_choice(self, choice: dict[str, Any]) -> ReplyPart:
        self._has_choices = True
        delta = choice.get("delta")
        message = choice.get("message")
        if isinstance(delta, dict) and delta:
            self._has_deltas = True
        elif isinstance(message, dict):  # after deltas, this repeats all of them
            delta = ReplyPart() if self._has_deltas else message
        elif not isinstance(delta, dict):
            delta = ReplyPart(content=choice.get("text"))
        content = self._content_of(delta)
        if content:
            self.finish_reason = None  # some servers send it with each chunk
            content = self._joined(content)
        said = ReplyPart(content=content)
        if isinstance(role := delta.get("role"), str):
            said["role"] = role
        return ReplyPart(index=0, delta=said, finish_reason=_reason_in(choice), logprobs=choice.get("logprobs"))

    def _joined(self, content: str) -> str:
        """The content as valid UTF-8: half of a surrogate pair waits for the other half in the next chunk."""
        content, self._half = self._half + content, ""
        if "\ud800" <= content[-1] <= "\udbff":
            content, self._half = content[:-1], content[-1]
        return storable(content)

    def _content_of(self, delta: dict[str, Any]) -> str | None:
        """The text of a delta; its other fields are noted."""
        content = delta.get("content")
        if content is not None and not isinstance(content, str):
            content = self._text_of_parts(content)
        if len(delta) > ("content" in delta):
            self._take_others(delta)
        self._characters += len(content or "")
        return content

    def _text_of_parts(self, content: Any) -> str:
        """The text in a list of parts; thinking parts are noted."""
        text = []
        for part in content if isinstance(content, list) else [content]:
            if isinstance(part, str | int | float):
                text.append(str(part))
            elif isinstance(part, dict):
                self._refusal.append(_flat(part.get("refusal")))
                thought = part.get("thinking") or part.get("reasoning")
                if thought or part.get("type") in ("thinking", "reasoning"):
                    self._thinking.append(_flat(thought or part.get("text")))
                else:
                    text.append(_flat(part.get("text")))
        return "".join(text)

    def _take_others(self, delta: dict[str, Any]) -> None:
        thought = next((found for name in _THINKING if (found := _flat(delta.get(name)))), "")
        thought = thought or _flat(delta.get("reasoning_details"))
        if thought:
            self._thinking.append(thought)
        if refusal := _flat(delta.get("refusal")):
            self._refusal.append(refusal)
        calls = delta.get("tool_calls") or delta.get("function_call")
        for call in _objects(calls if isinstance(calls, list) else [calls]):
            function = call.get("function") if isinstance(call.get("function"), dict) else call
            assert isinstance(function, dict)
            names = self._calls.setdefault(call.get("index") if isinstance(call.get("index"), int) else 0, [])
            names.append(_flat(function.get("name")))
            if len(self._calls) == 1:
                arguments = function.get("arguments")
                is_object = isinstance(arguments, dict)
                self._arguments.append(json.dumps(arguments) if is_object else _flat(arguments))

    def _take_finish(self, choice: dict[str, Any]) -> None:
        """Note the finish reason; raises ReplyFault if the model was not done."""
        if self.finish_reason is not None:
            return
        if error := choice.get("error"):
            raise reported(error)
        reason = _reason_in(choice)
        if reason and is_broken(reason):
            raise broken_off(self._characters, reason)
        self.finish_reason = reason


_OF_SUCCESS = (None, 0, 200, "0", "200", "success")
"""Values of the code in a result without an error."""


def is_broken(finish_reason: str) -> bool:
    """Whether a finish reason says that the reply is incomplete."""
    return finish_reason.lower().removeprefix("finish_reason_") in _BROKEN


def _error_in(piece: dict[str, Any]) -> Any:
    """The error that a chunk reports; None if it reports none."""
    if (error := piece.get("error")) and not (isinstance(error, dict) and error.get("code") == 0):
        return error
    if "choices" in piece:
        return None
    result = piece.get("base_resp")
    is_error = (
        "error" in (piece.get("object"), piece.get("type"))
        or piece.get("success") is False
        or (piece.get("code", 0) not in _OF_SUCCESS and words_of(piece) is not None)
        or (isinstance(result, dict) and result.get("status_code") not in (0, None))
    )
    return piece if is_error else None


def _reason_in(choice: dict[str, Any]) -> str | None:
    reason, native = choice.get("finish_reason"), choice.get("native_finish_reason")
    if isinstance(native, str) and is_broken(native) and native.lower() not in _SAID_OF_WHOLE:
        return native  # OpenRouter may call it "stop"
    if isinstance(reason, dict):  # SGLang's
        reason = reason.get("type")
    return reason if isinstance(reason, str) and reason else None


def _count(value: Any) -> int | None:
    """A number of tokens; None if the value is none."""
    is_whole = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MOST
    return int(value) if is_whole and value == int(value) else None


def _objects(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _flat(value: Any) -> str:
    """The text in a value, which is a text or a list of parts."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(_flat(one) for one in value)
    if isinstance(value, dict):
        return _flat(value.get("text") or value.get("summary"))
    return ""
