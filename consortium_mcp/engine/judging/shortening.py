"""Shortens the arbiter's question, and asks once more, if it is longer than the model can read.

The rule: quoted texts lose their middles, the longest first. How much follows from the tokens that the provider's error
names. Where it names none, half of the question is left.
"""

import re
from collections.abc import Callable

from consortium_mcp.engine.members import CallModel
from consortium_mcp.records import CallResult, CallSpec, Iteration

MARGIN = 0.8
"""The part of the allowed length that the shorter question uses, because tokens per character differ between texts."""

LEAST_CHARACTERS = 500
"""The fewest characters of the responses that are quoted."""

SHORTENED = "its question was too long, so it saw shortened responses"

_TOKENS = re.compile(r"(?<![\w.])\d[\d,]{2,9}(?![\w.]*\d)")


async def asked_in_full_or_shortened(
    call: CallModel, iteration: Iteration, role: str, build: Callable[[str, int | None], CallSpec]
) -> tuple[CallSpec, CallResult, str | None]:
    """The question that was answered, its result, and what the arbiter could not see; None if it saw everything.

    Args:
        role: the end of the call id.
        build: makes the question for a role, with a limit of characters for each group of quotations.
    """
    asked = build(role, None)
    result = await call(asked)
    if result.error_kind != "context_length":
        return asked, result, None
    shorter = build(f"{role}/shorter", _characters_left(asked, iteration, result.error or ""))
    if len(shorter.prompt) >= len(asked.prompt):
        return asked, result, None
    return shorter, await call(shorter), SHORTENED


def _characters_left(asked: CallSpec, iteration: Iteration, error: str) -> int:
    """The number of characters of the responses that fit into the model's limit."""
    quoted = sum(len(iteration.responses[place].text or "") for place in iteration.shown_order)
    allowed = int(len(asked.prompt) * _share_allowed(error))
    return max(LEAST_CHARACTERS, allowed - (len(asked.prompt) - quoted))


def _share_allowed(error: str) -> float:
    """The part of the question that the model can read, from the token counts in the error."""
    said = error.partition(" - ")[2] or error  # after the status
    tokens = sorted({int(number.replace(",", "")) for number in _TOKENS.findall(said)})
    return MARGIN * tokens[0] / tokens[-1] if len(tokens) > 1 and tokens[0] else 0.5
