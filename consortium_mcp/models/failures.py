"""Failures of model calls by kind, found from exception types, status codes and error bodies, never from messages."""

import math
import re
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Any

from consortium_mcp._util.frozen_model import FrozenModel
from consortium_mcp._util.lazy import llm
from consortium_mcp.records import ErrorKind
from consortium_mcp.text.masking import masked

_BY_STATUS: dict[int, ErrorKind] = {
    401: "auth",
    402: "billing",
    403: "auth",
    404: "model_unavailable",
    408: "timeout",
    409: "server",
    413: "context_length",
    425: "server",
    429: "rate_limit",
}

# Codes in providers' error bodies: OpenAI's and those of its kind, Anthropic's, Gemini's, Mistral's, OpenRouter's.
_BY_CODE: dict[str, ErrorKind] = {
    "insufficient_quota": "billing",
    "billing_error": "billing",
    "billing_hard_limit_reached": "billing",
    "invalid_api_key": "auth",
    "authentication_error": "auth",
    "permission_error": "auth",
    "permission_denied": "auth",
    "unauthenticated": "auth",
    "model_not_found": "model_unavailable",
    "not_found_error": "model_unavailable",
    "context_length_exceeded": "context_length",
    "string_above_max_length": "context_length",
    "request_too_large": "context_length",
    "content_filter": "content_filter",
    "content_policy_violation": "content_filter",
    "rate_limit_exceeded": "rate_limit",
    "rate_limit_error": "rate_limit",
    "resource_exhausted": "rate_limit",
    "overloaded_error": "server",
    "server_error": "server",
    "internal_server_error": "server",
    "api_error": "server",
    "internal": "server",
    "unavailable": "server",
    "deadline_exceeded": "timeout",
    "timeout_error": "timeout",
}

# Finish reasons: OpenAI's, Anthropic's and Gemini's words for the same two things.
_TRUNCATED = {"length", "max_tokens", "maxtokens", "max_output_tokens", "model_length"}
_FILTERED = {"content_filter", "safety", "refusal", "recitation", "blocklist", "prohibited_content"}

RETRIED: frozenset[ErrorKind] = frozenset({"rate_limit", "timeout", "network", "server"})
"""Kinds that can pass by themselves."""


class Failure(FrozenModel):
    """Why a call gave nothing."""

    kind: ErrorKind
    """Which kind."""

    message: str
    """One sentence, without secrets."""

    retry_after_seconds: float | None = None
    """How long the provider asks us to wait; None when it does not say."""


def classify(error: BaseException, key: str | None = None) -> Failure:
    """The failure that an exception stands for.

    Args:
        key: the model's key, which no message may show.
    """
    chain = list(_chain(error))
    kinds = [kind for kind in map(_kind, chain) if kind]
    # What could not be read may have been the body of an error, which then tells more.
    kind = next((kind for kind in kinds if kind != "invalid_reply"), kinds[0] if kinds else "internal")
    if unreachable := next(filter(_is_unreachable, chain), None):
        kind, error = "network", ConnectionError(f"Connection error: {unreachable or type(unreachable).__name__}.")
    message = masked(" ".join(str(error).split()), key)[:500] or type(error).__name__
    if kind == "invalid_reply" and isinstance(error, (AttributeError, LookupError)):
        message = f"The reply lacks what its plugin looks for ({type(error).__name__}: {message})."
    retry_after = _retry_after(chain)
    if retry_after:
        message += f" Try again in {math.ceil(retry_after)} seconds."
    return Failure(kind=kind, message=message, retry_after_seconds=retry_after)


