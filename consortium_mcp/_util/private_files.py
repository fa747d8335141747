"""Files that their owner alone can read, from the moment in which they are made."""

import os
from contextlib import suppress
from pathlib import Path


def create_private(path: Path) -> None:
    """Make an empty file that only its owner can read; one that is there stays as it is."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
