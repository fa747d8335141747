"""`install`: our entry in the clients' configurations, which otherwise stay as they were."""

import json
import os
import stat
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from consortium_mcp.installation.client_configs import client_files, entry_text, own_entry
from tests.doors.test_cli import run_command
from tests.paths import ROOT

JSON_CLIENTS = ["claude-desktop", "claude-code", "vscode", "cursor"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own, where uvx is installed."""
    for name in ("XDG_CONFIG_HOME", "CLAUDE_CONFIG_DIR", "CODEX_HOME"):
        monkeypatch.delenv(name, raising=False)
    programs = tmp_path / "home" / "bin"
    programs.mkdir(parents=True)
    (programs / "uvx").touch(mode=0o755)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return tmp_path / "home"


def read(client: str) -> dict[str, Any]:
    """A client's file as the client reads it."""
    text = client_files()[client].path().read_text()
    return tomllib.loads(text) if client == "codex" else dict(json.loads(text))


def written(client: str, text: str) -> Path:
    """A client's file that says this."""
    path = client_files()[client].path()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_the_example_file_is_the_entry_with_uvx_by_its_name(home: Path) -> None:
    client = client_files()["claude-desktop"]
    text = entry_text(client, "consortium", own_entry(client))

    assert json.loads(text.replace(str(home / "bin" / "uvx"), "uvx")) == json.loads(
        (ROOT / "claude_desktop_config.example.json").read_text()
    )


@pytest.mark.parametrize(
    ("client", "place", "table", "more"),
    [
        ("claude-desktop", ".config/Claude/claude_desktop_config.json", "mcpServers", {}),
        ("claude-code", ".claude.json", "mcpServers", {"type": "stdio", "timeout": 900_000}),
        ("vscode", ".config/Code/User/mcp.json", "servers", {"type": "stdio"}),
        ("cursor", ".cursor/mcp.json", "mcpServers", {}),
        ("codex", ".codex/config.toml", "mcp_servers", {"startup_timeout_sec": 60, "tool_timeout_sec": 900}),
    ],
)
def test_each_client_gets_its_entry_where_it_looks_for_it(
    home: Path, client: str, place: str, table: str, more: dict[str, Any]
) -> None:
    done = run_command("install", client, "--env", "OPENAI_API_KEY=sk-1=2")

    arguments = ["--from", "consortium-mcp[local]", "consortium-mcp"]
    entry = {"command": str(home / "bin" / "uvx"), "args": arguments, **more, "env": {"OPENAI_API_KEY": "sk-1=2"}}
    assert done.returncode == 0 and str(home / place) in done.stdout and "Next: " in done.stdout
    assert client_files()[client].path() == home / place and read(client) == {table: {"consortium": entry}}
    assert stat.S_IMODE((home / place).stat().st_mode) == 0o600


def test_on_other_platforms_the_files_are_where_those_keep_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APPDATA", "/roaming")
    desktop, code = client_files()["claude-desktop"], client_files()["vscode"]

    monkeypatch.setattr(sys, "platform", "darwin")
    support = Path.home() / "Library" / "Application Support"
    assert desktop.path() == support / "Claude" / "claude_desktop_config.json"
    assert code.path() == support / "Code" / "User" / "mcp.json"
    monkeypatch.setattr(sys, "platform", "win32")
    assert desktop.path() == Path("/roaming/Claude/claude_desktop_config.json")


def test_without_uvx_the_entry_starts_this_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    entry = json.loads(run_command("install", "cursor", "--print").stdout)["mcpServers"]["consortium"]

    assert Path(entry["command"]).is_absolute() and os.access(entry["command"], os.X_OK)
    assert [entry["command"], *entry["args"]] in (
        [str(Path(sys.executable).parent / "consortium-mcp")],
        [sys.executable, "-m", "consortium_mcp"],
    )


@pytest.mark.parametrize("client", JSON_CLIENTS)
def test_what_else_is_in_a_json_file_stays_and_the_old_file_is_kept(client: str) -> None:
    table = client_files()[client].table
    before = {"theme": "därk", table: {"other": {"command": "x"}}, "projects": {"/p": {"mcpServers": {}}}}
    path = written(client, json.dumps(before))
    path.chmod(0o640)

    run_command("install", client)

    entry = read(client)[table].pop("consortium")
    after = read(client)
    del after[table]["consortium"]
    (backup,) = path.parent.glob(f"{path.name}.*.bak")
    assert after == before and entry["command"].endswith("/uvx")
    assert json.loads(backup.read_text()) == before and stat.S_IMODE(path.stat().st_mode) == 0o640


CODEX = """\
# my settings
model = "gpt-5"   # the good one

[mcp_servers.other]
command = "npx"  # keep me
args = [
    "-y",  # yes
    "other",
]

[profiles.fast]
model = "gpt-5-mini"

[mcp_servers.consortium]
command = "old"  # where it was
startup_timeout_sec = 30

[mcp_servers.consortium.env]
OPENAI_API_KEY = "sk-1"

[tui]
theme = "x"
"""


def test_what_else_is_in_codexs_file_stays_to_the_comment() -> None:
    written("codex", CODEX)

    run_command("install", "codex", "--name", "panel", "--env", "A=1")

    text = client_files()["codex"].path().read_text()
    assert {line for line in CODEX.splitlines() if line} <= set(text.splitlines())
    assert read("codex")["mcp_servers"]["panel"]["env"] == {"A": "1"}


def test_an_entry_of_the_same_name_keeps_its_variables_and_what_ours_does_not_say(home: Path) -> None:
    written("codex", CODEX)
    written("cursor", json.dumps({"mcpServers": {"consortium": {"command": "old", "env": {"A": "1"}, "note": 7}}}))

    for client in ("codex", "cursor"):
        assert run_command("install", client, "--env", "B=2").returncode == 0

    codex = read("codex")
    entry = codex["mcp_servers"]["consortium"]
    assert entry["command"] == str(home / "bin" / "uvx") and entry["env"] == {"OPENAI_API_KEY": "sk-1", "B": "2"}
    assert entry["startup_timeout_sec"] == 60 and codex["tui"] == {"theme": "x"}
    assert codex["mcp_servers"]["other"] == tomllib.loads(CODEX)["mcp_servers"]["other"]
    cursor = read("cursor")["mcpServers"]["consortium"]
    assert (cursor["env"], cursor["note"]) == ({"A": "1", "B": "2"}, 7)


def test_an_entry_that_reaches_a_server_elsewhere_is_replaced() -> None:
    written("cursor", json.dumps({"mcpServers": {"consortium": {"url": "http://x", "headers": {"a": "b"}}}}))

    run_command("install", "cursor")

    assert set(read("cursor")["mcpServers"]["consortium"]) == {"command", "args"}


def test_the_same_entry_again_changes_nothing() -> None:
    run_command("install", "codex")
    path = client_files()["codex"].path()
    before = (path.read_bytes(), path.stat().st_mtime_ns)

    again = run_command("install", "codex")

    assert "nothing was changed" in again.stdout
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before and list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("client", "text"),
    [
        ("vscode", '{\n  // my servers\n  "servers": {},\n}\n'),
        ("cursor", "[]"),
        ("cursor", '{"mcpServers": []}'),
        ("codex", "= what"),
        ("codex", "mcp_servers = 3\n"),
    ],
)
def test_a_file_that_cannot_be_read_stays_and_the_entry_is_there_to_be_pasted(client: str, text: str) -> None:
    path = written(client, text)

    done = run_command("install", client)

    assert (
        done.returncode == 1 and "Put this into it yourself" in done.stderr and "consortium-mcp[local]" in done.stderr
    )
    assert path.read_text() == text and list(path.parent.iterdir()) == [path] and "Traceback" not in done.stderr


