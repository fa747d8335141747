"""The README says what is so: tables are generated, examples run. `python -m tests.test_readme` writes the tables."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import anyio
import click
import pytest

from consortium_mcp.cli import main
from consortium_mcp.consultancy import Consultancy
from consortium_mcp.runner import Runner
from consortium_mcp.server import build_server
from consortium_mcp.settings import Settings
from tests.test_structure import MODULES, ORDER, PACKAGE

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"


async def _tools_table(database: Path) -> str:
    with Consultancy(Settings(database=database)) as consultancy:
        server = build_server(Runner(consultancy))
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
        default = "" if field.default in (None, ()) else f"`{field.default}`"
        lines.append(f"| `CONSORTIUM_{name.upper()}` | {default} | {field.description} |")
    return "\n".join(lines)


def _tree() -> str:
    lines = ["```", "consortium_mcp/"]
    for name in ORDER:
        path = name.replace(".", "/") + ("/" if (PACKAGE / name.replace(".", "/")).is_dir() else ".py")
        sentence = (ast.get_docstring(MODULES[name]) or "").splitlines()[0]
        lines.append(f"  {path:<26} {sentence}")
    return "\n".join([*lines, "```"])


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


def test_every_command_stands_in_the_readme() -> None:
    text = README.read_text()

    for name in main.list_commands(click.Context(main)):
        assert re.search(rf"`[^`\n]*\b{name}\b[^`\n]*`", text), name


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
