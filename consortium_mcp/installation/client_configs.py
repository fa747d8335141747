"""Adds our entry to a host's configuration file, finds it, and removes it."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from consortium_mcp._util.frozen_model import FrozenModel
from consortium_mcp.errors import ConsortiumError
from consortium_mcp.installation.files.formats import Format, file_format
from consortium_mcp.installation.hosts.entries import (
    Address,
    Entry,
    Launch,
    launch_in,
    local_entry,
    reads_variables,
    remote_entry,
)
from consortium_mcp.installation.hosts.host import Host
from consortium_mcp.installation.hosts.places import host_file
from consortium_mcp.installation.kept_files import (
    back_up,
    read_text,
    readable_backups,
    replace,
    restrict,
    with_mark_of,
    without_mark,
)
from consortium_mcp.installation.own_command import CommandKind, own_launch

SERVER_NAME = "consortium"
"""The server's name in clients' files, unless the user chose another."""


@dataclass(frozen=True)
class Wanted:
    """The server that a host should know."""

    variables: Mapping[str, str] = field(default_factory=dict)
    """The environment variables that the host sets for the server."""

    packages: tuple[str, ...] = ()
    """The llm plugins that the server needs, by their package names."""

    command: CommandKind | None = None
    """The command that starts the server; None chooses one."""

    url: str | None = None
    """The URL of a running server; None means that the host starts one."""

    token_variable: str | None = None
    """The variable that contains the token for `url`; None means that no token is needed."""


class Installed(FrozenModel):
    """The result of an installation."""

    path: Path
    """The host's file."""

    backup: Path | None
    """The copy of the old file; None if there was no file, or no change."""

    changed: bool
    """Whether the file was changed."""

    is_private: bool
    """Whether the entry holds a key or another variable, so that only the owner can read the file."""

    entry: dict[str, JsonValue]
    """Our entry as it stands in the file."""


class Uninstalled(FrozenModel):
    """The result of an uninstallation."""

    path: Path
    """The host's file."""

    changed: bool
    """Whether our entry was in the file."""

    restored: bool
    """Whether the file is byte for byte the same as before our entry."""


def wanted_entry(host: Host, name: str, wanted: Wanted, known: Mapping[str, Any] | None = None) -> Entry:
    """The entry for a server.

    Args:
        known: the existing entry with that name; the packages in its command are kept.

    Raises:
        ConsortiumError: the host supports no such entry, the command is not available, or the token is missing.
    """
    if wanted.url is not None:
        return remote_entry(host, name, Address(wanted.url, wanted.token_variable, _token(host, wanted)))
    start = own_launch(wanted.packages, wanted.command, launch_in(host, known or {}))
    return local_entry(host, name, Launch(start.command, start.arguments, wanted.variables))


def entry_text(host: Host, name: str, entry: Entry) -> str:
    """An entry as text that can be pasted into the host's file."""
    return file_format(host.file).dump(_nested([*host.table, name], entry))


def install(host: Host, name: str, wanted: Wanted, project: Path | None = None) -> Installed:
    """Add the entry to the host's file, which otherwise stays unchanged; a copy of the old file is stored beside it.

    An existing entry with that name keeps the fields that ours does not set, and its other environment variables.

    Raises:
        ConsortiumError: the file cannot be parsed, or cannot be written; it stays unchanged.
    """
    path = host_file(host, project).resolve()  # a link to a file elsewhere stays a link
    form, keys = file_format(host.file), [*host.table, name]
    text, known = _read(host, path, form, name, wanted)
    merged = _merged(host, known, wanted_entry(host, name, wanted, known))
    is_private = _holds_secrets(host, merged)
    if known == merged:
        if is_private:
            restrict(path)
        return Installed(path=path, backup=None, changed=False, is_private=is_private, entry=merged)
    try:
        changed = form.put(without_mark(text), keys, merged)
        _check(form, text, changed, keys, merged)
    except ValueError as error:
        raise _refused(host, path, form, error, entry_text(host, name, merged)) from error
    try:
        _expect(path, text)
        backup = back_up(path)
        replace(path, with_mark_of(changed, text), is_private)
    except OSError as error:
        raise ConsortiumError(f"{path} cannot be written: {error.strerror or error}; it stays as it is.") from error
    return Installed(path=path, backup=backup, changed=True, is_private=is_private, entry=merged)


