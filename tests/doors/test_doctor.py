"""`doctor`: the state of each part in a line, with the repair."""

import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from consortium_mcp.installation.doctor.models import check_models
from consortium_mcp.records.consortium import define
from consortium_mcp.service.service import ConsortiumService
from consortium_mcp.settings import load_settings
from tests.doors.test_cli import run_command
from tests.plugins import install_plugin
from tests.provider import Fault, Provider

Line = dict[str, str]
"""A check as JSON; where there is no remedy, that is null."""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own, without any client and without the local model's weights."""
    for name in ("XDG_CONFIG_HOME", "CLAUDE_CONFIG_DIR", "CODEX_HOME"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    return folder


def examined(*options: str) -> tuple[int, list[Line]]:
    """The exit status and the lines."""
    done = run_command("doctor", "--json", *options)
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout)["checks"]


def about(name: str, *options: str) -> list[Line]:
    """The lines about one thing."""
    return [line for line in examined(*options)[1] if line["about"] == name]


def test_a_sound_installation_has_no_problem(provider: Provider) -> None:
    Path(os.environ["LLM_USER_PATH"], "keys.json").chmod(0o600)
    run_command("save", "default", "-m", "a:2", "--arbiter", "arbiter")

    status, lines = examined()

    states = {line["about"]: line["state"] for line in lines}
    assert status == 0 and states.pop("Local model") == "warning" and set(states.values()) == {"ok"}
    expected = ["Python", "Packages", "Settings", "Database", "Network", "Keys", "Models", "Consortiums", "Default"]
    assert list(states) == [*expected, "llm logs"]
    assert provider.count() == 0


@pytest.mark.local
def test_the_lines_for_people_say_the_same(provider: Provider) -> None:
    done = run_command("doctor")

    assert done.returncode == 0
    assert (
        "warning Local model: The local model's weights are not in" in done.stdout
        and "\nok      Database: " in done.stdout
    )


def test_no_usable_model_is_a_problem_with_its_remedy() -> None:
    status, lines = examined()

    (models,) = [line for line in lines if line["about"] == "Models"]
    assert status == 1 and models["state"] == "problem" and "`consortium-mcp setup`" in models["remedy"]


WAYS = ("in CONSORTIUM_DEFAULT. ", "save default -m MODEL", "llm keys set openai", "local-model fetch")


