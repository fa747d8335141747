"""Finds each provider's key, plugin, or running server on this machine."""

import os
import socket
from importlib.util import find_spec
from typing import Literal
from urllib.parse import urlsplit

from consortium_mcp._util.frozen_model import FrozenModel
from consortium_mcp.models.llm_files import read_object
from consortium_mcp.models.plugin_packages import plugins_here
from consortium_mcp.models.providers import PROVIDERS, Provider
from consortium_mcp.settings import llm_user_path

OLLAMA_PORT = 11434
"""Ollama's port if OLLAMA_HOST names no other."""

CONNECT_SECONDS = 0.5
"""The seconds in which Ollama must accept a connection."""


class ProviderState(FrozenModel):
    """The state of one provider on this machine."""

    name: str
    """The provider, as `--provider` takes it."""

    key: Literal["stored", "environment"] | None
    """The place of its key; None if it has none, or needs none."""

    runs: bool
    """Whether its server accepts connections on this machine."""

    package: str | None
    """The missing package; None if its models can be reached."""

    @property
    def is_ready(self) -> bool:
        """Whether it can be asked once its package is installed."""
        return self.key is not None or self.runs


def find_providers() -> dict[str, ProviderState]:
    """The state of every provider, by name; nothing is sent to any. Raises ConsortiumError for unreadable keys."""
    stored, here = stored_keys(), plugins_here()
    return {one.name: _state(one, stored, here) for one in PROVIDERS}


def stored_keys() -> dict[str, str]:
    """llm's stored keys by name. Raises ConsortiumError if the file cannot be read."""
    return read_object(llm_user_path() / "keys.json")


def _state(provider: Provider, stored: dict[str, str], here: list[str]) -> ProviderState:
    in_environment = provider.variable is not None and bool(os.environ.get(provider.variable))
    is_here = find_spec("xllamacpp") is not None if provider.is_embedded else provider.package in (None, *here)
    return ProviderState(
        name=provider.name,
        key="stored" if stored.get(provider.name) else "environment" if in_environment else None,
        runs=provider.name == "ollama" and ollama_runs(),
        package=None if is_here else provider.package,
    )


def ollama_runs() -> bool:
    """Whether Ollama accepts a connection."""
    host, port = _ollama_address(os.environ.get("OLLAMA_HOST", ""))
    try:
        socket.create_connection((host, port), CONNECT_SECONDS).close()
    except OSError:
        return False
    return True


def _ollama_address(named: str) -> tuple[str, int]:
    """Host and port of `OLLAMA_HOST`, which contains both, one, or neither, with or without a scheme."""
    try:
        parts = urlsplit(named if "://" in named else f"http://{named}")
        host, port = parts.hostname or "127.0.0.1", parts.port or OLLAMA_PORT
    except ValueError:
        return "127.0.0.1", OLLAMA_PORT
    return ("127.0.0.1" if host == "0.0.0.0" else host), port
