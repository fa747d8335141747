"""Whether the database file still is where it was opened: what is written to a file without a name is lost."""

import os
from pathlib import Path

from consortium_mcp.errors import StoreUnusableError


class FilePlace:
    """An open file and its path."""

    def __init__(self, path: Path) -> None:
        """Note which file is there. Raises OSError where there is none."""
        self._path = path
        self._file = _identity(path)

    def require(self) -> None:
        """Raise StoreUnusableError where the path names another file by now, or none."""
        try:
            is_here = _identity(self._path) == self._file
        except (FileNotFoundError, NotADirectoryError):
            is_here = False
        except OSError:  # a folder on the way that we may not read says nothing of the file
            return
        if not is_here:
            raise StoreUnusableError(
                f"The database {self._path} was deleted, moved or replaced while it was in use, so nothing is saved. "
                "Put the file back, or restart consortium-mcp."
            )


def _identity(path: Path) -> tuple[int, int]:
    """Which file a path leads to, symbolic links followed."""
    found = os.stat(path)
    return found.st_dev, found.st_ino