def reply_failure(payload: Any, finish_reason: str | None, text: str) -> Failure | None:
    """What was wrong with a reply that raised nothing; None when it ended as it should.

    Args:
        payload: the provider's response as llm keeps it, or None.
    """
    reason = (finish_reason or "").lower()
    if reason in _FILTERED:
        return Failure(kind="content_filter", message=f"The provider withheld the reply ({finish_reason}).")
    if reason in _TRUNCATED:
        return Failure(kind="truncated", message=f"The reply was cut at its length limit ({finish_reason}).")
    # llm reads a body that is no stream of events as a stream without any, and leaves just this.
    if payload == {"content": ""} and not text:
        return Failure(kind="invalid_reply", message="The provider's reply is not in the form of a model's reply.")
    if not text.strip():
        return Failure(kind="empty", message="The model gave an empty reply.")
    return None


def find_model(payload: Any) -> str | None:
    """The model that a provider's response names; None when it names none."""
    model = payload.get("model") if isinstance(payload, dict) else None
    return model if isinstance(model, str) else None


def find_finish_reason(value: Any) -> str | None:
    """The finish reason in a provider's response, at whatever depth it stands; None when there is none."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name.lower().replace("_", "") in ("finishreason", "stopreason", "donereason") and isinstance(inner, str):
                return inner
        return next((found for inner in value.values() if (found := find_finish_reason(inner))), None)
    if isinstance(value, list):
        return next((found for inner in reversed(value) if (found := find_finish_reason(inner))), None)
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)


def _is_unreachable(error: BaseException) -> bool:
    """Whether it is aiohttp's for a connection that failed, which the OpenAI SDK reports as one that took too long."""
    names = {one.__name__ for one in type(error).__mro__}
    return "ClientConnectionError" in names and not isinstance(error, TimeoutError)


def _kind(error: BaseException) -> ErrorKind | None:
    if isinstance(error, llm.NeedsKeyException):
        return "auth"
    for code in _codes(error):
        if code in _BY_CODE:
            return _BY_CODE[code]
    status = _status(error)
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status is not None:
        return "server" if status >= 500 else "invalid_reply" if status < 400 else "internal"
    return _kind_of_type(error)


def _kind_of_type(error: BaseException) -> ErrorKind | None:
    """By the exception's class: our own timeout, and the transports' (httpx, urllib3, requests share these names)."""
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, ConnectionError):
        return "network"
    names = {one.__name__ for one in type(error).__mro__}
    if names & {"TimeoutException", "APITimeoutError", "Timeout", "ConnectTimeout", "ReadTimeout"}:
        return "timeout"
    if names & {"TransportError", "APIConnectionError", "ConnectError", "NetworkError", "RemoteProtocolError"}:
        return "network"
    if names & {"JSONDecodeError", "APIResponseValidationError", "DecodingError"}:
        return "invalid_reply"
    # A plugin reached for a field that the reply does not have, as on a proxy's login page.
    if isinstance(error, (AttributeError, LookupError)):
        return "invalid_reply"
    return None


def _status(error: BaseException) -> int | None:
    for holder in (error, getattr(error, "response", None)):
        status = getattr(holder, "status_code", None)
        if isinstance(status, int):
            return status
    # An error in the middle of a stream has its status only as a code, as text.
    return next((int(code) for code in _codes(error) if re.fullmatch(r"[45]\d\d", code)), None)


def _codes(error: BaseException) -> Iterator[str]:
    """The codes in an exception and its body, as lower-case words."""
    yield from _words(getattr(error, "code", None), getattr(error, "type", None))
    body = getattr(error, "body", None)
    inner = body.get("error", body) if isinstance(body, dict) else None
    if isinstance(inner, dict):
        yield from _words(inner.get("code"), inner.get("type"), inner.get("status"))


def _words(*values: object) -> Iterator[str]:
    return (value.lower() for value in values if isinstance(value, str))


def _retry_after(chain: list[BaseException]) -> float | None:
    for error in chain:
        headers = getattr(getattr(error, "response", None), "headers", None)
        value = headers.get("retry-after") if headers is not None else None
        if value:
            return _seconds(value)
    return None


def _seconds(retry_after: str) -> float | None:
    """A Retry-After header as seconds from now: it says so many seconds, or a date; None where it says neither."""
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(retry_after).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
