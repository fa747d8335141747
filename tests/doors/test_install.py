"""`install`: the command that starts the server, the kept parts of an entry, and refusals."""

import json
import os
import stat
import sys
import tomllib
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from consortium_mcp.cli import main
from consortium_mcp.installation import own_command
from consortium_mcp.installation.client_configs import Wanted, entry_text, wanted_entry
from consortium_mcp.installation.hosts.places import host_file
from consortium_mcp.installation.hosts.table import hosts
from tests.paths import ROOT
from tests.plugins import install_plugin
from tests.server_process import connected


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own, on a machine with uvx, where our package comes from an index."""
    for name in ("XDG_CONFIG_HOME", "CLAUDE_CONFIG_DIR", "CODEX_HOME"):
        monkeypatch.delenv(name, raising=False)
    programs = tmp_path / "home" / "bin"
    programs.mkdir(parents=True)
    (programs / "uvx").touch(mode=0o755)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setattr(own_command, "origin", lambda: None)
    monkeypatch.setattr(own_command, "plugins_here", lambda: [])
    return tmp_path / "home"


def run(*arguments: str) -> Result:
    """`consortium-mcp install …` in this process; a failure is a sentence, never a traceback."""
    done = CliRunner().invoke(main, ["install", *arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def read(client: str) -> dict[str, Any]:
    """A client's file as the client reads it."""
    text = host_file(hosts()[client]).read_text()
    return tomllib.loads(text) if client == "codex" else dict(json.loads(text))


def written(client: str, text: str) -> Path:
    """A client's file that says this."""
    path = host_file(hosts()[client])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def arguments_of(name: str = "consortium") -> list[str]:
    """The arguments of an entry for Cursor."""
    return list(read("cursor")["mcpServers"][name]["args"])


def this_command() -> list[str]:
    """The command of an entry for Cursor that starts this installation."""
    entry = read("cursor")["mcpServers"]["consortium"]
    return [entry["command"], *entry["args"]]


THIS = (
    [str(Path(sys.executable).parent / "consortium-mcp")],
    [sys.executable, "-m", "consortium_mcp"],
)


def test_the_example_file_is_the_entry_with_uvx_by_its_name(home: Path) -> None:
    client = hosts()["claude-desktop"]
    text = entry_text(client, "consortium", wanted_entry(client, "consortium", Wanted()))

    assert json.loads(text.replace(str(home / "bin" / "uvx"), "uvx")) == json.loads(
        (ROOT / "claude_desktop_config.example.json").read_text()
    )


def test_without_uvx_the_entry_starts_this_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")

    run("cursor")

    assert this_command() in THIS and os.access(this_command()[0], os.X_OK)
    assert "uvx is not on the PATH" in run("cursor", "--command", "uvx").stderr


def test_an_installation_with_plugins_or_from_no_index_is_started_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_command, "plugins_here", lambda: ["llm-anthropic"])
    run("cursor")
    assert this_command() in THIS

    monkeypatch.setattr(own_command, "plugins_here", lambda: [])
    run("cursor")
    assert arguments_of() == ["consortium-mcp"]
    monkeypatch.setattr(own_command, "origin", lambda: {"url": "file:///src/consortium", "dir_info": {}})
    run("cursor")
    assert this_command() in THIS
    run("cursor", "--command", "uvx")
    assert arguments_of() == ["--from", "/src/consortium", "consortium-mcp"]


def test_what_an_installation_comes_from_is_read_from_its_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()

    recorded = own_command.origin()

    assert recorded is None or str(recorded["url"]).startswith(("file:", "https:", "http:", "ssh:"))


