"""Changes TOML in place: comments and order of the rest stay."""

from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError


def read(text: str) -> dict[str, Any]:
    """The content of the text.

    Raises:
        ValueError: it is not TOML.
    """
    return _parsed(text).unwrap()


def put(text: str, keys: Sequence[str], value: Any) -> str:
    """The text with a value at a path of keys; missing tables on the path are added.

    Raises:
        ValueError: it is not TOML, or a key on the path has a value that is not a table.
    """
    file = _parsed(text)
    table: MutableMapping[str, Any] = file
    for key in keys[:-1]:
        table = table.setdefault(key, {})
        if not isinstance(table, MutableMapping):
            raise ValueError(f"{key!r} in it is not a table")
    _become(table, keys[-1], value)
    return tomlkit.dumps(file)


def remove(text: str, keys: Sequence[str]) -> str:
    """The text without the value at a path of keys.

    Raises:
        ValueError: it is not TOML, or there is no such value.
    """
    file = _parsed(text)
    table: Any = file
    try:
        for key in keys[:-1]:
            table = table[key]
        del table[keys[-1]]
    except (KeyError, TypeError):
        raise ValueError(f"{keys[-1]!r} is not in it") from None
    return tomlkit.dumps(file)


def dump(value: Mapping[str, Any]) -> str:
    """The text of a whole file with this content."""
    return tomlkit.dumps(value)


def _become(table: MutableMapping[str, Any], key: str, value: Any) -> None:
    """Change only differences; a table that loses a value is written anew."""
    known = table.get(key)
    if not isinstance(known, MutableMapping) or not isinstance(value, Mapping) or set(known) - set(value):
        table[key] = value
        return
    for name in [name for name, one in value.items() if known.get(name) != one]:
        known[name] = value[name]


def _parsed(text: str) -> tomlkit.TOMLDocument:
    try:
        return tomlkit.parse(text)
    except TOMLKitError as error:
        raise ValueError(str(error)) from error
