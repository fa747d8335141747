"""`stats`: what ratings say of consortiums, arbiters and members."""

import click

from consortium_mcp.cli.options import json_option
from consortium_mcp.cli.screen import say
from consortium_mcp.reports.markdown import stats_text
from consortium_mcp.service.service import ConsortiumService
from consortium_mcp.service.stats import load_stats


@click.command()
@json_option
def stats(as_json: bool) -> None:
    """Say how far stated confidences were right, and how the members did."""
    with ConsortiumService() as service:
        found = load_stats(service.store)
    say(found.model_dump_json(indent=1) if as_json else stats_text(found))