def uninstall_entry(host: Host, name: str, project: Path | None = None) -> Uninstalled:
    """Remove the entry from the host's file; without other changes since, the original file is restored.

    Raises:
        ConsortiumError: the file cannot be read or written, or the entry starts another program; it stays unchanged.
    """
    path = host_file(host, project).resolve()
    form, keys = file_format(host.file), [*host.table, name]
    text, known = _read(host, path, form, name)
    if known is None:
        return Uninstalled(path=path, changed=False, restored=False)
    launch = launch_in(host, known)
    if launch is not None and not is_ours(launch):
        raise ConsortiumError(
            f"{name!r} in {path} starts {launch.command}, not consortium-mcp, so the entry was not changed."
        )
    try:
        before, used = _before(path, form, keys, known, text)
        _expect(path, text)
        if before is None:
            removed = form.remove(without_mark(text), keys)
            _check(form, text, removed, keys, None)
            replace(path, with_mark_of(removed, text), is_private=False)
        elif before == "" and used is None:
            path.unlink()
        else:
            replace(path, before, is_private=False)
        for backup, copy in readable_backups(path):
            if backup == used or _at(_parsed(copy, form), keys) is not None:
                backup.unlink()
    except ValueError as error:
        raise _refused(host, path, form, error) from error
    except OSError as error:
        raise ConsortiumError(f"{path} cannot be written: {error.strerror or error}; it stays as it is.") from error
    return Uninstalled(path=path, changed=True, restored=before is not None)


def installed_launches(host: Host, project: Path | None = None) -> dict[str, Launch] | None:
    """Our servers in the host's file, by name; None if there is no such file.

    Raises:
        ConsortiumError: it cannot be read.
    """
    servers = _servers(host, project)
    if servers is None:
        return None
    found = {name: launch_in(host, entry) for name, entry in servers.items()}
    return {name: launch for name, launch in found.items() if launch is not None and is_ours(launch)}


def installed_url(host: Host, name: str = SERVER_NAME) -> str | None:
    """The URL of the entry with this name in the host's file; None if it has no such entry.

    Raises:
        ConsortiumError: it cannot be read.
    """
    entry = (_servers(host, None) or {}).get(name, {})
    url = entry.get(host.remote.url) if host.remote is not None else None
    return url if isinstance(url, str) else None


def _servers(host: Host, project: Path | None) -> dict[str, Mapping[str, Any]] | None:
    """The entries in the host's file, by name; None if there is no such file."""
    path = host_file(host, project)
    if not os.path.exists(path):
        return None
    try:
        servers = _at(file_format(host.file).read(without_mark(read_text(path))), host.table)
    except (OSError, ValueError) as error:
        raise ConsortiumError(f"{path} cannot be read ({error}).") from error
    return {name: entry for name, entry in _table(servers).items() if isinstance(entry, Mapping)}


def is_ours(launch: Launch) -> bool:
    """Whether a command starts our server."""
    return any("consortium-mcp" in word or "consortium_mcp" in word for word in launch.words)


def _read(
    host: Host, path: Path, form: Format, name: str, wanted: Wanted | None = None
) -> tuple[str, dict[str, Any] | None]:
    """The file's text, and the entry with that name; None if there is none."""
    try:
        text = read_text(path)
        known = _at(form.read(without_mark(text)), [*host.table, name])
    except ValueError as error:
        pasted = entry_text(host, name, wanted_entry(host, name, wanted)) if wanted is not None else ""
        raise _refused(host, path, form, error, pasted) from error
    except OSError as error:
        raise ConsortiumError(f"{path} cannot be read: {error.strerror or error}.") from error
    return text, known if isinstance(known, dict) else None


