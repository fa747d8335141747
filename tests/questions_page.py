"""The generated parts of docs/questions.md."""

import re

from consortium_mcp.installation.hosts.table import hosts
from consortium_mcp.models.providers import PROVIDERS
from tests.paths import ROOT

_SIDES = {
    "single": "one model",
    "vote": "`vote`",
    "synthesize, arbiter counts": "`synthesize`, the arbiter counts",
    "synthesize, arbiter knows": "`synthesize`, the arbiter knows",
}
"""Rows of the tables in docs/trust.md, and their headings here."""


def provider_table() -> str:
    """Each provider that `setup` knows, with its plugin and its key."""
    rows = ["| provider | llm plugin | key |", "|---|---|---|"]
    for one in PROVIDERS:
        plugin = "none needed" if one.package is None else f"`{one.package}`"
        rows.append(f"| {one.title} | {plugin} | {f'`{one.variable}`' if one.variable else 'no key'} |")
    return "\n".join(rows)


def limit_table() -> str:
    """Each client whose limit for a call is known, and the limit that our entry sets."""
    rows = ["| client | limit of a call, seconds |", "|---|---|"]
    return "\n".join(
        [*rows, *(f"| {host.title} | {host.call_seconds} |" for host in hosts().values() if host.call_seconds)]
    )


def comparison() -> str:
    """What docs/trust.md measured at an accuracy of 0.7, a row for each correlation of the errors."""
    rows = [f"| correlation of the errors | {' | '.join(_SIDES.values())} |", f"|---|{'---|' * len(_SIDES)}"]
    page = (ROOT / "docs" / "trust.md").read_text(encoding="utf-8")
    for correlation, table in re.findall(
        r"### Accuracy 0\.7, correlation ([\d.]+)\n(.*?)(?=\n###|\n- |\Z)", page, re.DOTALL
    ):
        accuracies = dict(re.findall(r"^\| (\w[^|]*?) +\| ([\d.]+) ", table, re.MULTILINE))
        rows.append(f"| {correlation} | {' | '.join(accuracies[side] for side in _SIDES)} |")
    return "\n".join(rows)
