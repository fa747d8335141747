"""`setup`: from a key to a working consortium, by flags and by questions."""

import json
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import llm
import pytest
from click.testing import CliRunner, Result

import consortium_mcp.cli.setup as setup_command
from consortium_mcp.cli import main
from consortium_mcp.installation.setup.choosing import first_model
from consortium_mcp.installation.setup.finding import find_providers
from consortium_mcp.models.catalogue import Catalogue, ModelEntry
from consortium_mcp.models.providers import provider_named
from consortium_mcp.service.service import ConsortiumService
from tests.plugins import install_plugin
from tests.provider import Fault, Provider, verdict

WRONG_KEY = Fault.refused("wrong key", 401, "invalid_api_key", "Incorrect API key provided.")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own, without keys and without Ollama."""
    for name in ("XDG_CONFIG_HOME", "CLAUDE_CONFIG_DIR", "CODEX_HOME", "LLM_GEMINI_KEY", "LLM_MISTRAL_KEY"):
        monkeypatch.delenv(name, raising=False)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("OLLAMA_HOST", f"127.0.0.1:{unused.getsockname()[1]}")
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    return folder


def run(*arguments: str, typed: str | None = None) -> Result:
    """`consortium-mcp setup …` in this process; a failure is a sentence, never a traceback."""
    done = CliRunner().invoke(main, ["setup", *arguments], input=typed)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command is on a terminal."""
    monkeypatch.setattr(setup_command, "is_terminal", lambda stream: True)


def members(service: ConsortiumService, name: str = "default") -> list[str]:
    """The members of a saved consortium."""
    return [f"{member.model}:{member.count}" for member in service.store.consortiums.load.sync(name).members]


def test_models_that_answer_become_the_default_consortium_and_a_client_gets_its_entry(
    provider: Provider, service: ConsortiumService, home: Path, llm_home: Path
) -> None:
    provider.on("b", WRONG_KEY)
    done = run("-m", "a", "-m", "b", "-m", "c", "--client", "cursor", "--json")

    assert done.exit_code == 0 and json.loads(done.stdout)["models"] == ["a", "c"]
    assert "b did not answer:" in done.stderr and members(service) == ["a:1", "c:1"]
    entry = json.loads((home / ".cursor" / "mcp.json").read_text())["mcpServers"]["consortium"]
    assert entry["env"]["LLM_USER_PATH"] == str(llm_home)
    provider.on("a", ["Paris.", verdict("Paris.")])
    provider.on("c", "Paris.")
    assert "Paris." in CliRunner().invoke(main, ["consult", "Capital of France?", "--no-stdin"]).stdout


def test_a_model_that_is_alone_answers_three_times(provider: Provider, service: ConsortiumService) -> None:
    done = run("-m", "a", "--name", "alone", "--arbiter", "arbiter")

    assert done.exit_code == 0 and members(service, "alone") == ["a:3"]
    assert service.store.consortiums.load.sync("alone").arbiter == "arbiter"
    assert "consortium-mcp consult --consortium alone" in done.stdout


def test_a_consortium_of_that_name_stays_unless_the_flag_or_a_person_says_so(
    provider: Provider, service: ConsortiumService
) -> None:
    run("-m", "a")

    kept = run("-m", "b")
    assert members(service) == ["a:3"] and "add --replace" in kept.stderr
    run("-m", "b", "--replace")
    assert members(service) == ["b:3"]


def test_without_a_model_that_answers_nothing_is_saved(provider: Provider, service: ConsortiumService) -> None:
    provider.on("a", WRONG_KEY)

    done = run("-m", "a", "--client", "cursor")

    assert done.exit_code == 1 and "No model answered, so nothing was saved." in done.stderr
    assert service.store.consortiums.list_names.sync() == []


def test_an_arbiter_that_does_not_answer_is_refused(provider: Provider, service: ConsortiumService) -> None:
    provider.on("arbiter", WRONG_KEY)

    done = run("-m", "a", "--arbiter", "arbiter")

    assert done.exit_code == 1 and "The arbiter arbiter did not answer, so nothing was saved." in done.stderr
    assert service.store.consortiums.list_names.sync() == []


def test_without_anything_it_says_what_to_name() -> None:
    done = run()

    assert done.exit_code == 1 and "No key and no Ollama was found here." in done.stderr
    assert "'nowhere' is none of:" in run("--client", "nowhere").stderr


