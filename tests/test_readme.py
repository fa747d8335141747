"""The docs say what is so: tables are generated, examples run. `python -m tests.test_readme` writes the tables."""

import ast
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import anyio
import click
import pytest

from consortium_mcp.cli import main
from consortium_mcp.server import build_server
from consortium_mcp.service.runner import Runner
from consortium_mcp.service.service import ConsortiumService
from consortium_mcp.settings import Settings
from tests.provider import Provider, verdict
from tests.test_cli import run_command
from tests.test_structure import MODULES, ORDER, PACKAGE

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
COMMANDS = ROOT / "docs" / "commands.md"

PROGRAMS = {"consortium-mcp": ("-m", "consortium_mcp"), "llm": ("-m", "llm")}

SET_UP = ("make ", "python3 -m venv ", ".venv/bin/", "llm install ")
"""How lines begin that set up a machine: the demo's and the local model's own tests run what they do."""


async def _tools_table(database: Path) -> str:
    with ConsortiumService(Settings(database=database)) as service:
        server = build_server(Runner(service))
        tools = await server.list_tools()
        resources = await server.list_resources()
        templates = await server.list_resource_templates()
    lines = ["| tool | parameters | does |", "|---|---|---|"]
    for tool in tools:
        parameters = ", ".join(f"`{name}`" for name in tool.input_schema.get("properties", {})) or "none"
        lines.append(f"| `{tool.name}` | {parameters} | {_first_sentence(tool.description)} |")
    lines += ["", "| resource | holds |", "|---|---|"]
    lines += [f"| `{resource.uri}` | {_first_sentence(resource.description)} |" for resource in resources]
    lines += [f"| `{template.uri_template}` | {_first_sentence(template.description)} |" for template in templates]
    return "\n".join(lines)


def _settings_table() -> str:
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        shown = ",".join(field.default) if isinstance(field.default, tuple) else field.default
        default = "" if shown in (None, "") else f"`{shown}`"
        lines.append(f"| `CONSORTIUM_{name.upper()}` | {default} | {field.description} |")
    return "\n".join(lines)


def _tree() -> str:
    """The package's folders from the ground up, each with its files below it."""
    lines = ["```", "consortium_mcp/"]
    tops = list(dict.fromkeys(name.partition(".")[0] for name in ORDER))
    for name in sorted(ORDER, key=lambda name: (tops.index(name.partition(".")[0]), name)):
        indent = "  " * (name.count(".") + 1)
        file = name.rpartition(".")[2] + ("/" if (PACKAGE / name.replace(".", "/")).is_dir() else ".py")
        sentence = (ast.get_docstring(MODULES[name]) or "").splitlines()[0]
        lines.append(f"{indent + file:<28} {sentence}")
    return "\n".join([*lines, "```"])


def commands() -> dict[str, click.Command]:
    """Every command by the words that call it, in the order of `--help`."""
    found: dict[str, click.Command] = {}

    def add(words: str, command: click.Command) -> None:
        found[words] = command
        if isinstance(command, click.Group):
            ctx = click.Context(command)
            for name in command.list_commands(ctx):
                child = command.get_command(ctx, name)
                assert child is not None
                add(f"{words} {name}", child)

    add("consortium-mcp", main)
    return found


def _commands_page() -> str:
    lines = ["# Commands", "", "What `--help` says of each. The same commands stand under `llm consortium`,"]
    lines += ["where `run` is another name of `consult`, and the default."]
    for words, command in commands().items():
        help_text = command.get_help(click.Context(command, info_name=words, terminal_width=100))
        lines += ["", f"## {words}", "", "```", help_text, "```"]
    return "\n".join(lines) + "\n"


def _first_sentence(text: str | None) -> str:
    return " ".join((text or "").split("\n\n")[0].split())


def generated(database: Path) -> dict[str, str]:
    """Every generated part of the README by its name."""
    return {"tools": anyio.run(_tools_table, database), "settings": _settings_table(), "tree": _tree()}


def with_part(text: str, name: str, part: str) -> str:
    """The README with one generated part put in its place."""
    pattern = re.compile(rf"(<!-- {name}: [^\n]*-->\n).*?(<!-- /{name} -->)", re.DOTALL)
    assert pattern.search(text), f"README has no place for {name}"
    return pattern.sub(lambda found: f"{found[1]}{part}\n{found[2]}", text)


@pytest.mark.parametrize("name", ["tools", "settings", "tree"])
def test_the_generated_tables_are_up_to_date(name: str, tmp_path: Path) -> None:
    text = README.read_text()

    assert with_part(text, name, generated(tmp_path / "test.db")[name]) == text, "python -m tests.test_readme"


def test_the_claude_desktop_entry_is_the_example_file() -> None:
    shown = re.search(r"```json\n(.*?)```", README.read_text(), re.DOTALL)

    assert shown and json.loads(shown[1]) == json.loads((ROOT / "claude_desktop_config.example.json").read_text())


def test_the_page_of_commands_is_up_to_date() -> None:
    assert COMMANDS.read_text() == _commands_page(), "python -m tests.test_readme"


def test_every_command_stands_in_the_readme() -> None:
    quoted = " ".join(re.findall(r"`[^`\n]+`", README.read_text()))

    for words in commands():
        assert re.search(rf"\b{words.removeprefix('consortium-mcp ')}\b", quoted), words


@pytest.mark.parametrize("words", commands())
def test_help_says_something_of_a_command_and_of_each_option(words: str) -> None:
    command = commands()[words]

    assert command.help and "..." not in command.get_help(click.Context(command, terminal_width=100)).partition("\n")[2]
    assert [option.name for option in command.params if isinstance(option, click.Option) and not option.help] == []


def test_every_command_that_prints_data_prints_json_too() -> None:
    """The others print a script, or what they are told to export; a server prints nothing."""
    leaves = {words for words, command in commands().items() if not isinstance(command, click.Group)}
    with_json = {words for words in leaves if any(option.name == "as_json" for option in commands()[words].params)}

    without = {words.removeprefix("consortium-mcp ") for words in leaves - with_json}
    assert without == {"serve", "completion", "runs export"}
    assert any(option.name == "as_json" for option in commands()["consortium-mcp runs"].params)


def test_the_examples_for_the_shell_run(provider: Provider, llm_home: Path) -> None:
    provider.write_llm_config(llm_home, ["gpt-5", "claude-opus-5"], schema=["gemini-pro"])
    provider.on("gemini-pro", verdict("Only if the request is idempotent", confidence=0.86))
    lines = [line.removeprefix("$ ") for line in README.read_text().splitlines() if line.startswith("$ ")]
    ours = [line for line in lines if not line.startswith(SET_UP)]

    for line in ours:
        program, *words = shlex.split(line, comments=True)
        done = run_command(*words, program=PROGRAMS[program], stdin="exit\n")
        assert done.returncode == 0, (line, done.stderr)
    assert len(ours) >= 3


def test_the_python_example_runs(local_weights: Path) -> None:
    example = re.search(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert example is not None

    done = subprocess.run([sys.executable, "-c", example[1]], capture_output=True, text=True, timeout=100)

    assert (done.returncode, done.stderr) == (0, "") and done.stdout.strip()


if __name__ == "__main__":
    import tempfile

    text = README.read_text()
    for name, part in generated(Path(tempfile.mkdtemp()) / "readme.db").items():
        text = with_part(text, name, part)
    README.write_text(text)
    COMMANDS.parent.mkdir(exist_ok=True)
    COMMANDS.write_text(_commands_page())
