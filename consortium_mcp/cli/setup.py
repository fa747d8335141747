"""`setup`: creates a working saved consortium step by step; every question has a flag."""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click
import llm.cli

from consortium_mcp.cli.install import NOT_SEEN
from consortium_mcp.cli.json_output import JsonOutput, json_option, print_json
from consortium_mcp.cli.local_model import show_fetch
from consortium_mcp.cli.screen import is_terminal, say
from consortium_mcp.errors import ConsortiumError
from consortium_mcp.installation.client_configs import Wanted, install
from consortium_mcp.installation.hosts.places import host_file
from consortium_mcp.installation.hosts.table import hosts
from consortium_mcp.installation.own_command import own_launch
from consortium_mcp.installation.setup.choosing import ask_each, first_consortium, first_model
from consortium_mcp.installation.setup.finding import ProviderState, find_providers
from consortium_mcp.models.catalogue import load_catalogue
from consortium_mcp.models.local import chosen_weights
from consortium_mcp.models.plugin_packages import package_command
from consortium_mcp.models.providers import PROVIDERS, provider_named
from consortium_mcp.service.service import ConsortiumService
from consortium_mcp.settings import load_settings

_NAMES = [one.name for one in PROVIDERS]


@dataclass(frozen=True)
class Answers:
    """The answers from the command line; questions without an answer are asked on a terminal."""

    providers: tuple[str, ...]
    """The providers to ask; empty means those with a key or a server here, or a question."""

    models: tuple[str, ...]
    """Further members, by their llm model ids."""

    arbiter: str | None
    """The arbiter; None means the first member."""

    install_plugins: bool | None
    """Whether missing plugins are installed; None asks."""

    store_keys: bool | None
    """Whether keys of this environment are stored where clients find them; None asks."""

    name: str
    """The name of the saved consortium."""

    replace: bool | None
    """Whether a saved consortium of that name is replaced; None asks."""

    clients: tuple[str, ...]
    """The clients that get an entry; empty asks."""

    is_terminal: bool
    """Whether a person can be asked."""

    def agree(self, question: str, answer: bool | None, flag: str) -> bool:
        """The answer to a question; without a terminal it is no, and the flag for it is printed."""
        if answer is not None:
            return answer
        if self.is_terminal:
            return click.confirm(question, default=True, err=True)
        say(f"{question} No: add {flag}.", err=True)
        return False


class SetupOutput(JsonOutput):
    """What was set up."""

    models: tuple[str, ...]
    """The llm model ids that answered."""

    saved: str | None
    """The name of the saved consortium; None if one of that name was not replaced."""

    files: tuple[str, ...]
    """The configurations of MCP clients that have an entry now."""


@click.command()
@click.option(
    "--provider",
    "providers",
    multiple=True,
    type=click.Choice(_NAMES),
    help="A provider to ask; repeat the option for more. [those with a key here, and Ollama where it runs]",
)
@click.option("-m", "--model", "models", multiple=True, help="A further member; repeat the option for more.")
@click.option("--arbiter", help="Who judges. [the first member]")
@click.option("--plugins/--no-plugins", "install_plugins", default=None, help="Install missing llm plugins. [asked]")
@click.option(
    "--store-keys/--no-store-keys",
    default=None,
    help="Store keys of this environment in llm's file of keys, where clients find them. [asked]",
)
@click.option("--name", default="default", help="The name of the saved consortium. [default]")
@click.option("--replace/--no-replace", default=None, help="Replace a saved consortium of that name. [asked]")
@click.option(
    "--client",
    "clients",
    multiple=True,
    metavar="CLIENT",
    help="An MCP client that gets an entry; repeat the option for more. [asked]",
)
@json_option(SetupOutput)
def setup(as_json: bool, **answers: Any) -> None:
    """Set up keys, plugins, a first consortium and MCP clients.

    It looks for keys and for Ollama, gets the missing llm plugins, and asks each model one tiny question. Then it saves
    a consortium and writes the entries of MCP clients. Each question on a terminal has a flag.
    """
    given = Answers(**answers, is_terminal=is_terminal(sys.stdin) and is_terminal(sys.stderr))
    _check_clients(given.clients)
    chosen = _chosen(given, find_providers())
    _take_keys(given, chosen)
    if missing := [state.package for state in chosen.values() if state.package]:
        _get_plugins(given, chosen, missing, as_json)
        chosen = {name: state for name, state in chosen.items() if state.package is None}
    models = list(dict.fromkeys([*_first_models(chosen), *given.models]))
    if missing and not models:
        raise ConsortiumError(f"Without {', '.join(missing)}, there is no model to ask. Add --plugins.")
    answering = _answering(models, given.arbiter)
    if not answering:
        raise ConsortiumError(
            "No model answered, so nothing was saved. `consortium-mcp setup --provider local` needs no key."
        )
    saved = _save(given, answering)
    files = [_put_entry(client) for client in _clients(given)]
    if as_json:
        print_json(SetupOutput(models=tuple(answering), saved=saved, files=tuple(files)))
    elif saved:
        click.echo(f"Ready. Ask it with: consortium-mcp consult --consortium {given.name} 'your question'")


