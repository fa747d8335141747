"""The store: all our data in one file, by subject."""

from pathlib import Path

from consortium_mcp.store.attachments import StoredAttachments
from consortium_mcp.store.change_markers import Markers
from consortium_mcp.store.consortiums import SavedConsortiums
from consortium_mcp.store.database import READ_SECONDS, DatabaseFile
from consortium_mcp.store.journal import Journal
from consortium_mcp.store.leases import Leases
from consortium_mcp.store.progress import RunProgress
from consortium_mcp.store.pruning import Pruning
from consortium_mcp.store.ratings import Ratings
from consortium_mcp.store.run_lists import Outlines
from consortium_mcp.store.runs import Runs


class Store:
    """All our data in one file.

    In an event loop the parts' methods are awaited (`await store.runs.load(run_id)`); elsewhere they are called by
    `sync` (`store.runs.load.sync(run_id)`).
    """

    def __init__(self, path: Path, shared: bool = False, read_seconds: float = READ_SECONDS) -> None:
        """Open the file as `DatabaseFile` does. Raises StoreUnusableError."""
        self.database = database = DatabaseFile(path, shared, read_seconds)
        self.runs = Runs(database)
        self.attachments = StoredAttachments(database)
        self.outlines = Outlines(database)
        self.progress = RunProgress(database)
        self.journal = Journal(database)
        self.leases = Leases(database)
        self.consortiums = SavedConsortiums(database)
        self.ratings = Ratings(database)
        self.markers = Markers(database)
        self.pruning = Pruning(database)

    def close(self) -> None:
        """Finish pending writes and close the file; closing twice is allowed."""
        self.database.close()
