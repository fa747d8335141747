"""Retry: an attempt whose failure can pass is made again, after what the provider asks for, else after ever longer."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from consortium_mcp._util.timing import Timing
from consortium_mcp.models.failures import RETRIED, RETRIED_ONCE
from consortium_mcp.records import CallResult, ErrorKind

ATTEMPTS = 3
"""How often a call is tried at most, where its failure can pass by itself."""


@dataclass(frozen=True)
class Outcome:
    """What an attempt came to."""

    result: CallResult

    was_asked: bool = True
    """False if time or budget did not allow the call; a resumed run may make it."""

    further_attempts: int = 0
    """The number of further attempts after this failure; 0 if a repetition cannot help."""

    was_adapted: bool = False
    """Whether the request was changed after this failure, as its provider asks; asking it is no repetition."""


def further_attempts(kind: ErrorKind | None) -> int:
    """How many further attempts a failure of this kind is worth."""
    if kind in RETRIED:
        return ATTEMPTS - 1
    return 1 if kind in RETRIED_ONCE else 0


async def with_retries(
    attempt: Callable[[], Awaitable[Outcome]], seconds_left: Callable[[], float], timing: Timing
) -> Outcome:
    """The outcome of the last of at most `ATTEMPTS` attempts at a request that stays as it is.

    Args:
        seconds_left: how long the call is still waited for.
        timing: how long is waited where the provider does not say.
    """
    backoff = timing.first_retry
    outcome, made = await attempt(), 1
    while outcome.was_adapted or made <= min(outcome.further_attempts, ATTEMPTS - 1):
        if outcome.was_adapted:
            if seconds_left() <= 0:
                return outcome
            outcome = await attempt()
            continue
        asked = outcome.result.retry_after_seconds
        wait = (backoff if asked is None else asked) + random.uniform(0, timing.retry_jitter)
        if wait >= seconds_left():
            return _not_waited_for(outcome) if asked else outcome
        await timing.pause(wait)
        backoff *= 2
        outcome, made = await attempt(), made + 1
    return outcome


def _not_waited_for(outcome: Outcome) -> Outcome:
    """The outcome, which says why there was no further attempt."""
    error = f"{outcome.result.error} This call cannot wait that long."
    return replace(outcome, result=outcome.result.model_copy(update={"error": error}))