def test_plugins_are_found_by_their_entry_points(plugin_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.syspath_prepend(str(plugin_folder))
    install_plugin(plugin_folder, "llm_pelican", "")

    assert "llm-pelican" in own_command.packages_here() and "llm" not in own_command.packages_here()


def test_packages_are_in_the_command_and_kept_by_the_next_install() -> None:
    run("cursor", "--with", "llm-anthropic", "--with", "llm-gemini>=0.30")
    assert arguments_of() == ["--with", "llm-anthropic", "--with", "llm-gemini>=0.30", "consortium-mcp"]

    run("cursor", "--with", "llm-ollama", "--with", "llm-anthropic")

    kept = ["--with", "llm-anthropic", "--with", "llm-gemini>=0.30", "--with", "llm-ollama", "consortium-mcp"]
    assert arguments_of() == kept
    run("opencode", "--with", "llm-ollama")
    run("opencode")
    command = read("opencode")["mcp"]["servers"]["consortium"]["command"]
    assert command[1:] == ["--with", "llm-ollama", "consortium-mcp"]


def test_an_environment_that_uvx_made_gives_its_plugins_to_the_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", "/home/ann/.cache/uv/archive-v0/Ab3_x")
    monkeypatch.setattr(own_command, "packages_here", lambda: ["llm-anthropic"])
    commit = {"vcs": "git", "requested_revision": "main", "commit_id": "ab12"}
    monkeypatch.setattr(own_command, "origin", lambda: {"url": "https://example.com/c.git", "vcs_info": commit})

    run("cursor")

    source = "git+https://example.com/c.git@main"
    assert arguments_of() == ["--from", source, "--with", "llm-anthropic", "consortium-mcp"]


def test_a_package_that_this_installation_lacks_is_refused_with_the_remedy() -> None:
    done = run("cursor", "--command", "this", "--with", "llm-not-there", "--with", "click")

    assert done.exit_code == 1 and "Not in this installation: llm-not-there. `" in done.stderr
    assert "install llm-not-there`" in done.stderr and "click" not in done.stderr


def test_an_extra_whose_package_is_missing_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_llama(name: str) -> Distribution:
        if name == "xllamacpp":
            raise PackageNotFoundError(name)
        return distribution(name)

    monkeypatch.setattr(own_command, "distribution", without_llama)

    done = run("cursor", "--command", "this", "--with", "consortium-mcp[local]", "--with", "llm")

    assert done.exit_code == 1 and "Not in this installation: consortium-mcp[local]. `" in done.stderr


CODEX = """\
# my settings
model = "gpt-5"   # the good one

[mcp_servers.consortium]
command = "old"  # where it was
startup_timeout_sec = 30

[mcp_servers.consortium.env]
OPENAI_API_KEY = "sk-1"

[tui]
theme = "x"
"""


def test_an_entry_of_the_same_name_keeps_its_variables_and_what_ours_does_not_say(home: Path) -> None:
    written("codex", CODEX)
    written("cursor", json.dumps({"mcpServers": {"consortium": {"command": "old", "env": {"A": "1"}, "note": 7}}}))

    for client in ("codex", "cursor"):
        assert run(client, "--env", "B=2").exit_code == 0

    codex = read("codex")
    entry = codex["mcp_servers"]["consortium"]
    assert entry["command"] == str(home / "bin" / "uvx") and entry["env"] == {"OPENAI_API_KEY": "sk-1", "B": "2"}
    assert entry["startup_timeout_sec"] == 60 and codex["tui"] == {"theme": "x"}
    cursor = read("cursor")["mcpServers"]["consortium"]
    assert (cursor["env"], cursor["note"]) == ({"A": "1", "B": "2"}, 7)


def test_a_file_with_a_variable_is_its_owners_only_and_so_are_its_copies(home: Path) -> None:
    path = written("cursor", "{}")
    path.chmod(0o644)

    done = run("cursor", "--env", "OPENAI_API_KEY=sk-1=2")
    run("cursor", "--env", "OPENAI_API_KEY=sk-2")
    path.chmod(0o644)  # as a client may, that writes it anew
    assert "nothing was changed" in run("cursor").stdout

    modes = {stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir()}
    assert done.exit_code == 0 and len(list(path.parent.iterdir())) == 3 and modes == {0o600}
    assert read("cursor")["mcpServers"]["consortium"]["env"] == {"OPENAI_API_KEY": "sk-2"}


@pytest.mark.parametrize(
    ("client", "text"),
    [("cursor", "[]"), ("cursor", '{"mcpServers": []}'), ("codex", "mcp_servers = 3\n"), ("goose", "extensions: 7\n")],
)
def test_a_file_with_something_else_in_the_place_stays(client: str, text: str) -> None:
    path = written(client, text)

    done = run(client)

    assert done.exit_code == 1 and "Put this into it yourself" in done.stderr
    assert path.read_text() == text and list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("client", ["codex", "vscode", "goose"])
def test_an_entry_that_is_only_printed_is_json_where_that_is_wanted(client: str) -> None:
    printed = json.loads(run(client, "--print", "--json", "--name", "panel").stdout)["table"]

    assert set(printed) == {hosts()[client].table[0]} and "args" in next(iter(printed.values()))["panel"]


def test_print_writes_nothing(home: Path) -> None:
    done = run("codex", "--print", "--name", "panel")

    assert tomllib.loads(done.stdout)["mcp_servers"]["panel"]["tool_timeout_sec"] == 900
    assert sorted(path.name for path in home.iterdir()) == ["bin"]


def test_a_link_to_the_file_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "dotfiles.json").write_text("{}")
    path = host_file(hosts()["cursor"])
    path.parent.mkdir()
    path.symlink_to(tmp_path / "dotfiles.json")

    run("cursor")

    assert path.is_symlink() and "consortium" in json.loads((tmp_path / "dotfiles.json").read_text())["mcpServers"]


