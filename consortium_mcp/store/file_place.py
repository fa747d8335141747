"""Checks that the database file is still at its path: data written to a deleted file are lost."""

import os
from pathlib import Path

from consortium_mcp.errors import StoreUnusableError


class FilePlace:
    """An open file and its path."""

    def __init__(self, path: Path) -> None:
        """Note which file is at the path. Raises OSError if there is none."""
        self._path = path
        self._file = _identity(path)

    def require(self) -> None:
        """Raise StoreUnusableError if the path now leads to another file, or to none."""
        try:
            is_here = _identity(self._path) == self._file
        except (FileNotFoundError, NotADirectoryError):
            is_here = False
        except OSError:  # an unreadable parent folder says nothing about the file
            return
        if not is_here:
            raise StoreUnusableError(
                f"The database {self._path} was deleted, moved or replaced while it was in use, so nothing is saved. "
                "Put the file back, or restart consortium-mcp."
            )


def _identity(path: Path) -> tuple[int, int]:
    """The device and inode of the file at a path, symbolic links followed."""
    found = os.stat(path)
    return found.st_dev, found.st_ino