def _check_clients(clients: Sequence[str]) -> None:
    known = hosts()
    for client in clients:
        if client not in known:
            raise click.BadParameter(f"{client!r} is none of: {', '.join(known)}.", param_hint="--client")


def _chosen(given: Answers, found: Mapping[str, ProviderState]) -> dict[str, ProviderState]:
    """The providers to ask."""
    for state in found.values():
        if state.is_ready:
            say(f"Found {_there(state)}.", err=True)
    ready = [name for name, state in found.items() if state.is_ready]
    names: Sequence[str] = given.providers or ([] if given.models else ready)
    if not given.providers and given.is_terminal:
        say(f"Providers: {', '.join(found)}.", err=True)
        text = click.prompt("Which ones, separated by commas?", default=",".join(ready or ["local"]), err=True)
        names = [word.strip() for word in text.split(",") if word.strip()]
    if unknown := [name for name in names if name not in found]:
        raise click.UsageError(f"No provider {unknown[0]!r}. There are: {', '.join(found)}.")
    if not names and not given.models:
        raise ConsortiumError(
            "No key and no Ollama was found here. Name a provider: --provider openai, or --provider local."
        )
    return {name: found[name] for name in names}


def _there(state: ProviderState) -> str:
    provider = provider_named(state.name)
    assert provider is not None
    if state.runs:
        return f"{provider.title}, which runs here"
    place = "llm's stored keys" if state.key == "stored" else str(provider.variable)
    return f"a key for {provider.title} in {place}"


def _take_keys(given: Answers, chosen: Mapping[str, ProviderState]) -> None:
    """Ensure that each provider has a key that clients find, because they do not see this environment."""
    for state in chosen.values():
        provider = provider_named(state.name)
        if provider is None or provider.variable is None or state.key == "stored":
            continue
        if state.key == "environment":
            question = f"Store {provider.variable} in llm's file of keys, where MCP clients find it?"
            if given.agree(question, given.store_keys, "--store-keys"):
                _store_key(provider.name, os.environ[provider.variable])
        elif given.is_terminal:
            _store_key(provider.name, click.prompt(f"Key for {provider.title}", hide_input=True, err=True).strip())
        else:
            raise ConsortiumError(
                f"There is no key for {provider.title}. Set {provider.variable}, or run `llm keys set {provider.name}`."
            )


def _store_key(name: str, key: str) -> None:
    """Store a key as `llm keys set` does."""
    command = llm.cli.keys_set.callback
    assert command is not None
    command(name=name, value=key)


