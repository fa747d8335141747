"""The configuration files of MCP clients: where each is on this machine, and how our entry gets into it."""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import tomlkit
from pydantic import JsonValue
from tomlkit.exceptions import TOMLKitError

from consortium_mcp._util.frozen_model import FrozenModel
from consortium_mcp.errors import ConsortiumError

Entry = dict[str, JsonValue]

_UVX_ARGUMENTS: list[JsonValue] = ["--from", "consortium-mcp[local]", "consortium-mcp"]


@dataclass(frozen=True)
class ClientFile:
    """Where one client keeps its servers."""

    name: str
    """What `install` calls the client."""

    title: str
    """Its name for people."""

    path: Callable[[], Path]
    """The user's own file; it need not be there."""

    table: str
    """The name of the table that holds the servers."""

    more: Mapping[str, JsonValue]
    """What this client's entries say beside the command: its kind, or how long a call may take."""

    next_step: str
    """What the user has to do for the client to see it."""

    @property
    def is_toml(self) -> bool:
        """Whether the file is TOML, and not JSON."""
        return self.path().suffix == ".toml"


class Installed(FrozenModel):
    """What installing did."""

    path: Path
    """The client's file."""

    backup: Path | None
    """The file as it was before; None where there was none, or nothing had to be changed."""

    changed: bool
    """Whether it had to be changed."""

    entry: dict[str, JsonValue]
    """Our entry as it stands in the file."""


def client_files() -> dict[str, ClientFile]:
    """The clients that we know, by their names."""
    clients = (
        ClientFile(
            name="claude-desktop",
            title="Claude Desktop",
            path=lambda: _programs_folder() / "Claude" / "claude_desktop_config.json",
            table="mcpServers",
            more={},
            next_step="Quit Claude Desktop and start it again.",
        ),
        ClientFile(
            name="claude-code",
            title="Claude Code",
            path=lambda: _folder("CLAUDE_CONFIG_DIR", Path.home()) / ".claude.json",
            table="mcpServers",
            more={"type": "stdio", "timeout": 900_000},  # milliseconds that a call may take
            next_step="Start a new session of Claude Code; `/mcp` shows it.",
        ),
        ClientFile(
            name="vscode",
            title="VS Code",
            path=lambda: _programs_folder() / "Code" / "User" / "mcp.json",
            table="servers",
            more={"type": "stdio"},
            next_step="Run `MCP: List Servers` in VS Code, choose it and start it.",
        ),
        ClientFile(
            name="cursor",
            title="Cursor",
            path=lambda: Path.home() / ".cursor" / "mcp.json",
            table="mcpServers",
            more={},
            next_step="Open Cursor's settings, MCP, and switch it on.",
        ),
        ClientFile(
            name="codex",
            title="Codex",
            path=lambda: _folder("CODEX_HOME", Path.home() / ".codex") / "config.toml",
            table="mcp_servers",
            more={"startup_timeout_sec": 60, "tool_timeout_sec": 900},
            next_step="Start a new session of Codex; `/mcp` shows it.",
        ),
    )
    return {client.name: client for client in clients}


def own_entry(client: ClientFile, env: Mapping[str, str] | None = None) -> Entry:
    """The entry that starts our server: through uvx where that is installed, else out of this installation.

    Desktop programs do not see the shell's PATH, so the command is an absolute path.
    """
    uvx = shutil.which("uvx")
    entry: Entry = {"command": uvx, "args": list(_UVX_ARGUMENTS)} if uvx else _this_installation()
    entry |= client.more
    return entry | ({"env": dict(env)} if env else {})


def entry_text(client: ClientFile, name: str, entry: Entry) -> str:
    """An entry as it is pasted into the client's file."""
    servers: dict[str, Any] = {client.table: {name: entry}}
    return _text(client, servers)


