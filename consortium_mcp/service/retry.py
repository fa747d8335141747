"""Retries: a failed attempt is repeated if its failure may pass, after the provider's wait or a growing pause."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from consortium_mcp._util.timing import Timing
from consortium_mcp.models.failures import RETRIED, RETRIED_ONCE
from consortium_mcp.records import CallResult, ErrorKind

ATTEMPTS = 3
"""The largest number of attempts of a call."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of an attempt."""

    result: CallResult

    was_asked: bool = True
    """False if time or budget did not allow the call; a resumed run may make it."""

    further_attempts: int = 0
    """The number of further attempts after this failure; 0 if a repetition cannot help."""

    was_adapted: bool = False
    """Whether the request was changed after this failure, as its provider asks; asking it is no repetition."""


def further_attempts(kind: ErrorKind | None) -> int:
    """The number of further attempts after a failure of this kind."""
    if kind in RETRIED:
        return ATTEMPTS - 1
    return 1 if kind in RETRIED_ONCE else 0


async def with_retries(
    attempt: Callable[[], Awaitable[Outcome]], seconds_left: Callable[[], float], timing: Timing
) -> Outcome:
    """The outcome of the last of at most `ATTEMPTS` attempts at an unchanged request.

    Args:
        seconds_left: the seconds until the call is given up.
        timing: the pauses if the provider names none.
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
    """The outcome, with a note why there was no further attempt."""
    error = f"{outcome.result.error} This call cannot wait that long."
    return replace(outcome, result=outcome.result.model_copy(update={"error": error}))
