"""Reads what can be shown of a synthesis while the arbiter still writes it; the rest comes with the verdict."""

import re

from pydantic_core import from_json

from consortium_mcp.engine.judging.reader import text_of
from consortium_mcp.text.thinking import strip_thinking

_OPENING = re.compile(r"\s*<(?:verdict|synthesis_output)\b[^<>]*>\s*<synthesis>", re.IGNORECASE)
_TAG = re.compile(r"<(?:/?[a-z_|\uff5c]|/?$)", re.IGNORECASE)


def beginning_of_synthesis(reply: str) -> str:
    """The beginning of the synthesis that the reader will find in a reply which begins like this; empty when unsure.

    As JSON, the reply must be an object from its first character on. Among tags, the block must be the first thing
    outside of any thinking, and what follows the first tag inside the synthesis is held back: it may end the
    synthesis, or begin a thought.
    """
    return _of_json(reply) if reply.lstrip().startswith("{") else _of_tags(reply)


def _of_json(reply: str) -> str:
    try:
        fields = from_json(reply, allow_partial="trailing-strings")
    except ValueError:
        return ""
    synthesis = fields.get("synthesis") if isinstance(fields, dict) else None
    return text_of(synthesis) if isinstance(synthesis, str) else ""


def _of_tags(reply: str) -> str:
    reply = strip_thinking(reply)
    opening = _OPENING.match(reply)
    if opening is None:
        return ""
    tag = _TAG.search(reply, opening.end())
    return text_of(reply[opening.end() : tag.start() if tag else len(reply)])
