"""A folder that the test's process can read and not write, even when root runs the tests."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534


@contextmanager
def shared_folder() -> Iterator[Path]:
    """A folder outside of pytest's own, which other users may not enter."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Remove the write permission there; root is not bound by permissions, so it becomes another user meanwhile."""
    was_root = os.geteuid() == 0
    folder.chmod(0o555)
    if was_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if was_root:
            os.seteuid(0)
        folder.chmod(0o755)
