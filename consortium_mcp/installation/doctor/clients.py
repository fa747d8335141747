"""Checks our entries in the configurations of MCP clients: whether each starts a server that lists its tools."""

import os
import shutil
from collections.abc import Iterator

from consortium_mcp._util.counts import counted
from consortium_mcp.installation.client_configs import SERVER_NAME, installed_launches, installed_url
from consortium_mcp.installation.doctor.check import Check
from consortium_mcp.installation.doctor.starting import count_tools
from consortium_mcp.installation.hosts.entries import Launch
from consortium_mcp.installation.hosts.host import Host
from consortium_mcp.installation.hosts.places import host_file
from consortium_mcp.text.masking import masked


def check_client(host: Host) -> Iterator[Check]:
    """The results for a client's configuration; none if it has no file or no entry of ours."""
    launches = installed_launches(host)
    if url := installed_url(host):
        found = f"{SERVER_NAME!r} reaches {masked(url)}; that server was not asked"
        yield Check(about=host.title, state="ok", found=found)
    elif launches is not None and not launches:
        found = f"no entry of consortium-mcp; `consortium-mcp install {host.name}` adds it"
        yield Check(about=host.title, state="ok", found=found)
    for title, launch in (launches or {}).items():
        yield _entry(host, title, launch)


def _entry(host: Host, title: str, launch: Launch) -> Check:
    """Whether the client can start the command of our entry, and whether the server answers."""
    command = launch.command
    remedy = f"`consortium-mcp install {host.name} --name {title}` writes it again."
    entry = f"{title!r} in {host_file(host)}"
    if shutil.which(command) is None:
        found = f"{entry}: its command {command!r} does not exist."
        return Check(about=host.title, state="problem", found=found, remedy=remedy)
    if not os.path.isabs(command):
        found = (
            f"{entry}: its command {command!r} is not an absolute path; desktop programs do not inherit the "
            "shell's PATH."
        )
        return Check(about=host.title, state="warning", found=found, remedy=remedy)
    tools = count_tools(launch)
    if isinstance(tools, str):
        found = f"{entry}: {command} starts no server: {masked(tools)}"
        return Check(about=host.title, state="problem", found=found, remedy=remedy)
    return Check(
        about=host.title, state="ok", found=f"{title!r} starts {command}, and {counted(tools, 'tool')} are listed"
    )
