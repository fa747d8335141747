"""`install`: puts our entry into an MCP client's configuration."""

import json
import os

import click

from consortium_mcp.cli.options import json_option
from consortium_mcp.installation.client_configs import client_files, entry_text, own_entry
from consortium_mcp.installation.client_configs import install as install_entry

_NOT_SEEN = ("LLM_USER_PATH", "CONSORTIUM_DATABASE", "CONSORTIUM_DEFAULT", "CONSORTIUM_LOCAL_MODEL")
"""Variables of this shell that change what the server finds; a client started elsewhere does not see them."""


def _variables(ctx: click.Context, param: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    pairs = [text.partition("=") for text in given]
    for name, equals, _ in pairs:
        if not name or not equals:
            raise click.BadParameter(f"{name!r} does not have the form NAME=VALUE.")
    return {name: value for name, _, value in pairs}


@click.command()
@click.argument("client", type=click.Choice(list(client_files())))
@click.option("--print", "only_print", is_flag=True, help="Print the entry for pasting, and write no file.")
@click.option("--name", default="consortium", help="What the client calls the server. [consortium]")
@click.option(
    "--env",
    metavar="NAME=VALUE",
    multiple=True,
    callback=_variables,
    help="An environment variable that the client sets for the server; repeat the option for more.",
)
@json_option
def install(client: str, only_print: bool, name: str, env: dict[str, str], as_json: bool) -> None:
    """Put the server into an MCP client's configuration.

    The rest of the file stays unchanged. A copy of the old file is kept beside it.
    """
    file = client_files()[client]
    entry = own_entry(file, env)
    if only_print:
        click.echo(f"Put this into {file.path()}:", err=True)
        pasted = json.dumps({file.table: {name: entry}}, indent=2) + "\n" if as_json else entry_text(file, name, entry)
        click.echo(pasted, nl=False)
        return
    done = install_entry(file, name, entry)
    for variable in _NOT_SEEN:
        if variable in os.environ and variable not in env:
            value = os.environ[variable]
            click.echo(f"{file.title} will not see {variable} of this shell: add --env {variable}={value}", err=True)
    if as_json:
        click.echo(done.model_dump_json(indent=1))
        return
    if not done.changed:
        click.echo(f"{done.path} has this entry already; nothing was changed.")
        return
    click.echo(f"Put {name!r} into {done.path}: it starts {done.entry['command']}.")
    if done.backup:
        click.echo(f"The old file was copied to {done.backup}")
    click.echo(f"Next: {file.next_step}")