def test_a_file_that_cannot_be_written_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CODEX_HOME", str(tmp_path / "file" / "codex"))

    done = run("codex")

    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert "codex/config.toml cannot be written: Not a directory; it stays as it is." in done.stderr


def test_a_variable_of_this_shell_that_the_client_will_not_see_is_named() -> None:
    folder = os.environ["LLM_USER_PATH"]

    assert f"--env LLM_USER_PATH={folder}" in run("cursor").stderr
    assert run("cursor", "--env", f"LLM_USER_PATH={folder}").stderr == ""


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--env", "KEY"], "'KEY' does not have the form NAME=VALUE"),
        (["--name", ""], "'' is not a name of letters, digits, '-' and '_'"),
        (["--name", "a b"], "'a b' is not a name"),
        (["--url", "team.example"], "'team.example' is not an http or https URL"),
        (["--token-variable", "T"], "--token-variable needs --url"),
        (["--url", "https://x/mcp", "--token-variable", "$T"], "'$T' is not a variable name"),
        (["--with", "--index-url=x"], "'--index-url=x' is not a package name"),
        (["--url", "https://x/mcp", "--with", "llm-gemini"], "--url excludes --env, --with and --command"),
    ],
)
def test_wrong_usage_is_refused_before_anything_is_written(arguments: list[str], sentence: str, home: Path) -> None:
    done = run("cursor", *arguments)

    assert done.exit_code == 2 and sentence in done.stderr and not (home / ".cursor").exists()


def test_a_token_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.delenv("TEAM_TOKEN", raising=False)

    done = run("zed", "--url", "https://x/mcp", "--token-variable", "TEAM_TOKEN")

    assert done.exit_code == 1 and "Set TEAM_TOKEN here; its value goes into the file." in done.stderr
    assert not (home / ".config").exists()


def test_a_file_that_another_program_writes_meanwhile_is_not_overwritten(monkeypatch: pytest.MonkeyPatch) -> None:
    path = written("cursor", "{}")

    def written_meanwhile() -> list[str]:
        path.write_text('{"new": 1}')
        return []

    monkeypatch.setattr(own_command, "plugins_here", written_meanwhile)

    assert "Another program has changed" in run("cursor").stderr
    assert path.read_text() == '{"new": 1}' and list(path.parent.iterdir()) == [path]


def test_a_copy_that_cannot_be_read_does_not_stop_uninstall() -> None:
    path = written("cursor", "{}")
    path.with_name("mcp.json.20260101-000000-000000.bak").write_bytes(b"\xff")
    run("cursor")

    done = CliRunner().invoke(main, ["uninstall", "cursor"])

    assert done.exit_code == 0 and path.read_text() == "{}" and len(list(path.parent.iterdir())) == 2


def test_an_entry_of_another_program_is_not_taken_out() -> None:
    path = written("cursor", '{"mcpServers": {"consortium": {"command": "npx", "args": ["other"]}}}')

    done = CliRunner().invoke(main, ["uninstall", "cursor"])

    assert done.exit_code == 1 and "starts npx, not consortium-mcp, so the entry was not changed." in done.stderr
    assert "other" in path.read_text()


async def test_a_written_entry_starts_and_answers_tools_list(tmp_path: Path) -> None:
    run("cursor", "--command", "this", "--env", "CONSORTIUM_WAIT_SECONDS=7")
    entry = read("cursor")["mcpServers"]["consortium"]

    async with connected("auto", tmp_path / "log", *entry["args"], command=entry["command"], **entry["env"]) as client:
        tools = (await client.list_tools()).tools

    assert "consult_consortium" in {tool.name for tool in tools}
