"""The formats of configuration files, each with functions to read and change it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from consortium_mcp.installation.files import jsonc, toml, yaml

FormatName = Literal["json", "jsonc", "toml", "yaml"]


@dataclass(frozen=True)
class Format:
    """A file format; each function raises ValueError for a text in another format."""

    title: str
    """Its name for people."""

    read: Callable[[str], dict[str, Any]]
    """Parses a text."""

    put: Callable[[str, Sequence[str], Any], str]
    """The text with a value at a path of keys."""

    remove: Callable[[str, Sequence[str]], str]
    """The text without the value at a path of keys."""

    dump: Callable[[Mapping[str, Any]], str]
    """Formats a whole file with a value."""


def file_format(name: FormatName) -> Format:
    """The format with that name; `json` allows no comments."""
    match name:
        case "toml":
            return Format("TOML", toml.read, toml.put, toml.remove, toml.dump)
        case "yaml":
            return Format("YAML", yaml.read, yaml.put, yaml.remove, yaml.dump)
        case "json":
            return Format(
                "JSON without comments",
                partial(jsonc.read, comments=False),
                partial(jsonc.put, comments=False),
                partial(jsonc.remove, comments=False),
                jsonc.dump,
            )
        case "jsonc":
            return Format("JSON", jsonc.read, jsonc.put, jsonc.remove, jsonc.dump)