def install(client: ClientFile, name: str, entry: Entry) -> Installed:
    """Put the entry into the client's file and keep all else that is in it; of the file before, a copy stays beside it.

    An entry of that name keeps what ours does not say, and its environment variables but those that we set.

    Raises:
        ConsortiumError: the file cannot be read as what it should be, or cannot be written; it stays as it is.
    """
    path = client.path().resolve()  # a link to somewhere else stays one
    try:
        file = _parsed(client, path.read_text(encoding="utf-8-sig") if path.exists() else "")
        servers = file.setdefault(client.table, {})
        if not isinstance(servers, MutableMapping):
            raise ValueError(f"{client.table!r} in it is not a table")
        merged = _merged(servers.get(name), entry)
    except (ValueError, TypeError, TOMLKitError) as error:
        raise ConsortiumError(
            f"{path} cannot be read as {'TOML' if client.is_toml else 'JSON without comments'} ({error}); it stays as "
            f"it is. Put this into it yourself:\n{entry_text(client, name, entry)}"
        ) from error
    except OSError as error:
        raise ConsortiumError(f"{path} cannot be read: {error.strerror or error}.") from error
    if servers.get(name) == merged:
        return Installed(path=path, backup=None, changed=False, entry=merged)
    _put(servers, name, merged)
    try:
        backup = _backup(path)
        _replace(path, _text(client, file))
    except OSError as error:
        raise ConsortiumError(f"{path} cannot be written: {error.strerror or error}; it stays as it is.") from error
    return Installed(path=path, backup=backup, changed=True, entry=merged)


def installed_entries(client: ClientFile) -> dict[str, Entry] | None:
    """The entries of the client's file that start our server, by name; None where there is no such file.

    Raises:
        ConsortiumError: it cannot be read.
    """
    path = client.path()
    if not path.exists():
        return None
    try:
        servers = _parsed(client, path.read_text(encoding="utf-8-sig")).get(client.table) or {}
        entries = {name: dict(entry) for name, entry in servers.items() if isinstance(entry, Mapping)}
    except (OSError, ValueError, TOMLKitError, AttributeError) as error:
        raise ConsortiumError(f"{path} cannot be read ({error}).") from error
    return {name: entry for name, entry in entries.items() if _is_ours(entry)}


def _is_ours(entry: Mapping[str, Any]) -> bool:
    arguments = entry.get("args")
    words = [entry.get("command"), *(arguments if isinstance(arguments, list) else [])]
    return any("consortium-mcp" in str(word) or "consortium_mcp" in str(word) for word in words)


def _this_installation() -> Entry:
    script = shutil.which("consortium-mcp", path=str(Path(sys.executable).parent))
    return {"command": script, "args": []} if script else {"command": sys.executable, "args": ["-m", "consortium_mcp"]}


def _parsed(client: ClientFile, text: str) -> MutableMapping[str, Any]:
    if client.is_toml:
        return tomlkit.parse(text)
    file = json.loads(text) if text.strip() else {}
    if not isinstance(file, dict):
        raise ValueError("it is no object")
    return file


def _text(client: ClientFile, file: Mapping[str, Any]) -> str:
    return tomlkit.dumps(file) if client.is_toml else json.dumps(file, indent=2, ensure_ascii=False) + "\n"


def _merged(known: object, entry: Entry) -> Entry:
    """The entry, and what one of that name says beside it; another kind of server is replaced."""
    if not isinstance(known, Mapping) or "command" not in known:
        return entry
    plain: Entry = json.loads(json.dumps(known))  # without tomlkit's own types
    env = {**_table(plain.get("env")), **_table(entry.get("env"))}
    return plain | entry | ({"env": env} if env else {})


def _put(servers: MutableMapping[str, Any], name: str, entry: Entry) -> None:
    """Change only what differs, so that comments in TOML stay."""
    known = servers.get(name)
    if not isinstance(known, MutableMapping) or set(known) - set(entry):
        servers[name] = entry
        return
    for field in [field for field, value in entry.items() if known.get(field) != value]:
        known[field] = entry[field]


def _table(value: JsonValue) -> dict[str, JsonValue]:
    return value if isinstance(value, dict) else {}


def _backup(path: Path) -> Path | None:
    if not path.exists():
        return None
    backup = path.with_name(f"{path.name}.{datetime.now():%Y%m%d-%H%M%S-%f}.bak")
    shutil.copy2(path, backup)
    return backup


def _replace(path: Path, text: str) -> None:
    """Write the file in one step, with the rights that it had; a new one is its owner's only, for it may hold keys."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent)
    try:
        with open(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(handle)
        if path.exists():
            shutil.copymode(path, name)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def _programs_folder() -> Path:
    """Where programs with windows keep a user's files on this platform."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    if sys.platform == "win32":
        return _folder("APPDATA", Path.home() / "AppData" / "Roaming")
    return _folder("XDG_CONFIG_HOME", Path.home() / ".config")


def _folder(variable: str, otherwise: Path) -> Path:
    return Path(os.environ.get(variable) or otherwise).expanduser()
