"""llm's own files of this user: models, aliases, keys and options; the fault of each, with file and line."""

import json
from pathlib import Path
from typing import Any

import yaml

from consortium_mcp._util.lazy import llm
from consortium_mcp.errors import ModelUnavailableError

MODELS_FILE = "extra-openai-models.yaml"

READER = "llm.default_plugins.openai_models"
"""The plugin of llm that reads the file of models, and fails with it."""

_REQUIRED = ("model_id", "model_name")


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file of llm; empty if the file is missing.

    Raises ModelUnavailableError for a file that cannot be read, with its path and the line.
    """
    try:
        read = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except json.JSONDecodeError as error:
        raise _fault(path, f"line {error.lineno} is not valid JSON: {error.msg}", "Correct the line") from error
    except (OSError, ValueError, RecursionError) as error:
        raise _fault(path, f"it cannot be read: {_why(error)}", "Correct the file") from error
    if not isinstance(read, dict):
        raise _fault(path, "it is not a JSON object", "Write it as `{…}`")
    return read


def object_fault(path: Path) -> str | None:
    """The fault of a file of llm that holds a JSON object; None if it can be read, or is missing."""
    try:
        read_object(path)
    except ModelUnavailableError as error:
        return str(error)
    return None


def load_aliases() -> dict[str, list[str]]:
    """The user's own aliases by model id. Raises ModelUnavailableError for an unreadable file."""
    path = llm.user_dir() / "aliases.json"
    aliases: dict[str, list[str]] = {}
    for alias, model_id in read_object(path).items():
        if not isinstance(model_id, str):
            raise _fault(path, f"the alias {alias!r} names no model", "Write the id of a model after it")
        aliases.setdefault(model_id, []).append(alias)
    return aliases


def models_file_fault() -> str | None:
    """The fault of llm's file of further OpenAI-like models, with its line; None if llm can read it."""
    path = llm.user_dir() / MODELS_FILE
    if not path.exists():
        return None
    try:
        return _fault_of_models(path, yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + 1}" if mark else "it"
        return str(_fault(path, f"{line} is not valid YAML: {error.problem}", "Correct the line"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        return str(_fault(path, f"it cannot be read: {_why(error)}", "Correct the file"))


def _fault_of_models(path: Path, node: yaml.Node | None) -> str | None:
    if not isinstance(node, yaml.SequenceNode):
        return str(_fault(path, "it is not a list of models", "Begin each model with `- model_id: NAME`"))
    for entry in node.value:
        line = entry.start_mark.line + 1
        if not isinstance(entry, yaml.MappingNode):
            return str(_fault(path, f"line {line} is not a model", "Write it as `- model_id: NAME`"))
        names = {key.value for key, _ in entry.value}
        if missing := [name for name in _REQUIRED if name not in names]:
            return str(_fault(path, f"the model at line {line} has no {missing[0]}", "Add it"))
    return None


def _fault(path: Path, what: str, remedy: str) -> ModelUnavailableError:
    return ModelUnavailableError(f"llm's file {path} is broken: {what}. {remedy}, or move the file away.")


def _why(error: Exception) -> str:
    """The reason of an error, on one line."""
    return " ".join(str(getattr(error, "strerror", None) or error).split())
