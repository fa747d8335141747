"""`serve`: run the MCP server."""

import gc
import logging
import sys
from pathlib import Path
from typing import Literal, get_args, get_origin

import click
from pydantic import ValidationError

import consortium_mcp.server as server
from consortium_mcp.errors import ConsortiumError
from consortium_mcp.settings import Settings, load_settings, using


def settings_flags(command: click.Command) -> click.Command:
    """Add a flag for each setting, equivalent to its environment variable."""
    for name, field in Settings.model_fields.items():
        flag = f"--{name.replace('_', '-')}"
        default = _as_typed(field.default)
        known = f"; default: {default}" if default else ""
        help_text = f"{field.description} [CONSORTIUM_{name.upper()}{known}]"
        is_switch = field.annotation is bool
        switch, metavar = (f"{flag}/--no-{flag[2:]}", None) if is_switch else (flag, _metavar(field.annotation))
        command.params.append(
            click.Option([switch, name], help=help_text, default=None, metavar=metavar, callback=_checked)
        )
    return command


_METAVARS: dict[object, str] = {int: "INTEGER", float: "NUMBER", Path: "FILE"}


def _metavar(annotation: object) -> str:
    """The type of a setting for `--help`, as in `INTEGER`, `[on|off]`, or `LIST` for names separated by commas."""
    if get_origin(annotation) is tuple:
        return "LIST"
    is_optional = type(None) in get_args(annotation)
    kind = next(one for one in get_args(annotation) if one is not type(None)) if is_optional else annotation
    if get_origin(kind) is Literal:
        return f"[{'|'.join(get_args(kind))}]"
    return _METAVARS.get(kind, "TEXT")


def _as_typed(default: object) -> str:
    """A default as typed for its flag; empty for None and for an empty list."""
    if isinstance(default, tuple):
        return ",".join(default)
    if isinstance(default, bool):
        return "yes" if default else "no"
    return "" if default is None else str(default)


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