@pytest.mark.parametrize("model_names", [[], ["a", "b"], ["a", "b", "c", "d", "e", "f"]])
def test_without_a_default_it_names_the_four_ways_to_one_and_some_models_that_can_be_named(
    model_names: list[str], service: ConsortiumService, llm_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLM_MODEL", "gpt-4o-mini")
    service.store.consortiums.save.sync("saved-panel", define(members=[{"model": "a"}]))
    with Provider() as provider:
        provider.write_llm_config(llm_home, model_names)
        (default,) = about("Default")

    named = f"Models to name: {', '.join(model_names[:5])}{', …' if len(model_names) > 5 else ''}. "
    assert (named if model_names else "No model can be used. ") in default["found"]
    assert default["state"] == "warning" and all(way in default["found"] for way in WAYS)


def test_a_setting_that_is_wrong_or_unknown_is_named(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSORTIUM_DEADLINE", "60")
    (unknown,) = about("Settings")
    monkeypatch.setenv("CONSORTIUM_WAIT_SECONDS", "soon")
    checks = examined()[1]
    wrong = next(check for check in checks if check["about"] == "Settings")
    skipped = next(check for check in checks if check["about"] == "Not checked")

    assert (unknown["state"], unknown["found"]) == ("warning", "Unknown setting CONSORTIUM_DEADLINE.")
    assert wrong["state"] == "problem" and "CONSORTIUM_WAIT_SECONDS is 'soon'" in wrong["found"]
    assert sum("CONSORTIUM_WAIT_SECONDS" in check["found"] for check in checks) == 1
    assert skipped["found"].startswith("Database, Models, Consortiums, Local model: ")


def test_a_key_that_no_plugin_uses_names_the_plugin(
    provider: Provider, llm_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_plugin(tmp_path, "llm_mistral", "")
    monkeypatch.syspath_prepend(tmp_path)
    keys = json.loads((llm_home / "keys.json").read_text())
    keys |= {"anthropic": "sk-1", "mistral": "sk-2", "openai": "sk-3", "my-own": "sk-4"}
    (llm_home / "keys.json").write_text(json.dumps(keys))
    monkeypatch.setenv("LLM_GEMINI_KEY", "sk-5")

    unused = [check for check in check_models() if check.about == "Keys" and "no plugin" in check.found]

    assert [(one.state, one.found) for one in unused] == [
        ("warning", "keys.json holds a key for anthropic; no plugin here uses it."),
        ("warning", "LLM_GEMINI_KEY is a key for gemini; no plugin here uses it."),
    ]
    assert unused[0].remedy is not None and "install llm-anthropic` installs it." in unused[0].remedy


def no_database(path: Path) -> None:
    path.write_bytes(b"this is no database, whatever its name says" * 100)


def damaged(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE INDEX newer ON runs (answer)")
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_master SET rootpage = 2 WHERE name = 'newer'")
    connection.close()


def newer(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO _sqlite_migrations VALUES (999, 'consortium_mcp', 'm999', '2030')")
    connection.close()


@pytest.mark.parametrize(
    ("break_it", "said"), [(no_database, "no SQLite file"), (damaged, "damaged"), (newer, "newer release")]
)
def test_a_database_that_cannot_be_used_is_a_problem(
    provider: Provider, break_it: Callable[[Path], None], said: str
) -> None:
    run_command("list")
    break_it(load_settings().database_path)

    status, lines = examined()

    database = next(line for line in lines if line["about"] == "Database")
    assert status == 1 and database["state"] == "problem" and said in database["found"]


def test_keys_that_others_can_read_and_a_file_that_is_damaged(provider: Provider, llm_home: Path) -> None:
    (llm_home / "keys.json").chmod(0o644)
    readable = about("Keys")[0]
    (llm_home / "keys.json").write_text("{")
    (models,) = about("Models")

    assert readable["state"] == "warning" and "chmod 600" in readable["remedy"]
    assert models["state"] == "problem" and "keys.json is broken: line 1 is not valid JSON" in models["found"]


def test_a_consortium_that_cannot_run_and_a_broken_plugin_are_warnings(
    provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site").mkdir()
    install_plugin(tmp_path / "site", "ill_plugin", "raise ValueError('it is ill')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    run_command("save", "panel", "-m", "nobody-knows-this")
    monkeypatch.setenv("CONSORTIUM_DEFAULT", "nothing")

    _, lines = examined()

    warnings = {line["about"]: line["found"] for line in lines if line["state"] == "warning"}
    assert "'panel' cannot run: llm knows no model" in warnings["Consortiums"]
    assert "ill_plugin is broken" in warnings["Models"] and "CONSORTIUM_DEFAULT names 'nothing'" in warnings["Default"]


def test_the_remedy_of_a_broken_plugin_names_its_package_and_not_its_module(
    provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site").mkdir()
    install_plugin(tmp_path / "site", "llm_ill", "raise ValueError('it is ill')", "[llm]\nill = llm_ill\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))

    (broken,) = (line for line in about("Models") if "is broken" in line["found"])

    assert broken["remedy"] == "Update it with `llm install -U llm-ill`, or remove it with `llm uninstall llm-ill`."


def test_a_strategy_of_another_package_that_is_broken_is_a_warning(
    provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site").mkdir()
    added = "[consortium_mcp.strategies]\nwait = ill:wait\n"
    install_plugin(tmp_path / "site", "ill", "raise ValueError('it is ill')", added)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))

    (addition,) = about("Additions")

    assert addition["state"] == "warning" and "The strategy 'wait' of ill is left out" in addition["found"]


def test_a_clients_entry_is_checked_down_to_its_command(provider: Provider, home: Path) -> None:
    run_command("install", "codex")
    run_command("install", "cursor", "--name", "panel")
    (home / ".claude.json").write_text('{"mcpServers": {"other": {"command": "npx"}}}')
    (home / ".config" / "Claude").mkdir(parents=True)
    (home / ".config" / "Claude" / "claude_desktop_config.json").write_text("{")
    cursor = json.loads((home / ".cursor" / "mcp.json").read_text())
    cursor["mcpServers"]["panel"]["command"] = "/gone/consortium-mcp"
    (home / ".cursor" / "mcp.json").write_text(json.dumps(cursor))

    status, lines = examined()

    found = {line["about"]: line for line in lines}
    assert status == 1 and found["Codex"]["state"] == "ok"
    assert found["Codex"]["found"].endswith("and 9 tools are listed")
    assert found["Cursor"]["state"] == "problem" and "'/gone/consortium-mcp' does not exist" in (
        found["Cursor"]["found"] or ""
    )
    assert found["Cursor"]["remedy"] == "`consortium-mcp install cursor --name panel` writes it again."
    assert "`consortium-mcp install claude-code` adds it" in found["Claude Code"]["found"]
    assert found["Claude Desktop"]["state"] == "warning"


def test_an_entry_with_the_url_of_a_teams_server_is_ours(provider: Provider, home: Path) -> None:
    run_command("install", "cursor", "--url", "https://team.example/mcp", "--token-variable", "TEAM_TOKEN")

    (found,) = about("Cursor")

    assert found["state"] == "ok"
    assert found["found"] == "'consortium' reaches https://team.example/mcp; that server was not asked"


def test_an_entry_that_starts_no_server_is_a_problem_with_what_it_said(provider: Provider, home: Path) -> None:
    program = home / "consortium-mcp"
    program.write_text("#!/bin/sh\necho 'the module mcp is missing' >&2\nexit 1\n")
    program.chmod(0o755)
    (home / ".claude.json").write_text(json.dumps({"mcpServers": {"panel": {"command": str(program)}}}))

    (line,) = about("Claude Code")

    assert line["state"] == "problem" and line["found"].endswith(
        f"{program} starts no server: the module mcp is missing"
    )


def test_a_command_that_only_a_shell_finds_is_a_warning(provider: Provider, home: Path) -> None:
    (home / ".claude.json").write_text('{"mcpServers": {"panel": {"command": "sh", "args": ["consortium-mcp"]}}}')

    (line,) = about("Claude Code")

    assert line["state"] == "warning" and "'sh' is not an absolute path" in line["found"]


def test_live_calls_each_hosted_model_that_would_be_asked_once(provider: Provider) -> None:
    provider.on("b", Fault.wrong_key())
    run_command("save", "panel", "-m", "a:3", "-m", "b|c", "--arbiter", "arbiter")
    run_command("save", "outer", "-m", "panel", "-m", "a", "--arbiter", "arbiter")

    status, lines = examined("--live")

    live = {line["about"]: line for line in lines if line["about"].startswith("Live")}
    assert sorted(live) == ["Live: a", "Live: arbiter", "Live: b", "Live: c"]
    assert status == 1 and live["Live: b"]["state"] == "problem" and "llm keys set" in live["Live: b"]["found"]
    assert sorted(request.model for request in provider.requests) == ["a", "arbiter", "b", "c"]
    assert live["Live: a"]["state"] == "ok" and live["Live: a"]["found"].startswith("answered in ")


def test_llms_log_is_looked_at(provider: Provider, llm_home: Path) -> None:
    (llm_home / "logs.db").write_bytes(b"no database" * 500)
    (broken,) = about("llm logs")
    (llm_home / "logs-off").touch()
    (off,) = about("llm logs")

    assert broken["state"] == "warning" and "llm logs off" in broken["remedy"]
    assert off["state"] == "ok"


BROKEN_FILES = [
    (
        "extra-openai-models.yaml",
        "- model_id: m\n   model_name: m\n",
        "line 2 is not valid YAML: mapping values",
        "Correct",
    ),
    (
        "extra-openai-models.yaml",
        "- model_id: m\n  model_name: m\n- model_id: n\n",
        "the model at line 3 has no model_name",
        "Add",
    ),
    ("extra-openai-models.yaml", "model_id: m\n", "it is not a list of models", "Begin each model with"),
    ("extra-openai-models.yaml", "", "it is not a list of models", "Begin each model with"),
    ("extra-openai-models.yaml", "- m\n", "line 1 is not a model", "Write it as `- model_id: NAME`"),
    ("aliases.json", '{"a": "b",\n oops}', "line 2 is not valid JSON: Expecting property name", "Correct"),
    ("aliases.json", '["a"]', "it is not a JSON object", "Write it as `{…}`"),
    ("aliases.json", '{"a": 3}', "the alias 'a' names no model", "Write the id"),
    ("keys.json", '{"a": "b"\n\n oops}', "line 3 is not valid JSON: Expecting ',' delimiter", "Correct"),
    ("keys.json", "[]", "it is not a JSON object", "Write it as `{…}`"),
]
"""A file of llm, what stands in it, what is wrong with it, and the beginning of the remedy."""


@pytest.mark.parametrize(("name", "content", "fault", "remedy"), BROKEN_FILES)
def test_a_broken_file_of_llm_is_one_problem_with_its_line(
    llm_home: Path, name: str, content: str, fault: str, remedy: str
) -> None:
    (llm_home / name).write_text(content)

    status, lines = examined()

    (problem,) = [line["found"] for line in lines if line["state"] == "problem"]
    assert status == 1 and problem.startswith(f"llm's file {llm_home / name} is broken: {fault}")
    assert f". {remedy}" in problem and problem.endswith(", or move the file away.")
    assert "openai_models" not in str(lines) and "Default" not in {line["about"] for line in lines}


def test_a_broken_file_of_models_is_named_where_its_model_is_missed(llm_home: Path) -> None:
    (llm_home / "extra-openai-models.yaml").write_text("- model_id: m\n   model_name: m\n")

    for command in (("consult", "?", "-m", "m"), ("models", "m")):
        said = run_command(*command).stderr
        assert "extra-openai-models.yaml is broken: line 2 is not valid YAML" in said and "plugin" not in said


def test_options_that_llm_cannot_read_are_a_warning(provider: Provider, llm_home: Path) -> None:
    (llm_home / "model_options.json").write_text('{"a":\n oops}')

    assert "model_options.json is broken: line 2 is not valid JSON" in str(about("Models"))
