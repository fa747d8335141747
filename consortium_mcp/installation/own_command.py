"""The command that starts our server from another program: through uvx, or this installation's own."""

import importlib.util
import json
import shutil
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit
from urllib.request import url2pathname

from packaging.requirements import InvalidRequirement, Requirement

from consortium_mcp.errors import ConsortiumError
from consortium_mcp.installation.hosts.entries import Launch
from consortium_mcp.models.plugin_packages import PACKAGE, is_temporary, package_command, plugins_here

CommandKind = Literal["uvx", "this"]
"""`uvx` fetches the package at each start; `this` starts the installation that runs now."""


def own_launch(packages: Sequence[str] = (), command: CommandKind | None = None, known: Launch | None = None) -> Launch:
    """The command with which another program starts our server.

    Args:
        packages: llm plugins that the server needs, by their names for pip.
        command: None chooses this installation if it has plugins or does not come from an index, else uvx.
        known: the existing command; its packages are kept.

    Raises:
        ConsortiumError: uvx is not installed, or a package is not in this installation.
    """
    kept = _packages_of(known)
    uvx = shutil.which("uvx")
    if (command or _chosen(uvx, bool(kept))) == "this":
        _require([*packages], command)
        return _this_installation()
    if uvx is None:
        raise ConsortiumError("uvx is not on the PATH. Install uv, or leave out `--command uvx`.")
    here = packages_here() if is_temporary() else []
    return Launch(uvx, tuple(_uvx_arguments([*kept, *here, *packages])))


def packages_here() -> list[str]:
    """The llm plugins of this installation, and the extra `[local]`, as packages for `--with`."""
    local = [f"{PACKAGE}[local]"] if importlib.util.find_spec("xllamacpp") else []
    return [*local, *plugins_here()]


def origin() -> dict[str, Any] | None:
    """The origin of this installation, as recorded by pip and uv (PEP 610); None means a package index.

    A source tree that is not installed is its own origin.
    """
    try:
        text = distribution(PACKAGE).read_text("direct_url.json")
    except PackageNotFoundError:
        return {"url": Path(__file__).parents[2].as_uri()}
    return dict(json.loads(text)) if text else None


def _chosen(uvx: str | None, has_packages: bool) -> CommandKind:
    if uvx is None:
        return "this"
    if is_temporary() or has_packages:
        return "uvx"
    return "this" if plugins_here() or origin() is not None else "uvx"


def _packages_of(known: Launch | None) -> list[str]:
    """The packages after each `--with` of a command."""
    words = list(known.arguments) if known is not None else []
    return [value for option, value in zip(words, words[1:], strict=False) if option == "--with"]


def _uvx_arguments(packages: Sequence[str]) -> list[str]:
    source = _source()
    arguments = ["--from", source] if source != PACKAGE else []
    for package in dict.fromkeys(packages):
        arguments += ["--with", package]
    return [*arguments, PACKAGE]


def _require(packages: Sequence[str], command: CommandKind | None) -> None:
    missing = [package for package in packages if not _is_installed(package)]
    if missing:
        other = "" if command else " Or add `--command uvx`."
        raise ConsortiumError(f"Not in this installation: {', '.join(missing)}. {package_command(missing)}.{other}")


def _is_installed(package: str) -> bool:
    """Whether a package is installed, with the packages of its extras."""
    try:
        wanted = Requirement(package)
        found = distribution(wanted.name)
    except (PackageNotFoundError, InvalidRequirement):
        return False
    needed = [Requirement(line) for line in found.requires or ()]
    return all(
        _is_installed(one.name)
        for extra in wanted.extras
        for one in needed
        if one.marker is not None and one.marker.evaluate({"extra": extra}) and not one.marker.evaluate({"extra": ""})
    )


def _this_installation() -> Launch:
    script = shutil.which(PACKAGE, path=str(Path(sys.executable).parent))
    return Launch(script) if script else Launch(sys.executable, ("-m", "consortium_mcp"))


def _source() -> str:
    """The argument for uvx: the package's name, or the origin of this installation."""
    recorded = origin()
    if recorded is None:
        return PACKAGE
    url, repository = str(recorded.get("url", "")), recorded.get("vcs_info")
    if repository:
        revision = repository.get("requested_revision")
        return f"{repository.get('vcs', 'git')}+{url}" + (f"@{revision}" if revision else "")
    return url2pathname(urlsplit(url).path) if url.startswith("file:") else url
