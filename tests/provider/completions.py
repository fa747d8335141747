"""OpenAI's chat completions on the wire: parses a request, writes an answer, streamed or complete."""

from __future__ import annotations

import json
import math
import re
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from . import http1
from .answers import Fault, Reply, Request, to_json


def read_request(call: http1.Call, number: int, model_numbers: Counter[str]) -> Request:
    """Parse a call to /v1/chat/completions; it is counted in `model_numbers`."""
    body = json.loads(call.body)
    model, messages = body.pop("model"), tuple(body.pop("messages"))
    model_numbers[model] += 1
    key = call.headers.get("authorization", "").removeprefix("Bearer ")
    return Request(
        number=number,
        model_number=model_numbers[model],
        model=model,
        messages=messages,
        system="\n\n".join(_text(message) for message in messages if message["role"] in ("system", "developer")),
        prompt=next((_text(message) for message in reversed(messages) if message["role"] == "user"), ""),
        stream=bool(body.pop("stream", False)),
        response_format=body.pop("response_format", None),
        options=body,
        api_key=key or None,
        headers=call.headers,
        body=call.body,
    )


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def pieces(request: Request, fault: Fault) -> list[bytes]:
    """The answer in pieces: the first one precedes the text, then one for each text chunk."""
    if fault.body is not None:
        return [http1.whole(fault.status, fault.content_type, fault.body, fault.headers)]
    if not request.stream:
        whole = http1.whole(200, "application/json", to_json(_completion(request, fault.reply)), fault.headers)
        return [whole[: len(whole) // 2], whole[len(whole) // 2 :]]
    headers = [("content-type", "text/event-stream"), ("transfer-encoding", "chunked"), *fault.headers]
    before, *texts, after = (http1.chunk(event) for event in _events(request, fault.reply))
    return [http1.head(200, *headers) + before, *texts, after + http1.chunk(b"")]


def _completion(request: Request, reply: Reply) -> dict[str, Any]:
    message = {"role": "assistant", "content": reply.text, "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": reply.finish_reason, "logprobs": None}
    usage = {"usage": _usage(request, reply)} if reply.reports_usage else {}
    return {**_envelope(request, reply, "chat.completion"), "choices": [choice], **usage}


def _events(request: Request, reply: Reply) -> list[bytes]:
    """The server-sent events of a streamed answer: the role, the text chunks, and the end as one event."""
    envelope = _envelope(request, reply, "chat.completion.chunk")

    def event(delta: dict[str, str], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": None}
        return b"data: " + to_json({**envelope, "choices": [choice]}) + b"\n\n"

    end = event({}, reply.finish_reason)
    if reply.reports_usage and (request.options.get("stream_options") or {}).get("include_usage"):
        end += b"data: " + to_json({**envelope, "choices": [], "usage": _usage(request, reply)}) + b"\n\n"
    texts = [event({"content": text}) for text in _chunks(reply.text)]
    return [event({"role": "assistant", "content": ""}), *texts, end + b"data: [DONE]\n\n"]


def _envelope(request: Request, reply: Reply, kind: str) -> dict[str, Any]:
    model = reply.resolved_model or request.model
    return {"id": f"chatcmpl-{request.number}", "object": kind, "created": int(time.time()), "model": model}


def _usage(request: Request, reply: Reply) -> dict[str, int]:
    asked = sum(len(_text(message).split()) for message in request.messages)
    input_tokens = asked if reply.input_tokens is None else reply.input_tokens
    output_tokens = len(reply.text.split()) if reply.output_tokens is None else reply.output_tokens
    total = input_tokens + output_tokens
    return {"prompt_tokens": input_tokens, "completion_tokens": output_tokens, "total_tokens": total}


def _chunks(text: str, most: int = 32) -> list[str]:
    """The text in words, or in `most` groups of words if there are more."""
    words = re.findall(r"\s*\S+|\s+", text)
    run = math.ceil(len(words) / most) or 1
    return ["".join(words[start : start + run]) for start in range(0, len(words), run)]
