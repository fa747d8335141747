"""Finds a host's file on this machine."""

import os
import re
import sys
from pathlib import Path

from consortium_mcp.errors import ConsortiumError
from consortium_mcp.installation.hosts.host import Host

_PART = re.compile(r"\{(\w+)(?::([^}]*))?\}")


def host_file(host: Host, project: Path | None = None) -> Path:
    """The file of a host: the user's own, or that of a project's folder; it may be missing.

    Raises:
        ConsortiumError: the host has no file in a project.
    """
    if project is not None:
        if host.project_path is None:
            raise ConsortiumError(f"{host.title} has no file for a project. Leave out --project.")
        return project / host.project_path
    patterns = host.windows_paths if sys.platform == "win32" and host.windows_paths else host.paths
    for pattern in patterns[:-1]:
        place = _place(pattern)
        if place is not None and ("*" in pattern or os.path.exists(place)):
            return place
    return _place(patterns[-1]) or Path(patterns[-1])


def _place(pattern: str) -> Path | None:
    """A path with its folders filled in; None if a `*` matches no folder.

    `~` is the home folder, `{programs}` is the folder for desktop programs' data, and `{NAME:folder}` is the folder of
    the environment variable NAME, or else the folder after the colon.
    """
    path = Path(_PART.sub(_folder, pattern)).expanduser()
    if "*" not in str(path):
        return path
    star = next(number for number, part in enumerate(path.parts) if "*" in part)
    found = sorted(Path(*path.parts[:star]).glob(path.parts[star]))
    return found[0].joinpath(*path.parts[star + 1 :]) if found else None


def _folder(match: re.Match[str]) -> str:
    name, otherwise = match.groups()
    if name != "programs":
        return os.environ.get(name) or str(otherwise)
    if sys.platform == "darwin":
        return "~/Library/Application Support"
    if sys.platform == "win32":
        return os.environ.get("APPDATA") or "~/AppData/Roaming"
    return os.environ.get("XDG_CONFIG_HOME") or "~/.config"
