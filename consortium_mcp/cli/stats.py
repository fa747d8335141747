"""`stats`: the calibration of consortiums and arbiters, and the figures of members."""

import click

from consortium_mcp.cli.options import json_option
from consortium_mcp.cli.screen import say
from consortium_mcp.reports.html import stats_page
from consortium_mcp.reports.stats import stats_text
from consortium_mcp.service.service import ConsortiumService
from consortium_mcp.service.stats import load_stats


@click.command()
@json_option
@click.option("--html", "as_html", is_flag=True, help="Print a page with the calibration curves.")
def stats(as_json: bool, as_html: bool) -> None:
    """Say how far confidences were right, and how the members did."""
    with ConsortiumService() as service:
        found = load_stats(service.store)
    if as_html:
        say(stats_page(found))
    else:
        say(found.model_dump_json(indent=1) if as_json else stats_text(found))
