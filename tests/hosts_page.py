"""The generated parts of docs/hosts.md."""

from consortium_mcp.installation.hosts.entries import Launch, reads_variables
from consortium_mcp.installation.hosts.host import Host
from consortium_mcp.installation.hosts.links import adding_command, adding_link
from consortium_mcp.installation.hosts.table import hosts

_BY_NAME = Launch("uvx", ("consortium-mcp",))
"""Our command as it is shared: the reader's machine finds uvx itself."""

_SYSTEMS = {
    "{programs}": "CONFIG",
    "{XDG_CONFIG_HOME:~/.config}": "~/.config",
    "{LOCALAPPDATA:~/AppData/Local}": "%LOCALAPPDATA%",
}


_KINDS = {"json": "JSON, no comments", "jsonc": "JSON", "toml": "TOML", "yaml": "YAML"}


def host_table() -> str:
    """Each host: its files, and what it can do."""
    rows = [
        "| `install` | client | the user's file | kind | `--project` | `--url` | call, seconds | supports | source |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*rows, *(_row(host) for host in hosts().values())])


def host_buttons() -> str:
    """Each host that has a link or a command of its own that adds the server."""
    rows = ["| client | link or command |", "|---|---|"]
    for host in hosts().values():
        link = adding_link(host, "consortium", _BY_NAME)
        ways = [f"[add to {host.title}]({link})"] if link.startswith("https://") else []
        ways += [f"`{link}`"] if link and not ways else []
        ways += [f"`{command}`"] if (command := adding_command(host, "consortium", _BY_NAME)) else []
        if ways:
            rows.append(f"| {host.title} | {'<br>'.join(ways)} |")
    return "\n".join(rows)


def host_one_click() -> str:
    """The links for the README, on one line."""
    links = {host.title: adding_link(host, "consortium", _BY_NAME) for host in hosts().values()}
    return " · ".join(f"[{title}]({link})" for title, link in links.items() if "https:" in link[:6])


def _row(host: Host) -> str:
    project = f"`{host.project_path}`" if host.project_path else "–"
    source = f"[docs]({host.source})"
    supports = ", ".join(host.supports) or "–"
    cells = [
        f"`{host.name}`",
        host.title,
        _places(host),
        _KINDS[host.file],
        project,
        _url(host),
        host.call_seconds or "–",
        supports,
    ]
    return f"| {' | '.join([*cells, source])} |"


def _places(host: Host) -> str:
    usual = " or ".join(f"`{_shown(path)}`" for path in reversed(host.paths))
    windows = " or ".join(f"`{_shown(path)}`" for path in reversed(host.windows_paths))
    return f"{usual}; Windows: {windows}" if windows else usual


def _shown(path: str) -> str:
    for part, text in _SYSTEMS.items():
        path = path.replace(part, text)
    name, colon, rest = path.removeprefix("{").partition(":")
    return f"{rest.replace('}', '', 1)}" if path.startswith("{") and colon else path


def _url(host: Host) -> str:
    if host.remote is None:
        return "in its settings"
    return "token by variable" if reads_variables(host) else "token in the file"
