"""`serve`: run the MCP server."""

import os
import sys

import click

from consortium_mcp.cli.logs import configure_logging
from consortium_mcp.server import serve_http, serve_stdio
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
@click.option("--transport", type=click.Choice(["stdio", "http", "sse"]), default="stdio", help="How clients reach it.")
@click.option("--host", default="127.0.0.1", help="Address for http and sse: one of this machine's own. [127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65_535), default=8000, help="Port for http and sse; 0: any free. [8000]")
def serve(transport: str, host: str, port: int, **flags: str | None) -> None:
    """Run the MCP server until its client closes stdin, or until Ctrl-C."""
    settings = load_settings(None, **flags)
    configure_logging(settings.log_level)
    if settings.local_model:
        os.environ["CONSORTIUM_LOCAL_MODEL"] = str(settings.local_model)  # where the model itself looks
    if transport != "stdio":
        serve_http(settings, transport, host, port)
        return
    if sys.stdin.isatty():
        click.echo(
            "Waiting for an MCP client on stdin; end with Ctrl-D. `consortium-mcp --help` lists commands.", err=True
        )
    serve_stdio(settings)
