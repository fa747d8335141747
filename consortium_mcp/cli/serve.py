"""`serve`: run the MCP server."""

import sys

import click

from consortium_mcp.cli.logs import configure_logging
from consortium_mcp.server import serve_stdio
from consortium_mcp.settings import Settings, load_settings


def settings_flags(command: click.Command) -> click.Command:
    """Add a flag for each setting, so that each environment variable has its twin."""
    for name, field in Settings.model_fields.items():
        flag = f"--{name.replace('_', '-')}"
        help_text = f"{field.description} [CONSORTIUM_{name.upper()}]"
        command.params.append(click.Option([flag, name], help=help_text))
    return command


@settings_flags
@click.command()
@click.option("--transport", type=click.Choice(["stdio"]), default="stdio", help="How clients reach the server.")
def serve(transport: str, **flags: str | None) -> None:
    """Run the MCP server until its client closes stdin."""
    settings = load_settings(None, **flags)
    configure_logging(settings.log_level)
    if sys.stdin.isatty():
        click.echo(
            "Waiting for an MCP client on stdin; end with Ctrl-D. `consortium-mcp --help` lists commands.", err=True
        )
    serve_stdio(settings)
