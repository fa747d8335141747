"""The message of a provider's error, at any depth of its body, without the names of exception classes."""

import ast
import json
import re
from typing import Any

_WORDS = (
    *("message", "error", "detail", "msg", "error_description", "description", "title"),
    *("errors", "base_resp", "status_msg"),  # from Cloudflare and MiniMax
)
"""The fields with an error's message, the most specific first."""

OWN_FAULT = "the provider's own program failed; the log on stderr has its words."
"""The whole message for users if a provider reports an error of its own program in Python's wording."""

PYTHON = re.compile(
    r"object (is not|has no|does not)|has no attribute|NoneType|positional argument|keyword argument|Traceback|"
    r"<class |unhashable|\bnot subscriptable|list index out of range|must be str|codec can't|(?<!\w)\w+Error\b"
)
"""The wording of Python's own errors, which are useless for users."""

_TYPES = re.compile(
    r"\s*(?:<\d{3}>\s*)?(?:[\w.]{0,80}(?:Error|Exception)[\w.]{0,80}\s{0,3}(?::|-)\s{1,9}){0,5}"
    r"(?:An error occurred \(\w{1,80}\) when calling the \w{1,80} operation(?: \([^()]{0,80}\))?:\s{1,9})?"
)
"""The exception classes that LiteLLM, DashScope and AWS put before a provider's message."""

NO_PLACE = re.compile(r"unexpected endpoint|invalid url|could not route to|^not found\.?$", re.IGNORECASE)
"""The messages of servers that do not have the requested path."""

_LONGEST = 10_000
"""The number of characters of a message that are searched."""


def words_of(error: Any) -> str | None:
    """The message of an error, at any depth; None if it has none."""
    if isinstance(error, str):
        return _inside(error) or error.strip() or None
    if isinstance(error, list):
        return next((words for one in error[:10] if (words := words_of(one))), None)
    if isinstance(error, dict):
        where = error.get("loc")
        if isinstance(where, list | tuple) and len(where) > 1 and isinstance(error.get("msg"), str):
            return f"{where[-1]}: {error['msg']}"
        said = next((words for name in _WORDS if (words := words_of(error.get(name)))), None)
        metadata = error.get("metadata")
        cause = words_of(metadata.get("raw")) if isinstance(metadata, dict) else None
        if said and cause and cause not in said:  # from OpenRouter: the message of the provider behind it
            return f"{said.rstrip('.')}: {cause}"
        return said
    return None


def plain(words: str) -> str:
    """A provider's message as it is shown to users; OWN_FAULT if it is in Python's wording."""
    words = without_types(words)
    if PYTHON.search(words[:_LONGEST]):
        return OWN_FAULT
    return with_place(words) if NO_PLACE.search(words[:_LONGEST]) else words


def without_types(words: str) -> str:
    """The message without the exception classes before it."""
    found = _TYPES.match(words)
    return words[found.end() :] if found else words


def with_place(words: str) -> str:
    """The message with the advice to check the requested address."""
    end = "" if words.endswith(("?", "!")) else "."
    return f"{words.rstrip('.')}{end} Check the model's api_base."


def _inside(text: str) -> str | None:
    """The message in an error that a gateway quotes as JSON or as a Python literal; None if the text is neither."""
    quoted = without_types(text[:_LONGEST]).strip().removeprefix("b'").removesuffix("'")
    if not quoted.startswith(("{", "[{")):
        return None
    try:
        return words_of(json.loads(quoted))
    except (ValueError, RecursionError):
        pass
    try:
        return words_of(ast.literal_eval(quoted))
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None
