"""Files of this machine: read only below the allowed roots, only if regular, and only if small enough."""

import os
import stat
from fnmatch import fnmatchcase
from pathlib import Path

from consortium_mcp.errors import InvalidConsortiumError
from consortium_mcp.service.attachments.access import FileAccess

_SECRETS = (
    *(".env", ".env.*", "*.env", ".netrc", "_netrc", ".pgpass", ".npmrc", ".pypirc", ".htpasswd", "keys.json"),
    *("id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", "*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.keystore"),
    *(
        "*.kdbx",
        "*.ppk",
        "*.asc",
        "*.gpg",
        "credentials",
        "credentials.*",
        "secrets.*",
        "*.tfstate",
        ".git-credentials",
    ),
)
"""Names of files that usually hold passwords or keys."""

_SECRET_FOLDERS = (".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker", ".gcloud")
"""Names of folders that usually hold passwords or keys."""


def read_path(written: str, access: FileAccess, left: int) -> tuple[bytes, str]:
    """The content and the name of a file.

    Args:
        written: the path as the caller gave it.
        left: how many bytes may still be read.

    Raises:
        InvalidConsortiumError: the file is not allowed, not there, not regular, or too large; nothing was read of it.
    """
    if access.roots == ():
        raise InvalidConsortiumError(f"The attachment {written[:200]!r} is a path. {access.why_no_path}")
    path = _resolved(written, access)
    try:
        before = os.stat(path)
    except OSError as error:
        raise _unreadable(written, error) from error
    if not stat.S_ISREG(before.st_mode):  # before it is opened: opening a device or a FIFO can have an effect
        raise InvalidConsortiumError(
            f"The attachment {written[:200]!r} is {_kind(before.st_mode)}. Give the path of a regular file."
        )
    try:
        opened = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0) | _BINARY)
    except OSError as error:
        raise _unreadable(written, error) from error
    with os.fdopen(opened, "rb") as file:
        now = os.fstat(file.fileno())
        if not os.path.samestat(before, now) or Path(os.path.realpath(path)) != path:
            raise InvalidConsortiumError(f"The attachment {written[:200]!r} changed while it was opened. Try again.")
        if now.st_size > left:
            raise too_large(path.name, access)
        content = file.read(left + 1)
    if len(content) > left:
        raise too_large(path.name, access)
    return content, path.name


_BINARY = getattr(os, "O_BINARY", 0)


def too_large(name: str, access: FileAccess) -> InvalidConsortiumError:
    """The error for an attachment above the limit."""
    return InvalidConsortiumError(
        f"The attachment {name[:200]!r} exceeds the limit of {access.most_bytes:,} bytes for all attachments of a "
        "question (CONSORTIUM_MAX_ATTACHMENT_BYTES). Give a smaller one."
    )


def _resolved(written: str, access: FileAccess) -> Path:
    """The file behind every symbolic link, if it may be read."""
    try:
        path = Path(written).expanduser()
        if access.roots is not None and not path.is_absolute():
            path = _below_a_root(path, access.roots)
        real = path.resolve(strict=True)
    except (OSError, ValueError, RuntimeError) as error:
        if access.roots is not None:  # the same message for a missing file and a forbidden one
            raise _outside(written, access.roots) from error
        raise _unreadable(written, error) from error
    if access.roots is None:
        return real
    if not any(real == root or root in real.parents for root in access.roots):
        raise _outside(written, access.roots)
    if real not in access.roots and _is_secret(real):
        raise InvalidConsortiumError(
            f"The attachment {written[:200]!r} looks like a file of passwords or keys. "
            "The user can allow it by its full path in CONSORTIUM_ROOTS."
        )
    return real


def _below_a_root(path: Path, roots: tuple[Path, ...]) -> Path:
    """A relative path below the first root that has it."""
    return next((root / path for root in roots if (root / path).exists()), roots[0] / path)


def _outside(written: str, roots: tuple[Path, ...]) -> InvalidConsortiumError:
    shown = ", ".join(map(str, roots[:3])) + (", …" if len(roots) > 3 else "")
    return InvalidConsortiumError(
        f"The attachment {written[:200]!r} is no file below the allowed folders ({shown}). "
        "Name a file there, or ask the user to allow its folder with CONSORTIUM_ROOTS."
    )


def _is_secret(path: Path) -> bool:
    name = path.name.lower()
    return any(fnmatchcase(name, pattern) for pattern in _SECRETS) or any(
        part.lower() in _SECRET_FOLDERS for part in path.parts[:-1]
    )


def _unreadable(written: str, error: Exception) -> InvalidConsortiumError:
    why = getattr(error, "strerror", None) or str(error)
    return InvalidConsortiumError(f"The attachment {written[:200]!r} cannot be read: {why}.")


def _kind(mode: int) -> str:
    kinds = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a FIFO"), (stat.S_ISSOCK, "a socket"))
    return next((kind for is_kind, kind in kinds if is_kind(mode)), "a device")
