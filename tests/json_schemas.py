"""The schemas of what commands print with `--json`, in docs/json/, and the table of them in docs/json.md."""

import json
import re
from collections.abc import Iterator
from typing import Any

import click
from pydantic.json_schema import GenerateJsonSchema

from consortium_mcp.cli import main
from consortium_mcp.cli.json_output import ErrorOutput, JsonOption, JsonOutput
from tests.paths import ROOT

FOLDER = ROOT / "docs" / "json"


class Printed(GenerateJsonSchema):
    """Every field is printed, also one at its default."""

    def field_is_required(self, field: Any, total: bool) -> bool:
        """Yes."""
        return True


def json_commands(command: click.Command = main, path: str = "") -> Iterator[tuple[str, tuple[type[JsonOutput], ...]]]:
    """Each command with `--json`, and the records of which it prints one."""
    for option in command.params:
        if isinstance(option, JsonOption):
            yield path, option.kinds
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from json_commands(below, f"{path} {name}".strip())


def schema_of(kind: type[JsonOutput]) -> dict[str, Any]:
    """The JSON schema of a record as it is printed."""
    return kind.model_json_schema(schema_generator=Printed, mode="serialization")


def file_name(kind: type[JsonOutput]) -> str:
    """The file of a record's schema."""
    words = re.findall(r"[A-Z][a-z]+", kind.__name__.removesuffix("Output"))
    return f"{'-'.join(words).lower()}.json"


def schema_files() -> dict[str, str]:
    """Each file of docs/json with its content."""
    kinds = dict.fromkeys([kind for _, kinds in json_commands() for kind in kinds] + [ErrorOutput])
    files = {file_name(kind): json.dumps(schema_of(kind), indent=1) + "\n" for kind in kinds}
    return {name: re.sub(r"\bNone\b", "null", content) for name, content in files.items()}


def json_table() -> str:
    """Each command with the schemas of what it prints."""
    rows = ["| command | schema | content |", "|---|---|---|"]
    for path, kinds in json_commands():
        links = ", ".join(f"[{file_name(kind)}](json/{file_name(kind)})" for kind in kinds)
        rows.append(f"| `{path}` | {links} | {' Or: '.join(str(kind.__doc__) for kind in kinds)} |")
    return "\n".join(rows)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.json"):
        old.unlink()
    for name, content in schema_files().items():
        (FOLDER / name).write_text(content)
