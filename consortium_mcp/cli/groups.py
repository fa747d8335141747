"""The two groups of the same commands: `consortium-mcp …` and `llm consortium …`."""

import difflib
import importlib
import os
import re
import sys
from typing import TYPE_CHECKING, Any

import click

from consortium_mcp._util.lazy import LazyModule
from consortium_mcp.cli.failures import WORDS, asks_for_json, refused_output, told
from consortium_mcp.errors import Door, speaking_at
from consortium_mcp.text.templates import storable

if TYPE_CHECKING:
    import consortium_mcp._util.output as output
    import consortium_mcp.cli.completion as completion
    import consortium_mcp.cli.logs as logs
else:
    output = LazyModule("consortium_mcp._util.output")
    completion = LazyModule("consortium_mcp.cli.completion")
    logs = LazyModule("consortium_mcp.cli.logs")

_COMMANDS = {
    "serve": ("serve:serve", "Run the MCP server, as without a command."),
    "consult": ("consult:consult", "Ask a consortium PROMPT, the text on stdin, or both."),
    "save": ("consortiums:save", "Save a consortium as NAME. It replaces a saved one of that name."),
    "list": ("consortiums:list_command", "List saved consortiums, with the reason if one cannot run now."),
    "show": ("consortiums:show", "Show the saved consortium NAME."),
    "remove": ("consortiums:remove", "Remove the saved consortium NAME; its runs stay."),
    "runs": ("runs:runs", "List past consultations, newest first."),
    "stats": ("stats:stats", "Show how often confidences were right, and how the members did."),
    "web": ("web:web", "Show runs, questions and statistics in a browser."),
    "models": ("models:models", "List the usable models, and what the others need first."),
    "strategies": ("strategies:strategies", "List strategies, judging methods and roles."),
    "local-model": ("local_model:local_model", "The embedded model, without key or network."),
    "setup": ("setup:setup", "Set up keys, plugins, a first consortium and MCP clients."),
    "install": ("install:install", "Put the server into an MCP client's configuration."),
    "uninstall": ("install:uninstall", "Remove the server from an MCP client's configuration."),
    "doctor": ("doctor:doctor", "Check the installation, and say how to repair each problem."),
    "demo": ("demo:demo", "Consult the embedded model once, as a client would."),
    "completion": ("completion:completion", "Print the script that completes these commands in a shell."),
}
"""The module of each command, and its line in `--help`; a module is imported only when its command is used."""

_UNREAD = re.compile(r"[\udc80-\udcff]+")
"""Bytes of the command line that Python could not decode (PEP 383)."""

_AS_JSON = "consortium_mcp.as_json"
"""The key of a click context under which `--json` is noted."""

_HELP = {"help_option_names": ["-h", "--help"]}
"""The options that request help."""


class CommandGroup(click.Group):
    """A group that imports commands on demand, and turns expected errors into one sentence and an exit status."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of a first session."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command with that name; None if there is none."""
        if cmd_name not in _COMMANDS:
            return None
        module, _, attribute = _COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(f"consortium_mcp.cli.{module}"), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the line of each command, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in _COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The named command; for an unknown one, raise an error with the probable name."""
        if not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            _refuse_slip(ctx, args[0])
        return super().resolve_command(ctx, args)

    def main(self, *args: Any, **more: Any) -> Any:
        """Run the program; an unwritable stdout is reported in one sentence, also for the output of `--help`."""
        output.print_utf8()
        if "_CONSORTIUM_MCP_COMPLETE" in os.environ:
            completion.register_shells()
        try:
            return super().main(*args, **more)
        except OSError as error:
            refused_output(error).show()
            sys.exit(1)

    def make_context(self, info_name: str | None, args: list[str], *more: Any, **named: Any) -> click.Context:
        """Parse the command line; under `llm`, this is our first code to run."""
        output.print_utf8()
        words = [_in_utf8(word) for word in args]
        as_json = asks_for_json(words)  # before it is parsed, which can fail
        with told(as_json):
            ctx = super().make_context(info_name, words, *more, **named)
        ctx.meta[_AS_JSON], ctx.meta[WORDS] = as_json, words
        return ctx

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a failure is reported as a sentence, or as JSON."""
        logs.configure_logging()
        with speaking_at(Door.COMMANDS), told(ctx.meta[_AS_JSON]):
            return super().invoke(ctx)


class DefaultToConsult(CommandGroup):
    """As in `llm`, text that begins with no command is a prompt; `run` is llm-consortium's name of consult."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Insert `consult` before arguments without a command; a word close to a command's name is a typing error."""
        if len(args) == 1 and args[0] != "run":
            _refuse_slip(ctx, args[0])
        if not args or (args[0] not in (*_COMMANDS, "run", *_HELP["help_option_names"])):
            args = ["consult", *args]
        return super().parse_args(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command with that name, including `run`."""
        return super().get_command(ctx, "consult" if cmd_name == "run" else cmd_name)


@click.group(cls=CommandGroup, invoke_without_command=True, context_settings=_HELP)
@click.version_option(package_name="consortium-mcp")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Ask a consortium of language models one question; get one answer that says how far to trust it.

    Without a command it serves MCP on stdio, as MCP clients start it. The answer goes to stdout, everything else to
    stderr. The exit status is 0 for success, 1 for a failure, 2 for wrong usage, and 130 for an interruption.
    """
    if ctx.invoked_subcommand is None:
        command = main.get_command(ctx, "serve")
        assert command is not None
        ctx.invoke(command, transport="stdio")  # in any environment: the client waits on stdin


@click.group(name="consortium", cls=DefaultToConsult, context_settings=_HELP)
def llm_group() -> None:
    """Ask a consortium of models one question, and manage saved consortiums.

    Text that does not begin with a command is a prompt: `llm consortium 'your question'` asks it.
    """


def _in_utf8(word: str) -> str:
    """A word of the command line in UTF-8, even if the locale could not decode it."""
    return storable(
        _UNREAD.sub(lambda part: part[0].encode("ascii", "surrogateescape").decode("utf-8", "replace"), word)
    )


def _refuse_slip(ctx: click.Context, word: str) -> None:
    """Raise UsageError for a word close to the name of a command."""
    if word not in _COMMANDS and (meant := difflib.get_close_matches(word, _COMMANDS, n=1, cutoff=0.7)):
        raise click.UsageError(f"No such command {word!r}. Did you mean {meant[0]!r}?", ctx)
