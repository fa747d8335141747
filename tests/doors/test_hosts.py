"""Every row of the table of hosts: its files, its entries, and the files after `uninstall`."""

import json
import re
import stat
import sys
import tomllib
from base64 import b64decode
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
import yaml
from click.testing import CliRunner, Result

from consortium_mcp.cli import main
from consortium_mcp.installation import own_command
from consortium_mcp.installation.hosts.entries import Launch
from consortium_mcp.installation.hosts.links import adding_link
from consortium_mcp.installation.hosts.places import host_file
from consortium_mcp.installation.hosts.table import hosts

UVX = "/programs/uvx"
LINE: dict[str, Any] = {"command": UVX, "args": ["consortium-mcp"]}
URL = "https://team.example/mcp"
BEARER = {"Authorization": "Bearer sk-team"}


class Row(NamedTuple):
    """The expected files of a host, derived by hand from its documents."""

    place: str
    project: str | None
    table: tuple[str, ...]
    local: dict[str, Any]
    remote: dict[str, Any] | None


def reached(variable: str | None = None, **more: Any) -> dict[str, Any]:
    """An entry with a URL; None means that the token itself stands in it."""
    header = {"Authorization": f"Bearer {variable}"} if variable else BEARER
    return {"url": URL, "headers": header, **more}


GOOSE = {"name": "consortium", "description": "Ask several models one question", "enabled": True, "timeout": 900}
IN_LIST = {"type": "local", "command": [UVX, "consortium-mcp"]}
SERVERS = ("mcpServers",)
CODE = ".config/Code/User/globalStorage"

