"""Stores runs and consortiums in one SQLite file, which only this folder accesses; it knows no model and no door."""

from typing import TYPE_CHECKING

from consortium_mcp._util.lazy import lazy_names

if TYPE_CHECKING:
    from consortium_mcp.store.attachments import lacks_contents
    from consortium_mcp.store.journal import (
        AlreadyPaid,
        AttemptStarted,
        LeaseLost,
        OverBudget,
        Reservation,
        caller_scope,
        day_scope,
        run_scope,
    )
    from consortium_mcp.store.leases import LEASE_SECONDS
    from consortium_mcp.store.run_lists import RunUsage
    from consortium_mcp.store.runs import RunCapacity
    from consortium_mcp.store.store import Store

__all__ = [
    "LEASE_SECONDS",
    "AttemptStarted",
    "LeaseLost",
    "AlreadyPaid",
    "OverBudget",
    "Reservation",
    "RunCapacity",
    "RunUsage",
    "Store",
    "caller_scope",
    "day_scope",
    "lacks_contents",
    "run_scope",
]

_HOMES = {  # imported when one of their names is first used: at its start, a server only lists the saved names
    "journal": (
        "AttemptStarted",
        "LeaseLost",
        "AlreadyPaid",
        "OverBudget",
        "Reservation",
        "caller_scope",
        "day_scope",
        "run_scope",
    ),
    "attachments": ("lacks_contents",),
    "leases": ("LEASE_SECONDS",),
    "run_lists": ("RunUsage",),
    "runs": ("RunCapacity",),
    "store": ("Store",),
}

__getattr__ = lazy_names(__name__, _HOMES)
