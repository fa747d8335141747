"""Our entries in the configurations of MCP clients: whether each starts something."""

import os
import shutil
from collections.abc import Iterator

from consortium_mcp.installation.client_configs import ClientFile, installed_entries
from consortium_mcp.installation.doctor.check import Check


def check_client(client: ClientFile) -> Iterator[Check]:
    """What a client's configuration says of us."""
    entries = installed_entries(client)
    if entries is None:
        yield Check(about=client.title, state="ok", found="no configuration on this machine")
    elif not entries:
        found = f"without an entry of ours; `consortium-mcp install {client.name}` adds it"
        yield Check(about=client.title, state="ok", found=found)
    for title, entry in (entries or {}).items():
        yield _entry(client, title, str(entry.get("command", "")))


def _entry(client: ClientFile, title: str, command: str) -> Check:
    """Whether the client can start what an entry of ours names."""
    remedy = f"`consortium-mcp install {client.name} --name {title}` writes it anew."
    entry = f"{title!r} in {client.path()}"
    if shutil.which(command) is None:
        found = f"{entry}: its command {command!r} is not there."
        return Check(about=client.title, state="problem", found=found, remedy=remedy)
    if not os.path.isabs(command):
        found = f"{entry}: its command {command!r} is no whole path; programs with windows do not see the shell's PATH."
        return Check(about=client.title, state="warning", found=found, remedy=remedy)
    return Check(about=client.title, state="ok", found=f"{title!r} starts {command}")
