"""Retry: an attempt whose failure can pass is made again, after what the provider asks for, else after ever longer."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from consortium_mcp._util.timing import Timing
from consortium_mcp.records import CallResult

ATTEMPTS = 3
"""How often a call is tried at most, where its failure can pass by itself."""

MAX_RETRY_AFTER_SECONDS = 60
"""A provider that asks us to stay away for longer is not waited for."""


@dataclass(frozen=True)
class Outcome:
    """What an attempt came to."""

    result: CallResult

    was_asked: bool = True
    """False where the model was not asked, for want of time or budget; a resumed run may ask it."""

    may_pass: bool = False
    """Whether it failed in a way that can pass by itself."""


async def with_retries(
    attempt: Callable[[], Awaitable[Outcome]], seconds_left: Callable[[], float], timing: Timing
) -> Outcome:
    """The outcome of the last of at most `ATTEMPTS` attempts.

    Args:
        seconds_left: how long the call is still waited for.
        timing: how long is waited where the provider does not say.
    """
    backoff = timing.first_retry
    for _ in range(ATTEMPTS - 1):
        outcome = await attempt()
        if not outcome.may_pass:
            return outcome
        asked = outcome.result.retry_after_seconds
        wait = (backoff if asked is None else asked) + random.uniform(0, timing.retry_jitter)
        if (asked or 0) > MAX_RETRY_AFTER_SECONDS or wait >= seconds_left():
            return outcome
        await timing.pause(wait)
        backoff *= 2
    return await attempt()