def _refused(host: Host, path: Path, form: Format, error: ValueError, pasted: str = "") -> ConsortiumError:
    ending = f" Put this into it yourself:\n{pasted}" if pasted else ""
    return ConsortiumError(f"{path} cannot be read as {form.title} ({error}); it stays as it is.{ending}")


def _before(path: Path, form: Format, keys: list[str], known: Entry, text: str) -> tuple[str | None, Path | None]:
    """The file before our entry was added, and its backup copy; None if that is unknown.

    A copy is the earlier file if adding our entry to it gives the current file. An empty text without a copy means that
    there was no file.
    """
    for backup, copy in readable_backups(path):
        if _at(_parsed(copy, form), keys) is None and _becomes(copy, form, keys, known, text):
            return copy, backup
    return ("", None) if _becomes("", form, keys, known, text) else (None, None)


def _becomes(before: str, form: Format, keys: list[str], known: Entry, text: str) -> bool:
    try:
        return with_mark_of(form.put(without_mark(before), keys, known), before) == text
    except ValueError:
        return False


def _parsed(text: str, form: Format) -> dict[str, Any]:
    """The content of a copy; empty if it cannot be parsed."""
    try:
        return form.read(without_mark(text))
    except ValueError:
        return {}


def _merged(host: Host, known: Mapping[str, Any] | None, entry: Entry) -> Entry:
    """The entry with the other fields of the existing one; an entry of another kind is replaced."""
    kinds = [host.local.command, *([host.remote.url] if host.remote is not None else [])]
    if known is None or not any(kind in known and kind in entry for kind in kinds):
        return entry
    plain: Entry = json.loads(json.dumps(known))
    for table in (host.local.variables, *([host.remote.headers] if host.remote is not None else [])):
        both = {**_table(plain.get(table)), **_table(entry.get(table))}
        entry = entry | ({table: both} if both else {})
    return plain | entry


def _holds_secrets(host: Host, entry: Mapping[str, Any]) -> bool:
    header = str(_table(entry.get(host.remote.headers)).get("Authorization", "")) if host.remote is not None else ""
    return bool(entry.get(host.local.variables)) or (bool(header) and not reads_variables(host))


def _token(host: Host, wanted: Wanted) -> str | None:
    """The token itself, for a host that does not read it from a variable."""
    if wanted.token_variable is None or host.remote is None or reads_variables(host):
        return None
    token = os.environ.get(wanted.token_variable)
    if not token:
        raise ConsortiumError(
            f"{host.title} reads no variables. Set {wanted.token_variable} here; its value goes into the file."
        )
    return token


def _check(form: Format, before: str, after: str, keys: list[str], entry: Entry | None) -> None:
    """Refuse a text whose content differs from the old one in more than our entry."""
    old, new = form.read(without_mark(before)), form.read(after)
    if _at(new, keys) != entry or _without(old, keys) != _without(new, keys):
        raise ValueError("it cannot be changed without changing the rest")


def _without(file: Mapping[str, Any], keys: list[str]) -> dict[str, Any]:
    """The content without the value at a path of keys, and without tables that become empty."""
    key, rest = keys[0], keys[1:]
    others = {name: value for name, value in file.items() if name != key}
    inner = _without(_table(file.get(key)), rest) if rest else {}
    return others | ({key: inner} if inner else {})


def _nested(keys: list[str], value: Any) -> dict[str, Any]:
    for key in reversed(keys):
        value = {key: value}
    return dict(value)


def _expect(path: Path, text: str) -> None:
    """Refuse a file that another program has changed since it was read, as Claude Code often does with its own."""
    if read_text(path) != text:
        raise ConsortiumError(f"Another program has changed {path} meanwhile. Run the command again.")


def _at(file: Mapping[str, Any], keys: tuple[str, ...] | list[str]) -> Any:
    """The value at a path of keys; None if there is none."""
    value: Any = file
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _table(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}
