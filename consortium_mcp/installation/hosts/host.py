"""A host: the fields of a row in the table of hosts."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

from consortium_mcp.installation.files.formats import FormatName


@dataclass(frozen=True)
class LocalForm:
    """The form of an entry for a server that the host starts."""

    command: str = "command"
    """The field with the program."""

    arguments: str | None = "args"
    """The field with the arguments; None means that program and arguments are one list."""

    variables: str = "env"
    """The field with the environment variables."""

    more: Mapping[str, JsonValue] = field(default_factory=dict)
    """The other fields of the entry; `{name}` stands for the server's name."""


@dataclass(frozen=True)
class RemoteForm:
    """The form of an entry for a server with a URL."""

    url: str = "url"
    """The field with the URL."""

    headers: str = "headers"
    """The field with the HTTP headers."""

    variable: str | None = None
    """The form of a variable in a header, with NAME for its name; None if the host reads none there."""

    token_variable: str | None = None
    """The field for the variable with the token, if the host has one; then no header is written."""

    more: Mapping[str, JsonValue] = field(default_factory=dict)
    """The other fields of the entry; `{name}` is the server's name, `{variable}` the variable with the token."""


@dataclass(frozen=True)
class Host:
    """The files of one host, the form of its entries, and its abilities."""

    name: str
    """The host's name for `install`."""

    title: str
    """The host's own name."""

    paths: tuple[str, ...]
    """The user's own file, as `places` reads it: the first that exists, else the last.

    One with a `*` is there if its folder is."""

    source: str
    """The URL of the documentation of the form and the paths."""

    next_step: str
    """The user's next step, so that the host sees the entry."""

    windows_paths: tuple[str, ...] = ()
    """The user's own file on Windows; empty means the same as elsewhere."""

    project_path: str | None = None
    """The file in a project's folder; None if the host has none."""

    file: FormatName = "jsonc"
    """The format of the file."""

    table: tuple[str, ...] = ("mcpServers",)
    """The path of keys to the table of servers."""

    local: LocalForm = LocalForm()
    """How the host starts a server."""

    remote: RemoteForm | None = RemoteForm()
    """How the host reaches a server by its URL; None if its file has no such entry."""

    remote_hint: str = ""
    """The user's next step if `remote` is None."""

    call_seconds: str = ""
    """How long the host waits for a tool call, by default and in our entry; empty means not documented."""

    supports: tuple[str, ...] = ()
    """What it supports besides tools, by its documents or MCP's own list: resources, prompts, elicitation, apps."""

    command_line: str = ""
    """The host's own command that adds the server; empty if it has none."""

    link: str = ""
    """A link that adds the server: `{base64}` or `{json}` is our entry, `{json_in_url}` also its name."""
