"""Waiting times that are not settings; a test gives shorter ones."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio


@dataclass(frozen=True)
class Timing:
    """How long a service waits, in seconds, where neither a setting nor a rule says it."""

    heartbeat: float = 4.5
    """The longest silence while a run is followed; a run of another process is looked at as often."""

    lease_renewal: float = 7.5
    """The time between two renewals of a run's lease: a quarter of the lease."""

    recovery: float = 30
    """The time between two searches for runs that another process left interrupted: one lease."""

    first_retry: float = 0.5
    """The wait before the second attempt, if the provider names none. Each further wait is twice as long."""

    retry_jitter: float = 0.5
    """The most that is added to a wait at random: calls that failed together are spread."""

    arbiter_share: float = 0.2
    """The share of a run's time that is kept for the arbiter (0.0-1.0); see `most_for_arbiter`."""

    most_for_arbiter: float = 60
    """The most that is kept of a run's time for the arbiter."""

    patience_factor: float = 3
    """How many times longer than usual a model may be silent once there is a quorum."""

    least_patience: float = 20
    """The least that a model with a history may be silent, even if it was always quick."""

    unknown_patience: float = 60
    """The time for which a model without a history may be silent."""

    look_busy: float = 0.5
    """The time between two looks for changes while a client listens and a run is under way."""

    look_idle: float = 2.0
    """The time between two looks for changes while a client listens and no run is under way."""

    pause: Callable[[float], Awaitable[None]] = anyio.sleep
    """Waits before a further attempt."""


DEFAULT_TIMING = Timing()