def _get_plugins(given: Answers, chosen: Mapping[str, ProviderState], missing: list[str], as_json: bool) -> None:
    """Install missing plugins and continue in a new process that has them; or print the command that installs them."""
    command = package_command(missing)
    if not given.agree(f"Missing: {', '.join(missing)}. Install now?", given.install_plugins, "--plugins"):
        say(f"Without {', '.join(missing)}: {command}.", err=True)
        return
    rest = ["setup", *_flags(given, chosen, as_json)]
    if command.changes_this:
        say(f"Running {shlex.join(command.words)}", err=True)
        done = subprocess.run(command.words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            say(done.stdout, err=True)
            raise ConsortiumError(f"The plugins could not be installed. The command was {command}.")
        sys.exit(subprocess.run([sys.executable, "-m", "consortium_mcp", *rest]).returncode)
    if command.words[0] != "uvx":
        raise ConsortiumError(f"This installation cannot be changed while it runs. {command}.")
    sys.exit(subprocess.run([*own_launch(missing, "uvx").words, *rest]).returncode)


def _flags(given: Answers, chosen: Mapping[str, ProviderState], as_json: bool) -> Iterator[str]:
    """The flags for the answers so far; plugins are not checked again."""
    for flag, values in (("--provider", chosen), ("--model", given.models), ("--client", given.clients)):
        for value in values:
            yield from (flag, value)
    if given.arbiter:
        yield from ("--arbiter", given.arbiter)
    yield from ("--name", given.name, "--no-plugins", "--no-store-keys")
    if given.replace is not None:
        yield "--replace" if given.replace else "--no-replace"
    if as_json:
        yield "--json"


def _first_models(chosen: Mapping[str, ProviderState]) -> list[str]:
    """One model of each provider."""
    if "local" in chosen and chosen["local"].package is None and chosen_weights() is None:
        show_fetch()
    catalogue, allowed, models = load_catalogue(), load_settings().allowed_models, []
    for name in chosen:
        provider = provider_named(name)
        assert provider is not None
        if (entry := first_model(catalogue, provider, allowed)) is None:
            say(f"{provider.title} has no model that can be used; `consortium-mcp models` says why.", err=True)
        else:
            models.append(entry.model_id)
    return models


def _answering(models: Sequence[str], arbiter: str | None) -> list[str]:
    """Ask each model, and the arbiter, one tiny question, and print the results; returns the models that answered."""
    results = ask_each(list(dict.fromkeys([*models, *([arbiter] if arbiter else [])])))
    for model, result in results.items():
        if result.ok:
            say(f"{model} answered in {result.duration_ms / 1000:.1f} s.", err=True)
        else:
            say(f"{model} did not answer: {result.error}", err=True)
    if arbiter and not results[arbiter].ok:
        raise ConsortiumError(f"The arbiter {arbiter} did not answer, so nothing was saved. Name another --arbiter.")
    return [model for model in models if results[model].ok]


def _save(given: Answers, models: Sequence[str]) -> str | None:
    """Save the consortium; its name, or None if an existing one is kept."""
    consortium = first_consortium(models, given.arbiter)
    with ConsortiumService() as service:
        if given.name in service.store.consortiums.list_names.sync():
            question = f"There is a consortium {given.name!r} already. Replace it?"
            if not given.agree(question, given.replace, "--replace, or another --name"):
                return None
        service.definitions.save(given.name, consortium, load_catalogue(), overwrite=True)
    say(f"Saved {given.name}: {', '.join(models)}; {consortium.arbiter} judges.", err=True)
    return given.name


def _clients(given: Answers) -> Sequence[str]:
    """The clients that get an entry; on a terminal, those with a file on this machine are offered."""
    if given.clients or not given.is_terminal:
        return given.clients
    here = [name for name, host in hosts().items() if host_file(host).exists()]
    say(f"Clients: {', '.join(hosts())}.", err=True)
    text = click.prompt(
        ("Which clients get an entry, separated by commas? (none)"), default=",".join(here) or "none", err=True
    )
    chosen = [word.strip() for word in text.split(",") if word.strip() not in ("", "none")]
    _check_clients(chosen)
    return chosen


def _put_entry(client: str) -> str:
    """Add our entry to a client's file; returns its path."""
    host = hosts()[client]
    addresses = [provider.address for provider in PROVIDERS if provider.address]
    variables = {name: os.environ[name] for name in (*NOT_SEEN, *addresses) if os.environ.get(name)}
    done = install(host, "consortium", Wanted(variables))
    say(f"{host.title}: {done.path}. {host.next_step}", err=True)
    return str(done.path)
