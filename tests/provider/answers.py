"""The requests and answers of a scripted model: Request, Reply, Fault, and an arbiter's verdicts."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal


@dataclass(frozen=True)
class Request:
    """One received chat completion request."""

    number: int
    """Its number among all requests of this provider, from 1."""
    model_number: int
    """Its number among the requests to this model, from 1."""
    model: str
    """The model's name, as sent."""
    messages: tuple[dict[str, Any], ...]
    """The messages as sent."""
    system: str
    """The texts of all system messages, joined by a blank line; "" without one."""
    prompt: str
    """The text of the last user message; "" without one."""
    stream: bool
    """Whether the client asked for server-sent events."""
    response_format: dict[str, Any] | None
    """The requested schema or JSON mode; None for free text."""
    options: dict[str, Any]
    """Everything else in the body: temperature, max_tokens, stream_options…"""
    api_key: str | None
    """The bearer token; None when none was sent."""
    headers: Mapping[str, str]
    """All headers, names in lower case."""
    body: bytes
    """The raw body; repeated calls have equal bodies."""


@dataclass(frozen=True)
class Reply:
    """A complete answer, with the provider's metadata."""

    text: str
    """The model's text; "" is an empty answer."""
    finish_reason: str | None = "stop"
    """The finish reason; None leaves it out, as in a stream that breaks off cleanly."""
    input_tokens: int | None = None
    """The tokens of the messages; None means one for each word."""
    output_tokens: int | None = None
    """The tokens of the text; None means one for each word."""
    reports_usage: bool = True
    """Whether usage is reported; some compatible servers report none."""
    resolved_model: str | None = None
    """The model named in the answer; None means the requested one."""


@dataclass(frozen=True)
class Fault:
    """One kind of failure of a provider, as data; `str()` gives its name, for test ids."""

    name: str
    """The failure, in a word or two."""
    reply: Reply = Reply("one two three four five six seven eight nine ten")
    """The reply during which it fails, unless there is a body."""
    body: bytes | None = None
    """The body instead of a completion; None means that the reply is sent."""
    content_type: str = "application/json"
    """The declared type of the body."""
    status: int = 200
    """The HTTP status; a reply always has 200."""
    headers: tuple[tuple[str, str], ...] = ()
    """The headers of the body."""
    ending: Literal["whole", "hang", "reset"] = "whole"
    """What follows `after_chunks`: the whole rest, nothing, or a reset of the connection."""
    after_chunks: int = 0
    """The number of text chunks before a hang or reset; 0: not even a status line."""
    seconds_per_byte: float = 0.0
    """The seconds for each byte, status line included."""

    def __str__(self) -> str:
        return self.name

    def without_sdk_retries(self) -> Fault:
        """The same, with the header that tells the OpenAI SDK not to retry on its own (about 1.3 s for two retries)."""
        return replace(self, headers=(*self.headers, ("x-should-retry", "false")))

    @staticmethod
    def refused(
        name: str, status: int, code: str | None, message: str, kind: str = "invalid_request_error", **headers: str
    ) -> Fault:
        """An error status with OpenAI's error JSON; `retry_after="2"` becomes the header Retry-After."""
        error = {"message": message, "type": kind, "param": None, "code": code}
        named = tuple((header.replace("_", "-"), value) for header, value in headers.items())
        return Fault(name, body=to_json({"error": error}), status=status, headers=named)

    @staticmethod
    def rate_limit(retry_after: float | str | None = None) -> Fault:
        """429 for a rate limit; Retry-After in seconds or as an HTTP date."""
        headers = {} if retry_after is None else {"retry_after": str(retry_after)}
        message = "Rate limit reached for requests. Please try again later."
        return Fault.refused("rate_limit", 429, "rate_limit_exceeded", message, "requests", **headers)

    @staticmethod
    def billing() -> Fault:
        """429 that stays: the account has no credit."""
        message = "You exceeded your current quota, please check your plan and billing details."
        return Fault.refused("billing", 429, "insufficient_quota", message, "insufficient_quota")

    @staticmethod
    def server_error(status: int = 500) -> Fault:
        """A server error, as 500 or 503."""
        message = "The server had an error while processing your request."
        return Fault.refused(f"server_error_{status}", status, None, message, "server_error")

    @staticmethod
    def wrong_key() -> Fault:
        """401: the key is unknown."""
        return Fault.refused("wrong_key", 401, "invalid_api_key", "Incorrect API key provided: key-of-*****ests.")

    @staticmethod
    def unknown_model() -> Fault:
        """404: there is no such model."""
        return Fault.refused("unknown_model", 404, "model_not_found", "The model does not exist or you cannot use it.")

    @staticmethod
    def context_length() -> Fault:
        """400: the messages exceed the model's context."""
        message = "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens."
        return Fault.refused("context_length", 400, "context_length_exceeded", message)

    @staticmethod
    def hang(after_chunks: int = 0) -> Fault:
        """Accepts the request and then stays silent, at once or after some chunks, until a side closes."""
        return Fault("hang", ending="hang", after_chunks=after_chunks)

    @staticmethod
    def reset_mid_stream(after_chunks: int = 2) -> Fault:
        """Resets the TCP connection in the middle of an answer."""
        return Fault("reset_mid_stream", ending="reset", after_chunks=after_chunks)

    @staticmethod
    def slow(seconds_per_byte: float = 1.0) -> Fault:
        """Sends a valid answer byte by byte; a streamed chunk is about 200 bytes."""
        return Fault("slow", seconds_per_byte=seconds_per_byte)

    @staticmethod
    def garbage(body: bytes = b"<html><body>It works!</body></html>", content_type: str = "text/html") -> Fault:
        """200 with a body that is neither JSON nor server-sent events, as from a captive portal."""
        return Fault("garbage", body=body, content_type=content_type)

    @staticmethod
    def garbled_stream() -> Fault:
        """200 with server-sent events whose data is not JSON."""
        return replace(Fault.garbage(b"data: {not json\n\n", "text/event-stream"), name="garbled_stream")

    @staticmethod
    def error_in_stream(code: int | str = 502, message: str = "Provider disconnected") -> Fault:
        """200 whose stream contains an error object, as from OpenRouter when it fails after the status line."""
        event = b"data: " + to_json({"error": {"message": message, "code": code}}) + b"\n\n"
        return replace(Fault.garbage(event, "text/event-stream"), name="error_in_stream")

    @staticmethod
    def empty() -> Fault:
        """A complete answer without text."""
        return Fault("empty", Reply("", output_tokens=0))

    @staticmethod
    def truncated(text: str = "This answer stops in the") -> Fault:
        """A complete answer that reached the token limit."""
        return Fault("truncated", Reply(text, finish_reason="length"))

    @staticmethod
    def content_filter(text: str = "") -> Fault:
        """A complete answer that the provider's filter cut."""
        return Fault("content_filter", Reply(text, finish_reason="content_filter"))


