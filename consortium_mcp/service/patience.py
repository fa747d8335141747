"""Patience: how long the calls of a run may be silent, by its rule, or by how soon their models began before."""

import time
from collections.abc import Mapping, Sequence
from statistics import median

from consortium_mcp._util.timing import Timing
from consortium_mcp.errors import StoreUnusableError
from consortium_mcp.records import CallId, CallSpec, Run
from consortium_mcp.service.live_run import LiveCall
from consortium_mcp.store import Store

MOST_REPLIES = 20
"""How many of a model's latest replies are looked at."""


class Patience:
    """How much longer the silent calls of one run are worth waiting for; a call that sends is never silent for long."""

    def __init__(self, run: Run, calls: Mapping[CallId, LiveCall], timing: Timing) -> None:
        """Measure the calls of a run.

        Args:
            calls: every call that was asked for in the run; it grows.
            timing: how long is waited where no rule says it.
        """
        self._seconds = run.consortium.patience_seconds
        self._models = {member.model for member in run.consortium.members if member.response is None}
        self._calls = calls
        self._timing = timing
        self._first_pieces: Mapping[str, Sequence[int]] = {}

    async def read_history(self, store: Store) -> None:
        """Look up how soon the run's models began before; once for each run, and never where its rule says it."""
        if self._seconds is not None:
            return
        try:
            self._first_pieces = await store.journal.load_first_pieces(self._models, MOST_REPLIES)
        except StoreUnusableError:
            return  # then every model is one without a history

    def __call__(self, spec: CallSpec, counted_seconds: float) -> float:
        """How many seconds longer a call is waited for if it stays silent; 0 or less when it was silent for too long.

        What has not begun, or waits for its turn or a further attempt, is not silent: that is not its model's doing.

        Args:
            counted_seconds: since when silence counts.
        """
        call = self._calls.get(spec.call_id)
        silent = 0.0 if call is None or call.heard_at is None else time.monotonic() - call.heard_at
        return self._allowed_seconds(spec.model) - min(silent, counted_seconds)

    def _allowed_seconds(self, model: str) -> float:
        if self._seconds is not None:
            return self._seconds
        if not (known := self._first_pieces.get(model)):
            return self._timing.unknown_patience
        return max(self._timing.least_patience, self._timing.patience_factor * median(known) / 1000)
