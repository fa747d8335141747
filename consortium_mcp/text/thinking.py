"""Thinking blocks, which some models put before their reply, and the reply without them."""

import json
import re

_TAG = re.compile(r"<(/?)(think|thinking|thought|reasoning|scratchpad)\b[^<>]*>", re.IGNORECASE)


def strip_thinking(text: str) -> str:
    """The reply without its thinking blocks, nested ones included.

    A block that is never closed reaches to the end; a closing tag whose opening is missing (some chat templates
    swallow it) ends a block that began with the text.
    """
    kept: list[str] = []
    depth = 0
    position = 0
    for tag in _TAG.finditer(text):
        if tag[1]:
            if depth == 0:
                kept.clear()
            depth = max(0, depth - 1)
            position = tag.end()
        elif not tag[0].endswith("/>"):
            if depth == 0:
                kept.append(text[position : tag.start()])
            depth += 1
    if depth == 0:
        kept.append(text[position:])
    return "".join(kept).strip()


def outside_thinking(reply: str) -> str:
    """The reply without its thinking; one that is JSON as a whole has none, whatever its strings speak of."""
    try:
        json.loads(reply, strict=False)
    except (ValueError, RecursionError):
        return strip_thinking(reply)
    return reply
