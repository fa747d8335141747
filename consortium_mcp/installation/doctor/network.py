"""Checks certificates and proxies from the environment, and whether the models' servers can be reached."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import anyio

from consortium_mcp.installation.doctor.check import Check
from consortium_mcp.models.catalogue import load_catalogue
from consortium_mcp.models.reaching import (
    certificates_problem,
    plugin_certificates_problem,
    proxies,
    proxy_problem,
)

REACH_SECONDS = 5
"""The seconds in which a server must accept a connection."""


def check_network() -> Iterator[Check]:
    """The certificates and proxies from the environment."""
    problems = [problem for problem in (certificates_problem(), proxy_problem()) if problem]
    for problem in problems:
        yield Check(about="Network", state="problem", found=problem)
    if warning := plugin_certificates_problem():
        yield Check(about="Network", state="warning", found=f"{warning} Some plugins read it.")
    if not problems and not warning:
        yield Check(about="Network", state="ok", found=f"proxies: {', '.join(proxies()) or 'none'}")


async def reach_servers() -> list[Check]:
    """Whether each server in a model's own address accepts a connection; nothing is sent."""
    servers = sorted({server for entry in load_catalogue().entries if (server := _server_of(entry.model))})
    checks: dict[tuple[str, int], Check] = {}

    async def reach(server: tuple[str, int]) -> None:
        checks[server] = await _reached(*server)

    async with anyio.create_task_group() as group:
        for server in servers:
            group.start_soon(reach, server)
    return [checks[server] for server in servers]


async def _reached(host: str, port: int) -> Check:
    about = f"Server: {host}:{port}"
    try:
        with anyio.fail_after(REACH_SECONDS):
            stream = await anyio.connect_tcp(host, port)
            await stream.aclose()
    except (OSError, TimeoutError):
        remedy = "Start the server, correct api_base, or check the network."
        return Check(about=about, state="warning", found="the server accepts no connection", remedy=remedy)
    return Check(about=about, state="ok", found="accepts connections")


def _server_of(model: object) -> tuple[str, int] | None:
    """Host and port of a model's own address; None if it has no valid one."""
    address = getattr(model, "api_base", None)
    try:
        parts = urlsplit(address if isinstance(address, str) else "")
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return None
    return (parts.hostname, port) if parts.hostname and parts.scheme in ("http", "https") else None
