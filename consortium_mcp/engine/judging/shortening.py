"""An arbiter's question that is longer than the model can read is asked once more, with its quotations shortened.

The rule: quoted texts lose their middles, the longest first. How much follows from the tokens that the provider's error
names. Where it names none, half of the question is left.
"""

import re
from collections.abc import Callable

from consortium_mcp.engine.members import CallModel
from consortium_mcp.records import CallResult, CallSpec, Iteration

MARGIN = 0.8
"""Which part of the allowed length the shorter question has: texts differ in how many tokens a character takes."""

LEAST_CHARACTERS = 500
"""As much of the responses is always quoted."""

SHORTENED = "its question was too long, so it saw shortened responses"

_TOKENS = re.compile(r"(?<![\w.])\d[\d,]{2,9}(?![\w.]*\d)")


async def asked_in_full_or_shortened(
    call: CallModel, iteration: Iteration, role: str, build: Callable[[str, int | None], CallSpec]
) -> tuple[CallSpec, CallResult, str | None]:
    """The question that stands, what came of it, and what the arbiter could not see; None where it saw all.

    Args:
        role: the end of the call's id.
        build: makes the question for a role, with at most so many characters in each group of quotations.
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
    """How many characters of the responses the model has room for."""
    quoted = sum(len(iteration.responses[place].text or "") for place in iteration.shown_order)
    allowed = int(len(asked.prompt) * _share_allowed(error))
    return max(LEAST_CHARACTERS, allowed - (len(asked.prompt) - quoted))


def _share_allowed(error: str) -> float:
    """Which part of the question the model can read, by the tokens that the error names."""
    said = error.partition(" - ")[2] or error  # behind the status
    tokens = sorted({int(number.replace(",", "")) for number in _TOKENS.findall(said)})
    return MARGIN * tokens[0] / tokens[-1] if len(tokens) > 1 and tokens[0] else 0.5
