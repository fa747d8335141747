"""Runs every check in order; an error in a check becomes its result, and does not stop the others."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Literal

import anyio

from consortium_mcp.errors import ConsortiumError
from consortium_mcp.installation.doctor.check import Check
from consortium_mcp.installation.doctor.clients import check_client
from consortium_mcp.installation.doctor.installation import (
    check_database,
    check_local_model,
    check_log,
    check_packages,
    check_python,
    check_settings,
)
from consortium_mcp.installation.doctor.live import call_models
from consortium_mcp.installation.doctor.models import check_additions, check_consortiums, check_models
from consortium_mcp.installation.doctor.network import check_network, reach_servers
from consortium_mcp.installation.hosts.table import hosts


def examine(*, live: bool = False) -> Iterator[Check]:
    """Check everything that a consult needs; an error in one check is reported as its result.

    Args:
        live: also call each hosted model of saved consortiums and of the default once.
    """
    said: set[str] = set()
    kept: list[str] = []
    for check in _every_check(live):
        if check.state != "ok" and check.found in said:
            kept.append(check.about)
        else:
            yield check
        said.add(check.found)
    if kept:
        yield Check(about="Not checked", state="warning", found=f"{', '.join(dict.fromkeys(kept))}: as said above")


def _every_check(live: bool) -> Iterator[Check]:
    yield check_python()
    yield from check_packages()
    yield from _caught("Settings", check_settings)
    yield from _caught("Database", check_database)
    yield from _caught("Network", check_network)
    yield from _caught("Models", check_models)
    yield from _caught("Consortiums", check_consortiums)
    yield from check_additions()
    if live:
        yield from _caught("Live calls", lambda: anyio.run(call_models))
        yield from _caught("Live calls", lambda: anyio.run(reach_servers))
    yield from _caught("Local model", lambda: [check_local_model()], "warning")
    for host in hosts().values():
        yield from _caught(host.title, partial(check_client, host), "warning")
    yield check_log()


def _caught(
    about: str, look: Callable[[], Iterable[Check]], state: Literal["warning", "problem"] = "problem"
) -> Iterator[Check]:
    """The results of a check; an error in the check becomes a result too."""
    try:
        yield from look()
    except ConsortiumError as error:
        yield Check(about=about, state=state, found=str(error))