ROWS = {
    "claude-desktop": Row(".config/Claude/claude_desktop_config.json", None, SERVERS, LINE, None),
    "lm-studio": Row(".lmstudio/mcp.json", None, SERVERS, LINE, reached()),
    "goose": Row(
        ".config/goose/config.yaml",
        None,
        ("extensions",),
        {**GOOSE, "type": "stdio", "cmd": UVX, "args": ["consortium-mcp"], "bundled": None},
        {
            **GOOSE,
            "type": "streamable_http",
            "uri": URL,
            "env_keys": ["TEAM_TOKEN"],
            "headers": {"Authorization": "Bearer ${TEAM_TOKEN}"},
        },
    ),
    "vscode": Row(
        ".config/Code/User/mcp.json",
        ".vscode/mcp.json",
        ("servers",),
        {"type": "stdio", **LINE},
        reached("${env:TEAM_TOKEN}", type="http"),
    ),
    "vscode-insiders": Row(
        ".config/Code - Insiders/User/mcp.json",
        ".vscode/mcp.json",
        ("servers",),
        {"type": "stdio", **LINE},
        reached("${env:TEAM_TOKEN}", type="http"),
    ),
    "cursor": Row(".cursor/mcp.json", ".cursor/mcp.json", SERVERS, LINE, reached("${env:TEAM_TOKEN}")),
    "windsurf": Row(
        ".config/devin/mcp_config.json",
        None,
        SERVERS,
        LINE,
        {"serverUrl": URL, "headers": {"Authorization": "Bearer ${env:TEAM_TOKEN}"}},
    ),
    "zed": Row(".config/zed/settings.json", ".zed/settings.json", ("context_servers",), LINE, reached()),
    "kiro": Row(".kiro/settings/mcp.json", ".kiro/settings/mcp.json", SERVERS, LINE, reached("${TEAM_TOKEN}")),
    "antigravity": Row(
        ".gemini/config/mcp_config.json",
        ".agents/mcp_config.json",
        SERVERS,
        LINE,
        {"serverUrl": URL, "headers": BEARER},
    ),
    "cline": Row(
        ".cline/data/settings/cline_mcp_settings.json",
        None,
        SERVERS,
        {**LINE, "timeout": 900},
        reached(type="streamableHttp", timeout=900),
    ),
    "roo": Row(
        f"{CODE}/rooveterinaryinc.roo-cline/settings/mcp_settings.json",
        ".roo/mcp.json",
        SERVERS,
        {**LINE, "timeout": 900},
        reached("${env:TEAM_TOKEN}", type="streamable-http", timeout=900),
    ),
    "kilo": Row(
        ".config/kilo/kilo.jsonc",
        ".kilo/kilo.jsonc",
        ("mcp",),
        {**IN_LIST, "enabled": True, "timeout": 60_000},
        reached("{env:TEAM_TOKEN}", type="remote", enabled=True),
    ),
    "continue": Row(
        ".continue/mcpServers/consortium-mcp.json",
        ".continue/mcpServers/consortium-mcp.json",
        SERVERS,
        {"type": "stdio", **LINE},
        reached(type="http"),
    ),
    "junie": Row(".junie/mcp/mcp.json", ".junie/mcp/mcp.json", SERVERS, LINE, reached()),
    "claude-code": Row(
        ".claude.json",
        ".mcp.json",
        SERVERS,
        {"type": "stdio", "timeout": 900_000, **LINE},
        reached("${TEAM_TOKEN}", type="http", timeout=900_000),
    ),
    "codex": Row(
        ".codex/config.toml",
        ".codex/config.toml",
        ("mcp_servers",),
        {**LINE, "startup_timeout_sec": 60, "tool_timeout_sec": 900},
        {"url": URL, "bearer_token_env_var": "TEAM_TOKEN", "startup_timeout_sec": 60, "tool_timeout_sec": 900},
    ),
    "gemini-cli": Row(
        ".gemini/settings.json",
        ".gemini/settings.json",
        SERVERS,
        {**LINE, "timeout": 900_000},
        {"httpUrl": URL, "headers": {"Authorization": "Bearer ${TEAM_TOKEN}"}, "timeout": 900_000},
    ),
    "qwen-code": Row(
        ".qwen/settings.json",
        ".qwen/settings.json",
        SERVERS,
        {**LINE, "timeout": 900_000},
        {"httpUrl": URL, "headers": {"Authorization": "Bearer ${TEAM_TOKEN}"}, "timeout": 900_000},
    ),
    "copilot-cli": Row(
        ".copilot/mcp-config.json",
        ".mcp.json",
        SERVERS,
        {"type": "local", **LINE, "tools": ["*"]},
        reached("${TEAM_TOKEN}", type="http", tools=["*"]),
    ),
    "opencode": Row(
        ".config/opencode/opencode.jsonc", "opencode.jsonc", ("mcp", "servers"), IN_LIST, reached(type="remote")
    ),
    "opencode-v1": Row(
        ".config/opencode/opencode.jsonc",
        "opencode.jsonc",
        ("mcp",),
        {**IN_LIST, "enabled": True, "timeout": 60_000},
        reached("{env:TEAM_TOKEN}", type="remote", enabled=True),
    ),
    "amp": Row(".config/amp/settings.json", ".amp/settings.json", ("amp.mcpServers",), LINE, reached("${TEAM_TOKEN}")),
    "warp": Row(".warp/.mcp.json", ".warp/.mcp.json", SERVERS, LINE, reached()),
    "factory": Row(
        ".factory/mcp.json",
        ".factory/mcp.json",
        SERVERS,
        {"type": "stdio", **LINE, "disabled": False},
        reached(type="http", disabled=False),
    ),
    "grok": Row(
        ".grok/config.toml",
        ".grok/config.toml",
        ("mcp_servers",),
        {**LINE, "startup_timeout_sec": 60},
        reached("${TEAM_TOKEN}"),
    ),
    "crush": Row(
        ".config/crush/crush.json",
        "crush.json",
        ("mcp",),
        {"type": "stdio", **LINE, "timeout": 900},
        reached("$TEAM_TOKEN", type="http", timeout=900),
    ),
}

WRITTEN = {
    "json": [
        "{}",
        '{\n  "mcpServers": {}\n}\n',
        '{\n  "numStartups": 7,\n  "mcpServers": {\n    "other": {\n      "command": "npx",\n      "args": ["-y"]\n'
        '    }\n  },\n  "projects": {\n    "/p": {"mcpServers": {}}\n  }\n}',
    ],
    "jsonc": [
        "{}",
        '\ufeff{\r\n\t"TABLE": {\r\n\t\t"other": {\r\n\t\t\t"command": "npx"\r\n\t\t}\r\n\t}\r\n}\r\n',
        '// My settings\n//\n// See the documentation.\n{\n  "theme": "därk", // the good one\n  "TABLE": {\n'
        '    /* the first */\n    "other": { "command": "npx", "args": ["-y", "x"], }, // keep\n    // the end\n  },\n'
        '  "agent": {"profiles": ["a", "b"]},\n}\n',
        '{"$schema": "https://example.com/x.json", "TABLE": {"other": {"url": "https://x"}}}',
        '{\n    "TABLE": {\n        // nothing yet\n    }\n}\n',
    ],
    "toml": [
        "",
        '# my settings\nmodel = "gpt-5"   # the good one\n\n[mcp_servers.other]\ncommand = "npx"  # keep me\nargs = [\n'
        '    "-y",  # yes\n    "other",\n]\n\n[profiles.fast]\nmodel = "gpt-5-mini"\n',
        'model = "x"\r\n[mcp_servers]\r\n[mcp_servers.a]\r\ncommand = "b"\r\n',
    ],
    "yaml": [
        "GOOSE_PROVIDER: anthropic\n",
        "# my settings\nextensions:\n  developer:\n    bundled: true\n    enabled: true\n    name: developer\n"
        "    timeout: 300   # seconds\n    type: builtin\n\n# the models\nGOOSE_MODEL: claude-opus-5\n"
        "GOOSE_HINTS: |\n  one\n  two\n",
        "extensions: {}\nGOOSE_MODE: auto",
        "extensions:\r\n    memory:\r\n        args: ['a', \"b\"]\r\n",
    ],
}
"""Files as these programs and their users write them; TABLE is the table of servers."""

