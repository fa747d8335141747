"""Faults of replies with status 200: broken off, not a model's reply, or an error that the provider reports."""

import re
from typing import Any
from urllib.parse import urlsplit

from consortium_mcp.models.error_words import OWN_FAULT, plain, words_of
from consortium_mcp.records import ErrorKind

_TITLE = re.compile(rb"<title[^>]*>\s*([^<]{1,100})", re.IGNORECASE)

_EXCERPT = 80
"""The number of characters shown of a reply that cannot be read."""


class ReplyFault(Exception):
    """Why a reply is not a complete reply of a model.

    Args:
        message: one sentence.
        kind: the error kind; None if `body` determines it.
        body: the error that the provider reported in the reply; None if it reported none.
    """

    def __init__(self, message: str, kind: ErrorKind | None = None, body: Any = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.body = body


def broken_off(characters: int, finish_reason: str | None = None) -> ReplyFault:
    """The reply ended before the model was done."""
    why = f"its finish reason is {finish_reason}" if finish_reason else "it has no finish reason"
    return ReplyFault(f"The reply broke off after {characters} characters: {why}.", "broken_off")


def not_a_reply(body: bytes, garbled: bool = False) -> ReplyFault:
    """The reply is in no known form of a model's reply.

    Args:
        body: its beginning.
        garbled: whether it has the form of a stream, but a part of it is not JSON.
    """
    if garbled:
        return ReplyFault("A piece of the provider's reply is not valid JSON.", "invalid_reply")
    if not body.strip():
        return ReplyFault("The provider sent a reply without any content.", "invalid_reply")
    if body.lstrip()[:1] == b"<":
        title = _TITLE.search(body)
        named = f" ({' '.join(_text(title[1]).split())})" if title else ""
        advice = "Check the model's address (api_base), and whether the network asks for a login"
        return ReplyFault(f"The provider sent a web page{named} instead of a model's reply. {advice}.", "invalid_reply")
    excerpt = " ".join(_text(body).split())[:_EXCERPT]
    return ReplyFault(f"The provider's reply is not in the form of a model's reply: {excerpt}", "invalid_reply")


def reported(error: Any) -> ReplyFault:
    """The provider reported an error in a reply.

    Args:
        error: the error in the reply: an object, a list of objects, or a text.
    """
    words = plain(words_of(error) or "")
    sentence = f"{words[:1].upper()}{words[1:]}" if words == OWN_FAULT else words
    return ReplyFault(sentence or "The provider reported an error without a message.", body={"error": error})


def redirected(address: str) -> ReplyFault:
    """The provider redirects to another address; following it would lose the question, or lead nowhere."""
    if not is_web_address(address):
        sentence = f"The model's address redirects to {address[:200]}, which is no web address. Check its api_base."
        return ReplyFault(sentence, "invalid_request")
    sentence = f"The model's address redirects to {address[:200]}. Name that address in api_base."
    return ReplyFault(sentence, "invalid_request")


def is_web_address(location: str) -> bool:
    """Whether a redirect's location can be followed: an HTTP URL, or a path on the same server."""
    try:
        parts = urlsplit(location)
        port = parts.port
    except ValueError:
        return False
    if parts.scheme or parts.netloc:
        return parts.scheme in ("http", "https", "") and bool(parts.hostname) and port != 0
    return bool(location) and ":" not in location.partition("/")[0]


def _text(body: bytes) -> str:
    text = body[:2_000].decode("utf-8", "replace")
    return "".join(char for char in text if char.isprintable() or char.isspace())
