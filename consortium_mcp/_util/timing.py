"""Waiting times that are not settings; tests use shorter ones."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio


@dataclass(frozen=True)
class Timing:
    """The waiting times of a service in seconds, where neither a setting nor a rule applies."""

    heartbeat: float = 4.5
    """The longest time between two progress events; runs of other processes are polled at this interval."""

    lease_renewal: float = 7.5
    """The time between two renewals of a run's lease: a quarter of the lease."""

    recovery: float = 30
    """The time between two searches for interrupted runs of other processes: one lease."""

    first_retry: float = 0.5
    """The wait before the second attempt, if the provider states none. Each further wait is twice as long."""

    retry_jitter: float = 0.5
    """The longest random addition to a wait, so that calls that failed together are not repeated together."""

    arbiter_share: float = 0.2
    """The share of a run's time that is reserved for the arbiter, 0.0-1.0, up to `most_for_arbiter`."""

    most_for_arbiter: float = 60
    """The longest time of a run that is reserved for the arbiter."""

    patience_factor: float = 3
    """The factor on a model's usual silence that gives its patience after the quorum."""

    least_patience: float = 20
    """The shortest patience with a model that has a history, even if it always replied fast."""

    unknown_patience: float = 60
    """The patience with a model that has no history."""

    look_busy: float = 0.5
    """The time between two checks for changes while a client listens and a run is active."""

    look_idle: float = 2.0
    """The time between two checks for changes while a client listens and no run is active."""

    token_check: float = 2.0
    """The time between two checks of the token of a request that is still open."""

    pause: Callable[[float], Awaitable[None]] = anyio.sleep
    """Waits before a further attempt."""


DEFAULT_TIMING = Timing()
