"""Changes YAML in place, line by line: comments, order and layout of the rest stay."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import yaml


class _Member(NamedTuple):
    """A member of a mapping, with its line and the line after its end, counted from 0."""

    key: yaml.ScalarNode
    node: yaml.Node
    first_line: int
    end_line: int


def read(text: str) -> dict[str, Any]:
    """The content of the text; an empty text is an empty mapping.

    Raises:
        ValueError: it is not YAML, or not a mapping.
    """
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    if value is not None and not isinstance(value, dict):
        raise ValueError("it is not a mapping")
    return value or {}


def put(text: str, keys: Sequence[str], value: Any) -> str:
    """The text with a mapping at a path of two keys; the first key is added if it is missing.

    Raises:
        ValueError: it is not YAML, or the value of the first key is not a block mapping.
    """
    read(text)
    table_key, name = keys
    table = _member(_root(text), table_key, text)
    lines = text.splitlines(keepends=True)
    if table is None:
        return _ended(text) + _block({table_key: {name: value}}, 0, text)
    if not _is_mapping(table.node):
        raise ValueError(f"{table_key!r} in it is not a mapping")
    if not _members(table.node, text):  # empty, or {}
        line = lines[table.first_line]
        comment = line[table.node.end_mark.column :].rstrip() if table.node.end_mark.line == table.first_line else ""
        head = f"{line[: table.key.end_mark.column]}:{comment.removeprefix(':')}{_newline(text)}"
        lines[table.first_line : table.end_line] = [head, _block({name: value}, 2, text)]
        return "".join(lines)
    _refuse_one_line(table, table_key)
    known = _member(table.node, name, text)
    others = _members(table.node, text)
    column = others[0].key.start_mark.column
    block = _block({name: value}, column, text)
    if known is not None:
        lines[known.first_line : known.end_line] = [block]
    else:
        end = others[-1].end_line
        lines[end - 1] = _ended(lines[end - 1])
        lines.insert(end, block)
    return "".join(lines)


def remove(text: str, keys: Sequence[str]) -> str:
    """The text without the mapping at a path of two keys.

    Raises:
        ValueError: it is not YAML, or there is no such mapping.
    """
    read(text)
    table_key, name = keys
    table = _member(_root(text), table_key, text)
    known = _member(table.node, name, text) if table is not None and _is_mapping(table.node) else None
    if table is None or known is None:
        raise ValueError(f"{name!r} is not in it")
    _refuse_one_line(table, table_key)
    lines = text.splitlines(keepends=True)
    del lines[known.first_line : known.end_line]
    if len(_members(table.node, text)) == 1:
        line, colon = lines[table.first_line], table.key.end_mark.column + 1
        lines[table.first_line] = f"{line[:colon]} {{}}{line[colon:]}"
    return "".join(lines)


def dump(value: Mapping[str, Any]) -> str:
    """The text of a whole file with this content."""
    return _dumped(value)


def _root(text: str) -> yaml.Node:
    return yaml.compose(text, Loader=yaml.SafeLoader) or yaml.MappingNode("tag:yaml.org,2002:map", [])


def _is_mapping(node: yaml.Node) -> bool:
    return isinstance(node, yaml.MappingNode) or node.tag == "tag:yaml.org,2002:null"


def _members(node: yaml.Node, text: str) -> list[_Member]:
    if not isinstance(node, yaml.MappingNode):
        return []
    return [_Member(key, value, key.start_mark.line, _end_line(key, value, text)) for key, value in node.value]


def _member(node: yaml.Node, name: str, text: str) -> _Member | None:
    return next((one for one in _members(node, text) if one.key.value == name), None)


def _refuse_one_line(table: _Member, key: str) -> None:
    if table.node.flow_style:
        raise ValueError(f"{key!r} in it is written in braces")


def _end_line(key: yaml.Node, node: yaml.Node, text: str) -> int:
    """The line after the last one of a value; blank lines and comments after it belong to the next value."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end_line(last[0], last[1], text) if isinstance(last, tuple) else _end_line(last, last, text)
    end = max(node.end_mark.index, key.end_mark.index)
    content = text[:end].rstrip()
    return content.count("\n") + 1


def _block(value: Mapping[str, Any], column: int, text: str) -> str:
    lines = _dumped(value).splitlines()
    return "".join(" " * column + line + _newline(text) for line in lines)


def _dumped(value: Mapping[str, Any]) -> str:
    plain = json.loads(json.dumps(value))  # no aliases for repeated objects
    return str(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=10_000, default_flow_style=False))


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else text + _newline(text)


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"
