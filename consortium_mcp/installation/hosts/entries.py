"""Converts between a server and an entry in a host's file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import JsonValue

from consortium_mcp.errors import ConsortiumError
from consortium_mcp.installation.hosts.host import Host

Entry = dict[str, JsonValue]


@dataclass(frozen=True)
class Launch:
    """A server that the host starts."""

    command: str
    """The program, as an absolute path: desktop programs do not inherit the shell's PATH."""

    arguments: tuple[str, ...] = ()
    """Its arguments."""

    variables: Mapping[str, str] = field(default_factory=dict)
    """The environment variables that the host sets for the server."""

    @property
    def words(self) -> list[str]:
        """The whole command."""
        return [self.command, *self.arguments]


@dataclass(frozen=True)
class Address:
    """A server that is already running elsewhere."""

    url: str
    """The URL of the server."""

    token_variable: str | None = None
    """The environment variable that holds the token; None means without a token."""

    token: str | None = None
    """The token itself, for a host that reads no variables; None otherwise."""


def local_entry(host: Host, name: str, launch: Launch) -> Entry:
    """The entry with which a host starts a server."""
    form = host.local
    entry = _filled(form.more, name, None)
    if form.arguments is None:
        entry[form.command] = list(launch.words)
    else:
        entry |= {form.command: launch.command, form.arguments: list(launch.arguments)}
    return entry | ({form.variables: dict(launch.variables)} if launch.variables else {})


def remote_entry(host: Host, name: str, address: Address) -> Entry:
    """The entry with which a host connects to a server by its URL.

    Raises:
        ConsortiumError: the host supports no such entry.
    """
    form = host.remote
    if form is None:
        raise ConsortiumError(f"{host.title} has no entry with a URL in its file. {host.remote_hint}.")
    entry = _filled(form.more, name, address.token_variable) | {form.url: address.url}
    if address.token_variable is None:
        return entry
    if form.token_variable is not None:
        return entry | {form.token_variable: address.token_variable}
    token = address.token if form.variable is None else form.variable.replace("NAME", address.token_variable)
    return entry | {form.headers: {"Authorization": f"Bearer {token}"}}


def reads_variables(host: Host) -> bool:
    """Whether the host reads the token's variable itself."""
    return host.remote is not None and (host.remote.variable or host.remote.token_variable) is not None


def launch_in(host: Host, entry: Mapping[str, Any]) -> Launch | None:
    """The command that the host starts for an entry; None for an entry without a command, as one with a URL."""
    form = host.local
    command = entry.get(form.command)
    if form.arguments is None and isinstance(command, list) and command:
        words = [str(word) for word in command]
    elif form.arguments is not None and isinstance(command, str):
        arguments = entry.get(form.arguments)
        words = [command, *(str(word) for word in (arguments if isinstance(arguments, list) else []))]
    else:
        return None
    variables = entry.get(form.variables)
    pairs = variables.items() if isinstance(variables, Mapping) else ()
    return Launch(words[0], tuple(words[1:]), {str(name): str(value) for name, value in pairs})


def _filled(more: Mapping[str, JsonValue], name: str, variable: str | None) -> Entry:
    return {key: _value(value, name, variable) for key, value in more.items()}


def _value(value: JsonValue, name: str, variable: str | None) -> JsonValue:
    if isinstance(value, list):
        return [variable if one == "{variable}" else one for one in value if one != "{variable}" or variable]
    return name if value == "{name}" else value
