"""Patience: how long a run's calls may be silent, by its rule, or by how fast their models began earlier replies."""

import time
from collections.abc import Mapping, Sequence
from statistics import median

from consortium_mcp._util.timing import Timing
from consortium_mcp.errors import StoreUnusableError
from consortium_mcp.records import CallId, CallSpec, Run
from consortium_mcp.service.live_run import LiveCall
from consortium_mcp.store import Store

MOST_REPLIES = 20
"""The number of a model's latest replies that are used."""


class Patience:
    """Computes the further seconds to wait for a silent call; a call that sends data is not silent."""

    def __init__(self, run: Run, calls: Mapping[CallId, LiveCall], timing: Timing) -> None:
        """Use the calls of a run.

        Args:
            calls: every call that was requested in the run; it grows.
            timing: the waiting times if no rule sets them.
        """
        self._seconds = run.consortium.patience_seconds
        self._models = {member.model for member in run.consortium.members if member.response is None}
        self._calls = calls
        self._timing = timing
        self._first_pieces: Mapping[str, Sequence[int]] = {}

    async def read_history(self, store: Store) -> None:
        """Load how fast the run's models began earlier replies: once per run, and only if no rule sets the patience."""
        if self._seconds is not None:
            return
        try:
            self._first_pieces = await store.journal.load_first_pieces(self._models, MOST_REPLIES)
        except StoreUnusableError:
            return  # then every model counts as one without a history

    def __call__(self, spec: CallSpec, counted_seconds: float) -> float:
        """The further seconds to wait for a call that stays silent; 0 or less if it was silent for too long.

        A call is not silent while it has not begun, or waits for its turn or a further attempt: its model causes none
        of these.

        Args:
            counted_seconds: the seconds for which silence has counted.
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
