"""What a caller may attach: the allowed files and URLs, and their size."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from consortium_mcp.settings import Settings

NO_ROOTS = (
    "No folder is allowed here. The user can allow folders with CONSORTIUM_ROOTS, "
    "or give the file as a data: URI or https URL."
)
"""Why a caller on stdio may give no path, and what to do."""

NO_PATHS = "Over the network no path is read. Give the file as a data: URI or https URL."
"""Why a caller over HTTP may give no path, and what to do."""


@dataclass(frozen=True)
class FileAccess:
    """The right to attach."""

    roots: tuple[Path, ...] | None
    """Folders and files that may be read; None means every file that this process may read."""

    urls: Literal["public", "any", "none"]
    """Which URLs are fetched: at public addresses, at any address, or none."""

    most_bytes: int
    """The largest size of all files of a question together."""

    why_no_path: str = NO_ROOTS
    """The message for a caller without any root."""


def access_of_user(settings: Settings) -> FileAccess:
    """The access of a person who types commands, or of a program that calls our functions."""
    urls: Literal["any", "none"] = "none" if settings.attachment_urls == "none" else "any"
    return FileAccess(None, urls, settings.max_attachment_bytes)


def access_on_stdio(settings: Settings, client_roots: Iterable[Path] | None) -> FileAccess:
    """The access of an MCP client on stdio.

    Args:
        client_roots: the folders that the client names; None if it names none, and then the settings hold.
    """
    roots = settings.roots if client_roots is None else client_roots
    resolved = tuple(root.expanduser().resolve() for root in roots)
    return FileAccess(resolved, settings.attachment_urls, settings.max_attachment_bytes)


def access_over_network(settings: Settings) -> FileAccess:
    """The access of an MCP client over HTTP: no path at all."""
    return FileAccess((), settings.attachment_urls, settings.max_attachment_bytes, NO_PATHS)
