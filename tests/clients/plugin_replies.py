"""Replies and errors of the providers behind llm's plugins, written by hand after their API documentation."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

INPUT_TOKENS, OUTPUT_TOKENS = 11, 7
"""The token counts of every complete reply."""

TOOL = "look_up"
"""The tool that a reply without text calls."""


@dataclass(frozen=True)
class Shapes:
    """The forms of one provider's replies."""

    text: Callable[[Sequence[str]], list[bytes]]
    """The pieces of a stream: an optional beginning, then one for each text, and the end."""

    tool: Callable[[str], list[bytes]]
    """The pieces of a stream that calls a tool with these arguments, a JSON object, and has no text."""

    rate_limit: Any
    """The body of an error 429."""

    auth: Any
    """The body of the error for a wrong key."""

    auth_status: int = 401
    """Its status."""

    content_type: str = "text/event-stream"
    """Of a stream."""

    own: dict[str, Json] = field(default_factory=dict)
    """The bodies of the plugin's other requests, by path."""


def _named_event(body: Json) -> bytes:
    return f"event: {body['type']}\ndata: {json.dumps(body)}\n\n".encode()


def _data(body: Json) -> bytes:
    return f"data: {json.dumps(body)}\n\n".encode()


# Anthropic: https://docs.anthropic.com/en/docs/build-with-claude/streaming


def _anthropic(block: Json, deltas: Sequence[Json], stop: str) -> list[bytes]:
    message: Json = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-recorded",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": INPUT_TOKENS, "output_tokens": 1},
    }
    begin = _named_event({"type": "message_start", "message": message})
    begin += _named_event({"type": "content_block_start", "index": 0, "content_block": block})
    middle = [_named_event({"type": "content_block_delta", "index": 0, "delta": delta}) for delta in deltas]
    end = _named_event({"type": "content_block_stop", "index": 0})
    delta = {"stop_reason": stop, "stop_sequence": None}
    end += _named_event({"type": "message_delta", "delta": delta, "usage": {"output_tokens": OUTPUT_TOKENS}})
    return [begin + middle[0], *middle[1:], end + _named_event({"type": "message_stop"})]


def _anthropic_text(texts: Sequence[str]) -> list[bytes]:
    deltas = [{"type": "text_delta", "text": text} for text in texts]
    return _anthropic({"type": "text", "text": ""}, deltas, "end_turn")


def _anthropic_tool(arguments: str) -> list[bytes]:
    block = {"type": "tool_use", "id": "toolu_1", "name": TOOL, "input": {}}
    return _anthropic(block, [{"type": "input_json_delta", "partial_json": arguments}], "tool_use")


def _anthropic_error(kind: str, message: str) -> Json:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}


ANTHROPIC = Shapes(
    _anthropic_text,
    _anthropic_tool,
    _anthropic_error("rate_limit_error", "This request would exceed your organization's rate limit."),
    _anthropic_error("authentication_error", "invalid x-api-key"),
)


# Gemini: https://ai.google.dev/api/generate-content, one JSON list of which each element is a piece


def _gemini(parts: Sequence[Json]) -> list[bytes]:
    usage = {"promptTokenCount": INPUT_TOKENS, "candidatesTokenCount": OUTPUT_TOKENS, "totalTokenCount": 18}

    def piece(part: Json | None, finish: str | None) -> bytes:
        candidate: Json = {"content": {"parts": [part] if part else [], "role": "model"}, "index": 0}
        if finish:
            candidate["finishReason"] = finish
        body = {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "gemini-recorded"}
        return json.dumps(body).encode()

    middle = [piece(part, None) for part in parts]
    return [b"[" + middle[0], *(b",\n" + one for one in middle[1:]), b",\n" + piece({"text": ""}, "STOP") + b"]"]


def _gemini_error(code: int, status: str, message: str, details: Sequence[Json] = ()) -> list[Json]:
    return [{"error": {"code": code, "message": message, "status": status, "details": list(details)}}]