Answer = str | Reply | Fault
Script = Answer | Sequence[Answer] | Callable[[Request], Answer]


def verdict(
    synthesis: str = "the synthesis",
    *,
    confidence: float | str | None = 0.9,
    analysis: str = "the analysis",
    dissent: str = "",
    needs_iteration: bool = False,
    refinement_areas: Sequence[str] = (),
) -> str:
    """An arbiter's reply as JSON."""
    fields = {
        "synthesis": synthesis,
        "confidence": confidence,
        "analysis": analysis,
        "dissent": dissent,
        "needs_iteration": needs_iteration,
        "refinement_areas": list(refinement_areas),
    }
    return json.dumps(fields)


def tagged_verdict(
    synthesis: str = "the synthesis",
    *,
    confidence: float | str | None = 0.9,
    analysis: str = "the analysis",
    dissent: str = "",
    needs_iteration: bool = False,
    refinement_areas: Sequence[str] = (),
) -> str:
    """An arbiter's reply as tagged text, in llm-consortium's tags."""
    areas = "".join(f"\n<area>{area}</area>" for area in refinement_areas)
    return (
        f"<synthesis_output>\n<synthesis>{synthesis}</synthesis>\n<confidence>{confidence}</confidence>\n"
        f"<analysis>{analysis}</analysis>\n<dissent>{dissent}</dissent>\n"
        f"<needs_iteration>{str(needs_iteration).lower()}</needs_iteration>\n"
        f"<refinement_areas>{areas}\n</refinement_areas>\n</synthesis_output>"
    )


def to_json(value: object) -> bytes:
    """Compact JSON, as sent."""
    return json.dumps(value, separators=(",", ":")).encode()
