"""`completion`: the shell's script, and completions of saved names, runs, models, strategies, judging methods."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from typing import Any

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    add_completion_class,
    get_completion_class,
    split_arg_string,
)

from consortium_mcp.engine.judging import judging_methods
from consortium_mcp.engine.strategies import strategies
from consortium_mcp.errors import ConsortiumError, NotFoundError
from consortium_mcp.models.catalogue import load_catalogue
from consortium_mcp.settings import load_settings
from consortium_mcp.store import Store
from consortium_mcp.text.templates import plain

COMPLETE_VARIABLE = "_CONSORTIUM_MCP_COMPLETE"
"""The environment variable with which a shell's script requests completions."""

NEWEST = 20
"""The number of newest runs among the completions."""


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that completes these commands in a shell.

    Its first line says how to use it.
    """
    how = {
        "bash": 'eval "$(consortium-mcp completion bash)" in ~/.bashrc',
        "zsh": 'eval "$(consortium-mcp completion zsh)" in ~/.zshrc',
        "fish": "consortium-mcp completion fish > ~/.config/fish/completions/consortium-mcp.fish",
    }
    register_shells()
    kind = get_completion_class(shell)
    assert kind is not None
    script = kind(click.Command("consortium-mcp"), {}, "consortium-mcp", COMPLETE_VARIABLE).source()
    click.echo(f"# {how[shell]}\n{script}")


class _Bash(BashComplete):
    """Completion for bash, which does not quote its insertions, and also splits words at `:` and `=`."""

    source_template = """\
%(complete_func)s() {
    local type value
    COMPREPLY=()
    while IFS=',' read -r type value; do
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain) COMPREPLY+=("$value") ;;
        esac
    done < <(env COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_CURRENT="${COMP_WORDS[COMP_CWORD]}" \\
        %(complete_var)s=bash_complete "$1")
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the cursor, and the one at the cursor."""
        words = _words(os.environ["COMP_LINE"])
        return words[1:-1], words[-1]

    def format_completion(self, item: "CompletionItem[Any]") -> str:
        """The replacement for the part of the word that bash sees, quoted so that bash reads one word."""
        typed = _last_word(os.environ["COMP_LINE"])
        current = os.environ["COMP_CURRENT"].strip("".join(_BREAKS))
        kept = _words(typed.removesuffix(current))[-1] if typed.endswith(current) else ""
        value = str(item.value)
        kept = kept if value.startswith(kept) else kept.partition("=")[2]  # of `--model=llama3:` only `llama3:` is
        quote = current[:1] if current[:1] in ("'", '"') else ""
        return f"{item.type},{_quoted(value.removeprefix(kept), quote)}"


class _Fish(FishComplete):
    """Completion for fish; click's own script cuts a name at a comma."""

    source_template = FishComplete.source_template.replace('string split ","', 'string split -m 1 ","')


_BREAKS = ("=", ":", "@", ">", "<", "|", "&", ";", "(")
"""The characters besides blanks at which bash splits words, as in COMP_WORDBREAKS."""

_CURSOR = "\0"
"""A marker for the cursor, so that an empty word at the cursor counts as a word."""

_WORD = re.compile(r"""(?:[^\s\\'"]|\\(?:.|\Z)|'[^']*(?:'|\Z)|"(?:\\.|[^"\\])*(?:"|\\?\Z))+""", re.DOTALL)
"""A word of a command line as typed; its last quote may be open."""


def register_shells() -> None:
    """Let click use our scripts."""
    add_completion_class(_Bash)
    add_completion_class(_Fish)


def _words(line: str) -> list[str]:
    """The words of a command line up to the cursor, without their quotes; the last one is the one at the cursor."""
    words = split_arg_string(line + _CURSOR)
    return [*words[:-1], words[-1].replace(_CURSOR, "")]


def _last_word(line: str) -> str:
    """The word at the cursor as typed, with its quotes."""
    return next((found[0] for found in _WORD.finditer(line) if found.end() == len(line)), "")


def _quoted(text: str, quote: str) -> str:
    """A text in bash's syntax: inside an open quote, or with backslashes."""
    if quote == "'":
        return text.replace("'", "'\\''")
    if quote == '"':
        return re.sub(r'([\\"$`])', r"\\\1", text)
    return re.sub(r"""([\s\\'"$`!#&;|<>()\[\]{}*?~^])""", r"\\\1", text)


def complete_consortiums(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Saved consortiums."""
    with suppress(ConsortiumError), _store() as store:
        return _offered(dict.fromkeys(store.consortiums.list_names.sync()), incomplete)
    return []


def complete_runs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The newest runs, each with the beginning of its prompt."""
    with suppress(ConsortiumError), _store() as store:
        prompts = {run.run_id: " ".join(plain(run.prompt).split())[:50] for run in store.runs.find.sync(limit=NEWEST)}
        return _offered(prompts, incomplete)
    return []


def complete_models(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The models that can be used now, and their aliases."""
    with suppress(ConsortiumError):
        found = load_catalogue().search(allowed=load_settings().allowed_models)
        usable = [entry for entry, problem in found if problem is None]
        return _offered(
            {name: entry.plugin for entry in usable for name in (entry.model_id, *entry.aliases)}, incomplete
        )
    return []


def complete_strategies(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Strategies, each with its description."""
    return _offered({name: strategy.description for name, strategy in strategies().items()}, incomplete)


def complete_judging_methods(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Judging methods, each with its description."""
    return _offered({name: method.description for name, method in judging_methods().items()}, incomplete)


@contextmanager
def _store() -> Iterator[Store]:
    """The database. Raises NotFoundError if it does not exist, because completion never creates it."""
    path = load_settings().database_path
    if not path.exists():
        raise NotFoundError(f"The database {path} does not exist yet.")
    with closing(Store(path)) as store:
        yield store


def _offered(sentences: Mapping[str, str | None], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name, help=text) for name, text in sentences.items() if name.startswith(incomplete)]
