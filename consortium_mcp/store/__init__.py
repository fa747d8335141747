"""Saves and loads consortiums and runs in one SQLite file; nothing else knows SQL, and no model is called here."""

from consortium_mcp.store.journal import (
    Begun,
    Journal,
    NotHeld,
    Paid,
    Refused,
    Reservation,
    caller_scope,
    day_scope,
    run_scope,
)
from consortium_mcp.store.leases import LEASE_SECONDS, Leases
from consortium_mcp.store.marks import Marking
from consortium_mcp.store.outlines import Outlines
from consortium_mcp.store.progress import RunProgress
from consortium_mcp.store.pruning import Pruning
from consortium_mcp.store.ratings import Ratings
from consortium_mcp.store.runs import Room, Runs

__all__ = [
    "LEASE_SECONDS",
    "Begun",
    "NotHeld",
    "Paid",
    "Refused",
    "Reservation",
    "Room",
    "Store",
    "caller_scope",
    "day_scope",
    "run_scope",
]


class Store(Marking, Runs, Leases, Outlines, RunProgress, Journal, Ratings, Pruning):
    """Everything that we keep, in one file."""
