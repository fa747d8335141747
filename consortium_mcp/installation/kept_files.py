"""Replaces a file atomically, with a copy of the old one beside it; others can read neither."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path

_BOM = "\ufeff"


def read_text(path: Path) -> str:
    """The content of a file, with its line ends and byte order mark; empty if there is no file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not UTF-8.
    """
    return path.read_bytes().decode() if path.exists() else ""


def without_mark(text: str) -> str:
    """The text without a byte order mark."""
    return text.removeprefix(_BOM)


def with_mark_of(text: str, other: str) -> str:
    """The text with a byte order mark if the other one has it."""
    return _BOM + text if other.startswith(_BOM) else text


def back_up(path: Path) -> Path | None:
    """Copy a file beside itself, readable by its owner only; None if there is no file."""
    if not path.exists():
        return None
    backup = path.with_name(f"{path.name}.{datetime.now():%Y%m%d-%H%M%S-%f}.bak")
    with open(os.open(backup, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(path.read_bytes())
    return backup


def readable_backups(path: Path) -> Iterator[tuple[Path, str]]:
    """The copies of a file and their texts, newest first."""
    for backup in sorted(path.parent.glob(f"{path.name}.*.bak"), reverse=True):
        with suppress(OSError, ValueError):
            yield backup, read_text(backup)


def restrict(path: Path) -> None:
    """Make a file readable by its owner only, if it is ours; clients that rewrite it may have made it readable."""
    with suppress(OSError):
        path.chmod(0o600)


def replace(path: Path, text: str, is_private: bool) -> None:
    """Write a file atomically.

    Args:
        is_private: whether it contains a key, and must be readable by its owner only; else it keeps its mode. A new
            file is always private.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent)
    try:
        with open(handle, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(handle)
        if path.exists() and not is_private:
            os.chmod(name, path.stat().st_mode & 0o7777)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
