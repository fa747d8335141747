"""Reads a provider's error from its body and headers: status, codes, message, and the requested wait."""

import json
import math
import re
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from consortium_mcp.models.error_words import plain, with_place, words_of

_TITLE = re.compile(r"<title[^>]*>\s*([^<]{1,100})", re.IGNORECASE)

_PAGE = re.compile(r"\s*<[!a-z]", re.IGNORECASE)

_EXCERPT = 300
"""The number of characters shown of an error's body that is not JSON."""

_AGAIN_IN = re.compile(
    r"(?:try again|retry|available|wait|reset)\w*\s+(?:(?:in|after|for)\s+)?(?:about\s+)?"
    r"(?P<span>(?:\d{1,12}(?:\.\d{1,12})?\s{0,9}(?:ms|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hours?|d|days?)"
    r"(?![a-z])(?:\s{0,9}(?:,|and\b))?\s{0,9})+)",
    re.IGNORECASE,
)
_ITS_STATUS = re.compile(r"(?<!\s)\s*\(status code: \d{1,9}\)$")
"""The suffix that ollama's client adds to a provider's message."""

_TIME = re.compile(r"(?<!\d)(\d{1,12}(?:\.\d{1,12})?)\s*(ms|milli|s|m|h|d)", re.IGNORECASE)
_SECONDS = {"ms": 0.001, "milli": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

_RESETS = (
    *("x-ratelimit-reset", "ratelimit-reset", "x-ratelimit-reset-requests", "x-ratelimit-reset-tokens"),
    *("x-ratelimit-reset-requests-day", "x-ratelimit-reset-tokens-minute"),
    *("anthropic-ratelimit-requests-reset", "anthropic-ratelimit-tokens-reset"),
)
"""Headers with the time when a limit resets; most of them have a partner with the remaining quota."""

_WAITS = ("retryDelay", "retry_after", "retry_after_seconds", "estimated_time")
"""The fields of an error's body with the requested wait: seconds, or a duration."""


def status_of(error: BaseException) -> int | None:
    """The HTTP status; None if there is none."""
    for holder in (error, getattr(error, "response", None)):
        status = getattr(holder, "status_code", None)
        if isinstance(status, int) and not isinstance(status, bool):
            return status
    # An error in the middle of a stream has its status only as a code.
    return next((int(code) for code in codes_of(error) if re.fullmatch(r"[45]\d\d", code)), None)


def codes_of(error: BaseException) -> Iterator[str]:
    """The codes in an exception and its body, as lower-case words."""
    own = vars(error)  # reading a deprecated property may warn
    yield from _codes(own.get("code"), own.get("type"), own.get("status"))
    for part in _parts(body_of(error)):
        yield from _codes(*(part.get(name) for name in ("code", "type", "status", "reason")))


def parameter_of(error: BaseException) -> str | None:
    """The part of the request that an error's body names as the cause; None if it names none."""
    return next((one for part in _parts(body_of(error)) if isinstance(one := part.get("param"), str)), None)


def body_of(error: BaseException) -> Any:
    """The body of a provider's error, parsed if the client keeps it as text; None if there is none."""
    body = getattr(error, "body", None)
    if not isinstance(body, str):
        return body
    try:
        return json.loads(body)
    except ValueError:
        return body


def said_by(error: BaseException) -> str:
    """The provider's message in its error, without the status; empty if the exception is not a provider's."""
    response = getattr(error, "response", None)
    words = words_of(body_of(error)) or _text_of(response)
    status = getattr(error, "status_code", None) or getattr(response, "status_code", None)
    if not isinstance(status, int):
        return plain(words or "")
    if not words and response is None:
        words = _ITS_STATUS.sub("", str(error))
    words = plain(_without_markup(words)) if words else getattr(response, "reason_phrase", None)
    said = f"Error code: {status} - {words}" if isinstance(words, str) and words else f"Error code: {status}"
    if status == 403 and is_page(error):
        return f"{said.rstrip('.')}. A web page answered: check the model's api_base and the network."
    is_of_provider = isinstance(body_of(error), dict | list)
    return said if is_of_provider or status not in (404, 405) else with_place(said)


def is_page(error: BaseException) -> bool:
    """Whether an error's body is a web page, as of a firewall before the provider."""
    return bool(_PAGE.match(_text_of(getattr(error, "response", None)) or ""))


def wait_of(error: BaseException) -> float | None:
    """The seconds that a provider asks us to wait; None if it names none."""
    headers = getattr(getattr(error, "response", error), "headers", None)
    waits = [_of_headers(headers) if headers is not None else None]
    parts = [*_parts(body_of(error)), *_parts(_whole_body(error))]
    waits += [_waited(part[name]) for part in parts for name in _WAITS if name in part]
    if (found := next((wait for wait in waits if wait is not None), None)) is not None:
        return found
    again = wait_in(words_of(body_of(error)) or "")
    if again is not None:
        return again
    if status_of(error) != 429:
        return None
    told = [headers] if headers is not None else []
    told += [_lower(part["headers"]) for part in parts if isinstance(part.get("headers"), dict)]  # OpenRouter's
    return next((wait for one in told if (wait := _reset_of(one)) is not None), None)


def _whole_body(error: BaseException) -> Any:
    """The body as received, of which the SDK keeps only `error`; None if there is no more, or it is not JSON."""
    if not isinstance(getattr(error, "body", None), str):
        return None
    try:
        return json.loads(_text_of(getattr(error, "response", None)) or "")
    except (ValueError, RecursionError):
        return None


def wait_in(words: str) -> float | None:
    """The seconds that a message asks us to wait; None if it names none."""
    again = _AGAIN_IN.search(words)
    return _span(again["span"]) if again else None


def _of_headers(headers: Mapping[str, str]) -> float | None:
    if (milliseconds := headers.get("retry-after-ms")) and (found := _number(milliseconds)) is not None:
        return found / 1000
    value = headers.get("retry-after")
    return _after(value) if value else None


def _after(retry_after: str) -> float | None:
    """A Retry-After header as seconds from now: it holds seconds, a date, or a duration; None if it cannot be read."""
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(retry_after).timestamp() - time.time()
        except (ValueError, OverflowError):
            return _span(retry_after)
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _reset_of(headers: Mapping[str, str]) -> float | None:
    """The seconds until the exceeded limit resets."""
    waits = []
    for name in _RESETS:
        value, left = headers.get(name), headers.get(name.replace("reset", "remaining"))
        if value and (left is None or _number(left) == 0):
            waits.append(_moment(value))
    return max((wait for wait in waits if wait is not None), default=None)


def _moment(value: str) -> float | None:
    """A time as seconds from now: a duration, seconds, seconds or milliseconds since 1970, or a date."""
    number = _number(value)
    if number is None:
        if (span := _span(value)) is not None:
            return span
        try:
            return max(0.0, datetime.fromisoformat(value).timestamp() - time.time())
        except (ValueError, OverflowError):
            return None
    if number > 1e12:
        number /= 1000
    return max(0.0, number - time.time()) if number > 1e9 else number


def _span(text: Any) -> float | None:
    """A duration in seconds, as in `1m30s`, `2.5s` or `39600s`; None if it is none."""
    times = _TIME.findall(text) if isinstance(text, str) else []
    return sum(float(number) * _SECONDS[unit.lower()] for number, unit in times) if times else None


def _waited(value: Any) -> float | None:
    """A wait in an error's body: seconds as a number or a text, or a duration; None if it is none."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _number(str(value))
    return _after(value) if isinstance(value, str) else None


def _lower(headers: dict[str, Any]) -> dict[str, str]:
    return {name.lower(): str(value) for name, value in headers.items()}


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _parts(body: Any, depth: int = 0) -> Iterator[dict[str, Any]]:
    """The objects in an error's body: the body, its `error`, and their details."""
    if isinstance(body, dict) and depth < 7:
        yield body
        for name in ("error", "details", "metadata"):
            yield from _parts(body.get(name), depth + 1)
    elif isinstance(body, list) and depth < 7:
        for one in body[:10]:
            yield from _parts(one, depth + 1)


def _codes(*values: object) -> Iterator[str]:
    for value in values:
        if isinstance(value, str | int) and not isinstance(value, bool):
            yield str(value).lower()


def _text_of(response: Any) -> str | None:
    """The body of a response that was read; None if it was not read or is empty."""
    try:
        text = response.text
    except Exception:  # from a client, where the body was not read
        return None
    return text.strip() or None if isinstance(text, str) else None


def _without_markup(words: str) -> str:
    """The title of a web page; other texts are shortened."""
    if _PAGE.match(words):
        title = _TITLE.search(words)
        return " ".join(title[1].split()) if title else "a web page"
    return " ".join(words.split())[:_EXCERPT]