BROKEN = {"json": "{\n  // a comment\n}", "jsonc": '{"a": [1,}', "toml": "= what", "yaml": "a: [1\n"}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own, on a machine with uvx, where our package comes from an index."""
    folder = tmp_path / "home"
    (folder / "project").mkdir(parents=True)
    for name in ("XDG_CONFIG_HOME", "CLAUDE_CONFIG_DIR", "CODEX_HOME", "COPILOT_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("TEAM_TOKEN", "sk-team")
    monkeypatch.chdir(folder / "project")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(own_command, "origin", lambda: None)
    monkeypatch.setattr(own_command, "plugins_here", lambda: [])
    monkeypatch.setattr("shutil.which", lambda name, path=None: UVX if name == "uvx" else None)
    return folder


def run(*arguments: str) -> Result:
    """`consortium-mcp …` in this process; a failure is a sentence, never a traceback."""
    done = CliRunner().invoke(main, list(arguments))
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def entry(host: str, path: Path) -> dict[str, Any]:
    """The entry in a host's file, read as the host reads it."""
    text = path.read_text(encoding="utf-8-sig")
    readers: dict[str, Any] = {"toml": tomllib.loads, "yaml": yaml.safe_load}
    value = readers.get(hosts()[host].file, json.loads)(text)
    for key in (*ROWS[host].table, "consortium"):
        value = value[key]
    return dict(value)


