"""The words of a provider's error, wherever its body has them, without what only a program can read in them."""

import ast
import json
import re
from typing import Any

_WORDS = (
    *("message", "error", "detail", "msg", "error_description", "description", "title"),
    *("errors", "base_resp", "status_msg"),  # of Cloudflare and MiniMax
)
"""Where an error has its words, the most telling name first."""

OWN_FAULT = "the provider's own program failed; the log on stderr has its words."
"""All that a user is told where a provider reports a fault of its program in Python's words."""

PYTHON = re.compile(
    r"object (is not|has no|does not)|has no attribute|NoneType|positional argument|keyword argument|Traceback|"
    r"<class |unhashable|\bnot subscriptable|list index out of range|must be str|codec can't|(?<!\w)\w+Error\b"
)
"""How Python words its own errors, which tell a user nothing."""

_TYPES = re.compile(
    r"\s*(?:<\d{3}>\s*)?(?:[\w.]{0,80}(?:Error|Exception)[\w.]{0,80}\s{0,3}(?::|-)\s{1,9}){0,5}"
    r"(?:An error occurred \(\w{1,80}\) when calling the \w{1,80} operation(?: \([^()]{0,80}\))?:\s{1,9})?"
)
"""The classes of exceptions that gateways put before a provider's words, as LiteLLM, DashScope and AWS do."""

_NO_PLACE = re.compile(r"unexpected endpoint|invalid url|could not route to", re.IGNORECASE)
"""What servers say where a request came to a path that they do not have."""

_LONGEST = 10_000
"""Characters of words that are searched for other words in them."""


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
        if said and cause and cause not in said:  # OpenRouter's: what the provider behind it said
            return f"{said.rstrip('.')}: {cause}"
        return said
    return None


def plain(words: str) -> str:
    """A provider's words as a user is shown them; OWN_FAULT where they are Python's, with a hint where it helps."""
    words = without_types(words)
    if PYTHON.search(words[:_LONGEST]):
        return OWN_FAULT
    return with_place(words) if _NO_PLACE.search(words[:_LONGEST]) else words


def without_types(words: str) -> str:
    """Words without the classes of exceptions in front of them."""
    found = _TYPES.match(words)
    return words[found.end() :] if found else words


def with_place(words: str) -> str:
    """Words with the advice to check the address that was asked."""
    end = "" if words.endswith(("?", "!")) else "."
    return f"{words.rstrip('.')}{end} Check the model's api_base."


def _inside(text: str) -> str | None:
    """What an error says that a gateway quotes as JSON or as Python's data; None where the text is no such thing."""
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