GEMINI = Shapes(
    lambda texts: _gemini([{"text": text} for text in texts]),
    lambda arguments: _gemini([{"functionCall": {"name": TOOL, "args": json.loads(arguments)}}]),
    _gemini_error(
        429,
        "RESOURCE_EXHAUSTED",
        "You exceeded your current quota. Please retry in 1s.",
        [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1s"}],
    ),
    _gemini_error(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key."),
    auth_status=400,
    content_type="application/json",
)


# Chat completions: https://platform.openai.com/docs/api-reference/chat-streaming, and those of its kind


def _chat(deltas: Sequence[Json], finish: str, last: Json) -> list[bytes]:
    def chunk(delta: Json, finish_reason: str | None, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        body = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "chat-recorded"}
        return _data({**body, "choices": [choice], **more})

    return [*(chunk(delta, None) for delta in deltas), chunk({"content": ""}, finish, **last) + b"data: [DONE]\n\n"]


def _chat_shapes(last: Json, rate_limit: Any, auth: Any) -> Shapes:
    def call(arguments: str) -> Json:
        function = {"name": TOOL, "arguments": arguments}
        tool_call = {"index": 0, "id": "call_1", "type": "function", "function": function}
        return {"role": "assistant", "content": "", "tool_calls": [tool_call]}

    return Shapes(
        lambda texts: _chat([{"role": "assistant", "content": text} for text in texts], "stop", last),
        lambda arguments: _chat([call(arguments)], "tool_calls", last),
        rate_limit,
        auth,
    )


_USAGE = {"prompt_tokens": INPUT_TOKENS, "completion_tokens": OUTPUT_TOKENS, "total_tokens": 18}


def _error(message: str, kind: str, code: str) -> Json:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


MISTRAL = _chat_shapes(
    {"usage": _USAGE},
    {"object": "error", "message": "Requests rate limit exceeded", "type": "rate_limited", "code": "1300"},
    {"detail": "Unauthorized"},
)
GROQ = _chat_shapes(
    {"x_groq": {"id": "req_1", "usage": _USAGE}},
    _error("Rate limit reached. Please try again in 1s.", "tokens", "rate_limit_exceeded"),
    _error("Invalid API Key", "invalid_request_error", "invalid_api_key"),
)
DEEPSEEK = _chat_shapes(
    {"usage": _USAGE},
    _error("Rate limit reached for your account.", "rate_limit_error", "rate_limit_exceeded"),
    _error("Authentication Fails, Your api key is invalid", "authentication_error", "invalid_request_error"),
)


# Ollama: https://github.com/ollama/ollama/blob/main/docs/api.md, a JSON object in each line


def _ollama(messages: Sequence[Json]) -> list[bytes]:
    def line(message: Json, **more: Any) -> bytes:
        body = {"model": "llama-recorded", "created_at": "2026-11-01T00:00:00Z", "message": message}
        return json.dumps({**body, "done": False, **more}).encode() + b"\n"

    end = {"done": True, "done_reason": "stop", "prompt_eval_count": INPUT_TOKENS, "eval_count": OUTPUT_TOKENS}
    return [*map(line, messages), line({"role": "assistant", "content": ""}, **end)]


def _ollama_tool(arguments: str) -> list[bytes]:
    function = {"name": TOOL, "arguments": json.loads(arguments)}
    return _ollama([{"role": "assistant", "content": "", "tool_calls": [{"function": function}]}])


OLLAMA = Shapes(
    lambda texts: _ollama([{"role": "assistant", "content": text} for text in texts]),
    _ollama_tool,
    {"error": "too many requests"},
    {"error": "unauthorized"},
    content_type="application/x-ndjson",
    own={
        "/api/tags": {"models": [{"model": "llama-recorded:1b", "name": "llama-recorded:1b", "digest": "d1"}]},
        "/api/show": {"capabilities": ["completion", "tools"], "details": {}, "model_info": {}},
    },
)


# OpenRouter: https://openrouter.ai/docs/api-reference/responses


def _responses(item: Json, deltas: Sequence[Json]) -> list[bytes]:
    response: Json = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": "router-recorded",
        "status": "in_progress",
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
    }
    usage = {
        "input_tokens": INPUT_TOKENS,
        "output_tokens": OUTPUT_TOKENS,
        "total_tokens": 18,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    }
    begin = _named_event({"type": "response.created", "sequence_number": 0, "response": response})
    added = {"type": "response.output_item.added", "sequence_number": 1, "output_index": 0, "item": item}
    begin += _named_event(added)
    middle = [_named_event({"sequence_number": 2, "output_index": 0, "item_id": "item_1", **one}) for one in deltas]
    done = {**item, "status": "completed"}
    end = _named_event({"type": "response.output_item.done", "sequence_number": 3, "output_index": 0, "item": done})
    whole = {**response, "status": "completed", "output": [done], "usage": usage}
    end += _named_event({"type": "response.completed", "sequence_number": 4, "response": whole})
    return [begin + middle[0], *middle[1:], end]


def _responses_text(texts: Sequence[str]) -> list[bytes]:
    content = [{"type": "output_text", "text": "".join(texts), "annotations": []}]
    item = {"id": "item_1", "type": "message", "role": "assistant", "status": "completed", "content": content}
    delta = {"type": "response.output_text.delta", "content_index": 0, "logprobs": []}
    return _responses(item, [{**delta, "delta": text} for text in texts])


def _responses_tool(arguments: str) -> list[bytes]:
    item = {"id": "item_1", "type": "function_call", "call_id": "call_1", "name": TOOL, "arguments": arguments}
    return _responses(item, [{"type": "response.function_call_arguments.delta", "delta": arguments}])


OPENROUTER = Shapes(
    _responses_text,
    _responses_tool,
    {"error": {"message": "Rate limit exceeded: free-models-per-min.", "code": 429}},
    {"error": {"message": "User not found.", "code": 401}},
)
