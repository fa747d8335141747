"""A host's own command or link that adds our server, for the docs."""

import base64
import json
import shlex
from urllib.parse import quote

from consortium_mcp.installation.hosts.entries import Launch, local_entry
from consortium_mcp.installation.hosts.host import Host


def adding_command(host: Host, name: str, launch: Launch) -> str:
    """The host's own command; empty if it has none."""
    return _filled(host.command_line, host, name, launch)


def adding_link(host: Host, name: str, launch: Launch) -> str:
    """The link; empty if the host has none."""
    return _filled(host.link, host, name, launch)


def _filled(text: str, host: Host, name: str, launch: Launch) -> str:
    entry = local_entry(host, name, launch)
    compact = json.dumps(entry, separators=(",", ":"))
    named = json.dumps({"name": name} | entry, separators=(",", ":"))
    values = {
        "{name}": name,
        "{words}": shlex.join(launch.words),
        "{named}": named,
        "{base64}": quote(base64.b64encode(compact.encode()).decode(), safe=""),
        "{json_in_url}": quote(quote(named, safe=""), safe=""),
        "{json}": quote(compact, safe=""),
    }
    for placeholder, value in values.items():
        text = text.replace(placeholder, value)
    return text
