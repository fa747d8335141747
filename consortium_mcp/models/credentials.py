"""The credentials of a model's calls: its key, the values of its headers, and the secrets in its address."""

import binascii
from base64 import b64decode
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from consortium_mcp.models.catalogue import ModelEntry

_PUBLIC_HEADERS = frozenset(
    "accept accept-encoding accept-language anthropic-beta anthropic-version content-type http-referer openai-beta "
    "referer user-agent x-title".split()
)
"""Headers without credentials; the value of any other header may be one."""


def credentials_of(entry: ModelEntry) -> tuple[str, ...]:
    """The values that no message about a call of the model may show; values that cannot be read now are left out."""
    try:
        key = entry.model.get_key()
    except Exception:  # from llm, if a key is missing or its file is incomplete; or from a plugin
        key = None
    headers, address = getattr(entry.model, "headers", None), getattr(entry.model, "api_base", None)
    found = [key, *_of_headers(headers), *_of_address(address)]
    return tuple(value for value in found if isinstance(value, str) and value)


def _of_headers(headers: Any) -> Iterator[str]:
    if not isinstance(headers, Mapping):
        return
    for name, value in headers.items():
        if str(name).lower() not in _PUBLIC_HEADERS and isinstance(value, str):
            yield value
            scheme, _, rest = value.strip().partition(" ")
            if rest:
                yield rest.strip()
            if scheme.lower() == "basic":
                yield from _of_pair(rest)


def _of_pair(encoded: str) -> Iterator[str]:
    """The name and password of Basic authentication together, and the password alone."""
    try:
        pair = b64decode(encoded, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return
    yield pair
    yield pair.partition(":")[2]


def _of_address(address: Any) -> Iterator[str]:
    """The password and the values of the query in a URL."""
    if not isinstance(address, str):
        return
    try:
        parts = urlsplit(address)
        yield unquote(parts.password or "")
    except ValueError:  # not a URL; the call will report it
        return
    yield from (value for _, value in parse_qsl(parts.query))
