"""`install` and `uninstall`: our entry in the configuration of an MCP client."""

import os
import re
from pathlib import Path
from typing import Any

import click

from consortium_mcp.cli.json_output import JsonOutput, json_option, print_json
from consortium_mcp.installation.client_configs import (
    SERVER_NAME,
    Installed,
    Uninstalled,
    Wanted,
    entry_text,
    uninstall_entry,
    wanted_entry,
)
from consortium_mcp.installation.client_configs import install as install_entry
from consortium_mcp.installation.hosts.entries import launch_in
from consortium_mcp.installation.hosts.host import Host
from consortium_mcp.installation.hosts.places import host_file
from consortium_mcp.installation.hosts.table import hosts

NOT_SEEN = ("LLM_USER_PATH", "CONSORTIUM_DATABASE", "CONSORTIUM_DEFAULT", "CONSORTIUM_LOCAL_MODEL")
"""Variables of this shell that change what the server finds; a client that is started elsewhere does not have them."""

_CLIENTS = f"CLIENT is one of: {', '.join(hosts())}."

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""A server name that every client accepts."""


class InstalledOutput(Installed, JsonOutput):
    """What was done to the client's configuration."""


class UninstalledOutput(Uninstalled, JsonOutput):
    """What was done to the client's configuration."""


class EntryOutput(JsonOutput):
    """The entry for pasting; no file was written."""

    path: Path
    """The client's file."""

    table: dict[str, Any]
    """The entry in its place in that file."""


def _variables(ctx: click.Context, param: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    pairs = [text.partition("=") for text in given]
    for name, equals, _ in pairs:
        if not name or not equals:
            raise click.BadParameter(f"{name!r} does not have the form NAME=VALUE.")
    return {name: value for name, _, value in pairs}


def _name(ctx: click.Context, param: click.Parameter, name: str) -> str:
    if not _NAME.fullmatch(name):
        raise click.BadParameter(f"{name!r} is not a name of letters, digits, '-' and '_'.")
    return name


def _packages(ctx: click.Context, param: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    for package in given:
        if not package.strip() or package.startswith("-"):
            raise click.BadParameter(f"{package!r} is not a package name.")
    return given


def _variable(ctx: click.Context, param: click.Parameter, name: str | None) -> str | None:
    if name is not None and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise click.BadParameter(f"{name!r} is not a variable name.")
    return name


def _url(ctx: click.Context, param: click.Parameter, url: str | None) -> str | None:
    if url is not None and not re.match(r"https?://[^/\s]", url):
        raise click.BadParameter(f"{url!r} is not an http or https URL.")
    return url


_client_argument = click.argument("client", type=click.Choice(list(hosts())), metavar="CLIENT")
_name_option = click.option(
    "--name", default=SERVER_NAME, callback=_name, help="What the client calls the server. [consortium]"
)
_project_option = click.option(
    "--project", "in_project", is_flag=True, help="Use the client's file in this folder, not the user's own."
)


@click.command(epilog=_CLIENTS)
@_client_argument
@_project_option
@click.option("--print", "only_print", is_flag=True, help="Print the entry for pasting, and write no file.")
@_name_option
@click.option(
    "--env",
    "variables",
    metavar="NAME=VALUE",
    multiple=True,
    callback=_variables,
    help="An environment variable that the client sets for the server; repeat the option for more.",
)
@click.option(
    "--with",
    "packages",
    metavar="PACKAGE",
    multiple=True,
    callback=_packages,
    help="An llm plugin that the server needs; repeat the option for more. Later installs keep it.",
)
@click.option(
    "--command",
    type=click.Choice(["uvx", "this"]),
    help="What starts the server: uvx, or this installation. [this, if it has plugins or comes from no index]",
)
@click.option("--url", callback=_url, help="The URL of a team's server; the client then starts none.")
@click.option(
    "--token-variable", metavar="NAME", callback=_variable, help="The environment variable with the token for --url."
)
@json_option(InstalledOutput, EntryOutput)
def install(client: str, in_project: bool, only_print: bool, name: str, as_json: bool, **wanted: Any) -> None:
    """Put the server into an MCP client's configuration.

    The rest of the file stays unchanged. A copy of the old file is kept beside it.
    """
    host, server = hosts()[client], _checked(**wanted)
    folder = Path.cwd() if in_project else None
    if only_print:
        entry = wanted_entry(host, name, server)
        path = host_file(host, folder)
        if as_json:
            print_json(EntryOutput(path=path, table=_table(host, name, entry)))
        else:
            click.echo(f"Put this into {path}:", err=True)
            click.echo(entry_text(host, name, entry), nl=False)
        return
    done = install_entry(host, name, server, folder)
    for variable in NOT_SEEN if server.url is None else ():
        if variable in os.environ and variable not in server.variables:
            value = os.environ[variable]
            click.echo(f"{host.title} will not see {variable}: add --env {variable}={value}", err=True)
    if in_project and done.is_private:
        click.echo(f"{done.path} contains a token or a value from --env: do not commit it.", err=True)
    if as_json:
        print_json(InstalledOutput.model_construct(**dict(done)))
    else:
        click.echo(_told(host, name, done))


@click.command(epilog=_CLIENTS)
@_client_argument
@_project_option
@_name_option
@json_option(UninstalledOutput)
def uninstall(client: str, in_project: bool, name: str, as_json: bool) -> None:
    """Remove the server from an MCP client's configuration.

    If nothing else changed it since, the file is byte for byte what it was before `install`.
    """
    done = uninstall_entry(hosts()[client], name, Path.cwd() if in_project else None)
    if as_json:
        print_json(UninstalledOutput.model_construct(**dict(done)))
    elif not done.changed:
        click.echo(f"{done.path} has no entry {name!r}; nothing was changed.")
    else:
        state = "The file is what it was before." if done.restored else "The rest of the file is unchanged."
        click.echo(f"Removed {name!r} from {done.path}. {state}")


def _checked(**wanted: Any) -> Wanted:
    """The requested entry; raises UsageError for options that exclude each other."""
    server = Wanted(**wanted)
    if server.url is None and server.token_variable is not None:
        raise click.UsageError("--token-variable needs --url.")
    if server.url is not None and (server.variables or server.packages or server.command):
        raise click.UsageError("--url excludes --env, --with and --command: the client starts no server.")
    return server


def _told(host: Host, name: str, done: Installed) -> str:
    if not done.changed:
        return f"{done.path} has this entry already; nothing was changed."
    launch = launch_in(host, done.entry)
    what = f"it starts {launch.command}" if launch else "it reaches a server by its URL"
    lines = [f"Put {name!r} into {done.path}: {what}."]
    if done.backup:
        lines.append(f"The old file was copied to {done.backup}")
    return "\n".join([*lines, f"Next: {host.next_step}"])


def _table(host: Host, name: str, entry: dict[str, Any]) -> dict[str, Any]:
    """The entry in its place in the client's file."""
    value: dict[str, Any] = {name: entry}
    for key in reversed(host.table):
        value = {key: value}
    return value
