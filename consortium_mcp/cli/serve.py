"""`serve`: run the MCP server."""

import gc
import logging
import sys

import click
from pydantic import ValidationError

import consortium_mcp.server as server
from consortium_mcp.errors import ConsortiumError
from consortium_mcp.settings import Settings, load_settings, using


def settings_flags(command: click.Command) -> click.Command:
    """Add a flag for each setting, equivalent to its environment variable."""
    for name, field in Settings.model_fields.items():
        flag = f"--{name.replace('_', '-')}"
        help_text = f"{field.description} [CONSORTIUM_{name.upper()}]"
        switch = f"{flag}/--no-{flag.removeprefix('--')}" if field.annotation is bool else flag
        command.params.append(click.Option([switch, name], help=help_text, default=None, callback=_checked))
    return command


def _checked(_: click.Context, param: click.Parameter, value: str | bool | None) -> str | bool | None:
    """The value of a flag; an invalid value is reported with the flag's name, not the variable's."""
    if value is None:
        return None
    try:
        Settings.model_validate({param.name: value})
    except ValidationError as error:
        rule = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise click.BadParameter(f"{value!r}: {rule}.") from error
    return value


@settings_flags
@click.command()
def serve(**flags: str | bool | None) -> None:
    """Run the MCP server until its client closes stdin, or until Ctrl-C."""
    settings = load_settings(None, **flags)
    logging.getLogger().setLevel(settings.log_level)  # logging is already configured, from the environment alone
    with using(settings):
        _serve(settings)


def _serve(settings: Settings) -> None:
    if settings.transport != ("stdio",):
        server.serve_http(settings)
        return
    if sys.stdin is None or sys.stdout is None:
        raise ConsortiumError(
            "No MCP client can be served on stdio: stdin or stdout is closed. Let a client start this command, or "
            "serve over the network with --transport http."
        )
    if sys.stdin.isatty():
        click.echo(
            "Waiting for an MCP client on stdin; end with Ctrl-D. `consortium-mcp setup` makes a first consortium, and "
            "`consortium-mcp --help` lists all commands.",
            err=True,
        )
    gc.disable()  # until everything is imported: none of it is ever freed
    server.serve_stdio(settings)
