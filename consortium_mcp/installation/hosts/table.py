"""The table of hosts: one row each."""

from consortium_mcp.installation.hosts.assistants import ASSISTANTS
from consortium_mcp.installation.hosts.editors import EDITORS
from consortium_mcp.installation.hosts.host import Host
from consortium_mcp.installation.hosts.terminals import TERMINALS


def hosts() -> dict[str, Host]:
    """Every known host, by name."""
    return {host.name: host for host in (*ASSISTANTS, *EDITORS, *TERMINALS)}
