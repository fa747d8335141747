"""The command that adds an llm plugin to this installation, by its kind; nothing is installed here."""

import re
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

from packaging.utils import canonicalize_name

from consortium_mcp.models.providers import provider_of_model

PACKAGE = "consortium-mcp"

IMAGE_PREFIX = "/opt/consortium"
"""The folder where the Dockerfile installs the package."""

_UV_CACHE = re.compile(r"(archive|builds|environments)-v\d+")
"""A folder in uv's cache, where uvx makes an environment for one start."""


@dataclass(frozen=True)
class PackageCommand:
    """The command that adds packages to an installation."""

    words: tuple[str, ...]
    """The command that contains the packages."""

    effect: str
    """The effect of the command, in a few words."""

    changes_this: bool
    """Whether the command changes this installation; otherwise only what it starts or builds has the packages."""

    def __str__(self) -> str:
        """The command and its effect."""
        return f"`{shlex.join(self.words)}` {self.effect}"


def package_command(packages: Sequence[str], prefix: str | None = None) -> PackageCommand:
    """The command that adds these packages to this installation.

    Args:
        packages: their names for pip.
        prefix: the installation's folder; None means that of this process.
    """
    prefix = prefix or sys.prefix
    folder = Path(prefix)
    with_options = [word for package in [*plugins_here(), *packages] for word in ("--with", package)]
    if prefix == IMAGE_PREFIX:
        words = ("docker", "build", "--build-arg", f"PLUGINS={' '.join(packages)}", ".")
        return PackageCommand(words, "builds the image with it", False)
    if is_temporary(prefix):
        return PackageCommand(("uvx", *with_options, PACKAGE), "starts the server with it", False)
    if _is_in(folder, shutil.which("llm")):
        return PackageCommand(("llm", "install", *packages), "installs it", True)
    if (folder / "uv-receipt.toml").exists():
        return PackageCommand(("uv", "tool", "install", folder.name, *with_options), "installs it", True)
    if (folder / "pipx_metadata.json").exists():
        return PackageCommand(("pipx", "inject", folder.name, *packages), "installs it", True)
    return PackageCommand((sys.executable, "-m", "pip", "install", *packages), "installs it", True)


def plugin_sentence(model: str) -> str:
    """The llm plugin that may offer an unknown model, in one sentence; empty if its plugin is installed."""
    provider = provider_of_model(model)
    if provider is None:
        return f" Another llm plugin may have it: {package_command(['PLUGIN'])}."
    if provider.package is None or provider.package in plugins_here():
        return ""
    return f" The plugin {provider.package} has such models: {package_command([provider.package])}."


def plugins_here() -> list[str]:
    """The packages of this installation with llm plugins, without llm and this package."""
    names = {canonicalize_name(one.dist.name) for one in entry_points(group="llm") if one.dist is not None}
    return sorted(names - {PACKAGE, "llm"})


def is_temporary(prefix: str | None = None) -> bool:
    """Whether uvx made an installation for one start; None means that of this process."""
    return any(_UV_CACHE.fullmatch(part) for part in Path(prefix or sys.prefix).parts)


def _is_in(folder: Path, program: str | None) -> bool:
    """Whether a program, or the target of its link, belongs to an installation."""
    if program is None:
        return False
    places = {Path(program).parent.parent, Path(program).resolve().parent.parent}
    return folder in places or folder.resolve() in places
