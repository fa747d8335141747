"""`completion`: the shell's script, and completions of saved names, runs, models, strategies, judging methods."""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress

import click
from click.shell_completion import CompletionItem, get_completion_class

from consortium_mcp.engine.judging import judging_methods
from consortium_mcp.engine.strategies import strategies
from consortium_mcp.errors import ConsortiumError, NotFoundError
from consortium_mcp.models.catalogue import load_catalogue
from consortium_mcp.settings import load_settings
from consortium_mcp.store import Store
from consortium_mcp.text.templates import plain

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
    kind = get_completion_class(shell)
    assert kind is not None
    script = kind(click.Command("consortium-mcp"), {}, "consortium-mcp", "_CONSORTIUM_MCP_COMPLETE").source()
    script = script.replace("COMPREPLY+=($value)", """COMPREPLY+=("$(printf '%q' "$value")")""")  # blanks in names
    click.echo(f"# {how[shell]}\n{script}")


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