@pytest.mark.parametrize("client", ["codex", "vscode"])
def test_an_entry_that_is_only_printed_is_json_where_that_is_wanted(home: Path, client: str) -> None:
    printed = json.loads(run_command("install", client, "--print", "--json", "--name", "panel").stdout)

    assert set(printed) == {client_files()[client].table} and "command" in next(iter(printed.values()))["panel"]


def test_print_writes_nothing(home: Path) -> None:
    done = run_command("install", "codex", "--print", "--name", "panel")

    assert tomllib.loads(done.stdout)["mcp_servers"]["panel"]["tool_timeout_sec"] == 900
    assert sorted(path.name for path in home.iterdir()) == ["bin"]


def test_a_link_to_the_file_stays_a_link(home: Path, tmp_path: Path) -> None:
    (tmp_path / "dotfiles.json").write_text("{}")
    path = client_files()["cursor"].path()
    path.parent.mkdir()
    path.symlink_to(tmp_path / "dotfiles.json")

    run_command("install", "cursor")

    assert path.is_symlink() and "consortium" in json.loads((tmp_path / "dotfiles.json").read_text())["mcpServers"]


def test_a_file_that_cannot_be_written_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CODEX_HOME", str(tmp_path / "file" / "codex"))

    done = run_command("install", "codex")

    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "codex/config.toml cannot be written: Not a directory; it stays as it is." in done.stderr


def test_a_variable_of_this_shell_that_the_client_will_not_see_is_named() -> None:
    folder = os.environ["LLM_USER_PATH"]

    assert f"--env LLM_USER_PATH={folder}" in run_command("install", "cursor").stderr
    assert run_command("install", "cursor", "--env", f"LLM_USER_PATH={folder}").stderr == ""


def test_a_variable_without_a_value_is_wrong_usage() -> None:
    done = run_command("install", "cursor", "--env", "KEY")

    assert done.returncode == 2 and "'KEY' does not have the form NAME=VALUE" in done.stderr