def test_a_key_of_the_environment_is_stored_for_clients_only_when_asked(
    llm_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant")

    first = run("--no-plugins")
    assert "Found a key for Anthropic in ANTHROPIC_API_KEY." in first.stderr and "add --store-keys" in first.stderr
    assert not (llm_home / "keys.json").exists()

    second = run("--no-plugins", "--store-keys")
    keys = llm_home / "keys.json"
    assert json.loads(keys.read_text())["anthropic"] == "sk-ant" and stat.S_IMODE(keys.stat().st_mode) == 0o600
    assert "Without llm-anthropic: `" in second.stderr and "install llm-anthropic` installs it." in second.stderr
    assert "sk-ant" not in first.output + second.output
    assert second.stderr.endswith("Error: Without llm-anthropic, there is no model to ask. Add --plugins.\n")


def test_a_provider_without_a_key_is_refused_with_the_remedy() -> None:
    assert "Set LLM_GEMINI_KEY, or run `llm keys set gemini`." in run("--provider", "gemini").stderr


def test_a_missing_plugin_is_installed_and_a_new_process_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant")
    started: list[list[str]] = []

    def record(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        started.append([str(word) for word in command])
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", record)

    done = run("--provider", "anthropic", "-m", "a", "--client", "cursor", "--plugins", "--store-keys", "--json")

    assert done.exit_code == 0 and started[0][-2:] == ["install", "llm-anthropic"]
    assert started[1][:4] == [sys.executable, "-m", "consortium_mcp", "setup"]
    again = ["--provider", "anthropic", "--model", "a", "--client", "cursor", "--name", "default"]
    assert started[1][4:] == [*again, "--no-plugins", "--no-store-keys", "--json"]


@pytest.mark.usefixtures("person")
def test_a_person_is_asked_for_providers_keys_and_clients(
    provider: Provider, service: ConsortiumService, llm_home: Path, add_model: Callable[..., None]
) -> None:
    typed = "mistral,anthropic\nsk-mistral\nsk-ant\nn\nnone\n"

    done = run("-m", "a", typed=typed)

    keys = json.loads((llm_home / "keys.json").read_text())
    assert done.exit_code == 0 and (keys["mistral"], keys["anthropic"]) == ("sk-mistral", "sk-ant")
    assert "Which ones, separated by commas?" in done.stderr and "Missing: llm-mistral, llm-anthropic." in done.stderr
    assert "sk-mistral" not in done.output and members(service) == ["a:3"]


def test_ollama_is_found_where_it_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not find_providers()["ollama"].runs
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        for named in (f"127.0.0.1:{port}", f"http://127.0.0.1:{port}", f"0.0.0.0:{port}"):
            monkeypatch.setenv("OLLAMA_HOST", named)
            assert find_providers()["ollama"].runs


def test_a_plugin_that_is_here_is_not_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_plugin(tmp_path, "llm_gemini", "")
    monkeypatch.syspath_prepend(tmp_path)

    found = find_providers()

    assert (found["gemini"].package, found["anthropic"].package) == (None, "llm-anthropic")
    assert found["openai"].package is None


class Model(llm.Model):
    """A model that needs no key."""

    def __init__(self, model_id: str) -> None:
        self.model_id = model_id

    def execute(self, *_: object, **__: object) -> Iterator[str]:
        """Nothing."""
        return iter(())


def test_the_first_model_is_the_newest_that_the_provider_is_known_for() -> None:
    names = [
        "anthropic/claude-3-opus",
        "anthropic/claude-sonnet-4-5",
        "anthropic/claude-sonnet-5-5",
        "anthropic/claude-opus-9",
    ]
    entries = [ModelEntry(name, (), "llm-anthropic", Model(name), None) for name in names]
    others = [ModelEntry("groq-x", (), "llm-groq", Model("groq-x"), None)]
    catalogue = Catalogue((*entries, *others))

    def first(provider: str, *allowed: str) -> str | None:
        named = provider_named(provider)
        assert named is not None
        found = first_model(catalogue, named, allowed)
        return found.model_id if found else None

    assert first("anthropic") == "anthropic/claude-sonnet-5-5" and first("groq") == "groq-x"
    assert first("anthropic", "*opus*") == "anthropic/claude-3-opus" and first("gemini") is None
