"""`doctor`: checks the installation and says how to repair problems."""

import sys

import click

from consortium_mcp.cli.json_output import JsonOutput, json_option, print_json
from consortium_mcp.cli.screen import say
from consortium_mcp.installation.doctor import Check, examine

_COLOURS = {"ok": "green", "warning": "yellow", "problem": "red"}


class DoctorOutput(JsonOutput):
    """What the checks of the installation found."""

    checks: tuple[Check, ...]
    """The checks in their order."""


@click.command()
@click.option(
    "--live", is_flag=True, help="Also call each hosted model of the saved consortiums once; this costs a little."
)
@json_option(DoctorOutput)
def doctor(live: bool, as_json: bool) -> None:
    """Check the installation, and say how to repair each problem.

    The checks cover Python, packages, settings, the database, keys, models, saved consortiums and the local model.
    They also cover the configurations of MCP clients and llm's log. The exit status is 1 if there is a problem.
    """
    checks = []
    for check in examine(live=live):
        checks.append(check)
        if not as_json:
            _print(check)
    if as_json:
        print_json(DoctorOutput(checks=tuple(checks)))
    sys.exit(1 if any(check.state == "problem" for check in checks) else 0)


def _print(check: Check) -> None:
    click.secho(f"{check.state:<8}", fg=_COLOURS[check.state], nl=False)
    say(f"{check.about}: {check.found}")
    if check.remedy:
        say(f"        {check.remedy}")
