"""The store: everything that we keep, in one file."""

from consortium_mcp.store.change_markers import Marking
from consortium_mcp.store.journal import Journal
from consortium_mcp.store.leases import Leases
from consortium_mcp.store.progress import RunProgress
from consortium_mcp.store.pruning import Pruning
from consortium_mcp.store.ratings import Ratings
from consortium_mcp.store.run_lists import Outlines
from consortium_mcp.store.runs import Runs


class Store(Marking, Runs, Leases, Outlines, RunProgress, Journal, Ratings, Pruning):
    """Everything that we keep, in one file."""
