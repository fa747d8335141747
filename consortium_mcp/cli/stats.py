"""`stats`: the calibration of consortiums and arbiters, and the figures of members."""

import click

from consortium_mcp.cli.json_output import JsonOutput, json_option, print_json
from consortium_mcp.cli.screen import say
from consortium_mcp.reports.html import stats_page
from consortium_mcp.reports.stats import stats_text
from consortium_mcp.service.service import ConsortiumService
from consortium_mcp.service.stats import Stats, load_stats


class StatsOutput(Stats, JsonOutput):
    """What ratings and the record tell."""


@click.command()
@json_option(StatsOutput)
@click.option("--html", "as_html", is_flag=True, help="Print a page with the calibration curves.")
def stats(as_json: bool, as_html: bool) -> None:
    """Say how far confidences were right, and how the members did."""
    with ConsortiumService() as service:
        found = load_stats(service.store)
    if as_html:
        say(stats_page(found))
    elif as_json:
        print_json(StatsOutput.model_construct(**dict(found)))
    else:
        say(stats_text(found))
