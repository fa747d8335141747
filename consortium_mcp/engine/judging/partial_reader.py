"""Reads the part of a synthesis that can already be shown while the arbiter writes it."""

import re

from pydantic_core import from_json

from consortium_mcp.engine.judging.fields import text_of
from consortium_mcp.text.backslashes import certain_beginning
from consortium_mcp.text.confidence_line import before_end_tag
from consortium_mcp.text.thinking import strip_thinking

_BLOCK = re.compile(r"\s*<(?:verdict|synthesis_output)\b[^<>]*>", re.IGNORECASE)
_FIELD = re.compile(
    r"\s*<(?P<name>analysis|dissent|needs_iteration|refinement_areas|confidence)>"
    r"(?:(?!</?(?:synthesis|verdict|synthesis_output)\b).)*?</(?P=name)>",
    re.IGNORECASE | re.DOTALL,
)
_OPENING = re.compile(r"\s*<synthesis>", re.IGNORECASE)
_HELD_BACK = re.compile(r"<(?:[/!]?[a-z_|\uff5c]|[/!]?$|!\[)|&", re.IGNORECASE)


def beginning_of_synthesis(reply: str) -> str:
    """The beginning of the synthesis that the reader will find in the finished reply; empty if that is uncertain.

    As JSON, the reply must be an object from its first character. With tags, the block must come first, apart from
    thinking. The text after the first tag or entity inside the synthesis is held back: the tag may end the synthesis or
    begin thinking. The text after a possible backslash is held back too.
    """
    return _of_json(reply) if reply.lstrip().startswith("{") else _of_tags(reply)


def _of_json(reply: str) -> str:
    try:
        fields = from_json(reply, allow_partial="trailing-strings")
    except ValueError:
        return ""
    synthesis = fields.get("synthesis") if isinstance(fields, dict) else None
    return text_of(before_end_tag(certain_beginning(synthesis))) if isinstance(synthesis, str) else ""


def _of_tags(reply: str) -> str:
    reply = strip_thinking(reply)
    block = _BLOCK.match(reply)
    at = block.end() if block else 0
    while field := _FIELD.match(reply, at):
        at = field.end()
    opening = _OPENING.match(reply, at) if block else None
    if opening is None:
        return ""
    held = _HELD_BACK.search(reply, opening.end())
    return text_of(reply[opening.end() : held.start() if held else len(reply)])