def files_in(folder: Path) -> dict[str, bytes]:
    """What is in a folder and those below it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_table_of_the_tests_has_every_host() -> None:
    assert set(ROWS) == set(hosts()) and len(ROWS) >= 20
    assert [one.name for one in hosts().values() if not one.source.startswith("https://")] == []


@pytest.mark.parametrize("host", ROWS)
def test_a_host_gets_its_entry_where_it_looks_for_it(host: str, home: Path) -> None:
    row = ROWS[host]

    first = run("install", host)

    assert first.exit_code == 0 and str(home / row.place) in first.stdout and "Next: " in first.stdout
    assert list(files_in(home)) == [row.place] and entry(host, home / row.place) == row.local
    assert stat.S_IMODE((home / row.place).stat().st_mode) == 0o600
    assert run("uninstall", host).exit_code == 0 and files_in(home) == {}
    if row.project is None:
        assert "has no file for a project" in run("install", host, "--project").stderr
    else:
        run("install", host, "--project")
        assert list(files_in(home)) == [f"project/{row.project}"]
        assert entry(host, home / "project" / row.project) == row.local


@pytest.mark.parametrize("host", ROWS)
def test_a_host_reaches_a_teams_server(host: str, home: Path) -> None:
    row = ROWS[host]

    done = run("install", host, "--url", URL, "--token-variable", "TEAM_TOKEN")

    if row.remote is None:
        assert done.exit_code == 1 and "under Connectors" in done.stderr and files_in(home) == {}
        return
    path = home / row.place
    assert done.exit_code == 0 and entry(host, path) == row.remote
    assert ("sk-team" in path.read_text()) == (BEARER in row.remote.values())
    assert run("install", host).exit_code == 0 and entry(host, path) == row.local  # it starts one again
    run("install", host, "--url", "http://localhost:8000/mcp")
    assert "TEAM_TOKEN" not in path.read_text()


@pytest.mark.parametrize("host", ROWS)
def test_after_uninstall_a_file_is_byte_for_byte_what_it_was(host: str, home: Path) -> None:
    row = ROWS[host]
    path = home / row.place
    path.parent.mkdir(parents=True, exist_ok=True)
    for text in WRITTEN[hosts()[host].file]:
        before = text.replace("TABLE", row.table[0]).encode()
        path.write_bytes(before)
        path.chmod(0o644)

        assert run("install", host).exit_code == 0
        once = path.read_bytes()
        again = run("install", host)
        assert "nothing was changed" in again.stdout and path.read_bytes() == once
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
        assert run("install", host, "--env", "OPENAI_API_KEY=sk-1").exit_code == 0
        left = [one for one in before.decode("utf-8-sig").splitlines() if re.search(r"(//|/\*|#) ", one)]
        assert [one for one in left if one not in path.read_text(encoding="utf-8-sig").splitlines()] == []
        assert {stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir() if one.is_file()} == {0o600}
        assert "sk-1" in path.read_text(encoding="utf-8-sig")

        gone = run("uninstall", host)
        assert "is what it was before" in gone.stdout and files_in(home) == {row.place: before}
        assert "nothing was changed" in run("uninstall", host).stdout
        path.unlink()


@pytest.mark.parametrize("host", ROWS)
def test_a_broken_file_stays_and_the_entry_is_there_to_be_pasted(host: str, home: Path) -> None:
    path = home / ROWS[host].place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(BROKEN[hosts()[host].file])
    before = files_in(home)

    done, gone = run("install", host), run("uninstall", host)

    assert done.exit_code == gone.exit_code == 1 and files_in(home) == before
    assert "cannot be read as" in done.stderr and "Put this into it yourself" in done.stderr and UVX in done.stderr
    assert gone.stderr.count("\n") == 1 and "it stays as it is." in gone.stderr


@pytest.mark.parametrize("kind", ["json", "jsonc", "toml", "yaml"])
def test_uninstall_keeps_what_was_changed_since(kind: str, home: Path) -> None:
    host = next(one for one in hosts().values() if one.file == kind)
    path = home / ROWS[host.name].place
    path.parent.mkdir(parents=True)
    path.write_text(WRITTEN[kind][1].replace("TABLE", host.table[0]).replace("\ufeff", ""))
    run("install", host.name, "--name", "panel")
    run("install", host.name)

    gone = run("uninstall", host.name, "--name", "panel")

    text = path.read_text()
    assert "The rest of the file is unchanged." in gone.stdout and "panel" not in text and UVX in text
    assert "other" in text or "developer" in text or kind == "json"


def test_on_windows_and_macos_the_files_are_where_those_keep_them(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APPDATA", "/roaming")
    monkeypatch.setenv("LOCALAPPDATA", str(home / "local"))
    all_hosts = hosts()

    monkeypatch.setattr(sys, "platform", "darwin")
    support = home / "Library" / "Application Support"
    assert host_file(all_hosts["claude-desktop"]) == support / "Claude" / "claude_desktop_config.json"
    assert host_file(all_hosts["vscode"]) == support / "Code" / "User" / "mcp.json"
    assert host_file(all_hosts["zed"]) == home / ".config" / "zed" / "settings.json"
    monkeypatch.setattr(sys, "platform", "win32")
    assert host_file(all_hosts["claude-desktop"]) == Path("/roaming/Claude/claude_desktop_config.json")
    assert host_file(all_hosts["goose"]) == Path("/roaming/Block/goose/config/config.yaml")
    package = home / "local" / "Packages" / "Claude_pzs8sxrjxfjjc"
    package.mkdir(parents=True)
    inside = package / "LocalCache" / "Roaming" / "Claude" / "claude_desktop_config.json"
    assert host_file(all_hosts["claude-desktop"]) == inside
    assert run("install", "claude-desktop").exit_code == 0 and entry("claude-desktop", inside) == LINE


def test_the_links_hold_the_entry() -> None:
    launch = Launch("uvx", ("consortium-mcp",))
    link = {name: adding_link(host, "consortium", launch) for name, host in hosts().items()}
    short = {"command": "uvx", "args": ["consortium-mcp"]}

    for host in ("cursor", "lm-studio"):
        query = parse_qs(urlsplit(link[host]).query)
        assert query["name"] == ["consortium"] and json.loads(b64decode(query["config"][0])) == short
    assert json.loads(parse_qs(urlsplit(link["kiro"]).query)["config"][0]) == short
    inner = parse_qs(urlsplit(link["vscode"]).query)["url"][0]
    assert inner.startswith("vscode:mcp/install?")
    assert json.loads(unquote(inner.partition("?")[2])) == {"name": "consortium", "type": "stdio", **short}
    assert "cmd=uvx&arg=consortium-mcp" in link["goose"]


def test_a_file_that_is_there_is_taken_before_the_one_that_would_be_made(home: Path) -> None:
    for host, older in {"windsurf": ".codeium/windsurf/mcp_config.json", "amp": ".config/amp/settings.jsonc"}.items():
        (home / older).parent.mkdir(parents=True, exist_ok=True)
        (home / older).write_text("{}")
        assert host_file(hosts()[host]) == home / older
