"""Retry: an attempt whose failure can pass is made again, after what the provider asks for, else after ever longer."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio

from consortium_mcp.records import CallResult

ATTEMPTS = 3
"""How often a call is tried at most, where its failure can pass by itself."""

WAIT_INITIAL_SECONDS = 0.5
"""What is waited before the second attempt where the provider does not say; before each further one, twice as long."""

WAIT_JITTER_SECONDS = 0.5
"""At most so much is added to each wait, so that calls that failed together do not come back together."""

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


pause = anyio.sleep
"""Waits before a further attempt."""


async def with_retries(attempt: Callable[[], Awaitable[Outcome]], seconds_left: Callable[[], float]) -> Outcome:
    """The outcome of the last of at most `ATTEMPTS` attempts.

    Args:
        seconds_left: how long the call is still waited for.
    """
    backoff = WAIT_INITIAL_SECONDS
    for _ in range(ATTEMPTS - 1):
        outcome = await attempt()
        if not outcome.may_pass:
            return outcome
        asked = outcome.result.retry_after_seconds
        wait = (backoff if asked is None else asked) + random.uniform(0, WAIT_JITTER_SECONDS)
        if (asked or 0) > MAX_RETRY_AFTER_SECONDS or wait >= seconds_left():
            return outcome
        await pause(wait)
        backoff *= 2
    return await attempt()
