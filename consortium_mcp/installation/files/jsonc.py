"""Changes JSON, with or without comments, in place: comments, order and layout of the rest stay."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

_TOKEN = re.compile(
    r'(?P<space>\s+)|(?P<comment>//[^\r\n]*|/\*.*?\*/)|(?P<string>"(?:[^"\\\x00-\x1f]|\\.)*")'
    r"|(?P<word>[-+.\w]+)|(?P<sign>[{}\[\],:])",
    re.DOTALL,
)


@dataclass
class _Node:
    """A value and its position in the text."""

    start: int
    end: int
    value: Any
    members: "list[_Member]" = field(default_factory=list)
    content_end: int = 0
    """In an object: the end of its last member, comma or comment."""

    @property
    def is_object(self) -> bool:
        return isinstance(self.value, dict)

    def member(self, key: str) -> "_Member | None":
        """The member with that name; of several the last one, as JSON parsers do."""
        return next((one for one in reversed(self.members) if one.key == key), None)


@dataclass
class _Member:
    """A member of an object."""

    key: str
    start: int
    node: _Node
    comma: int | None = None
    """The position of the comma after it; None for a last member without one."""


class _Edit(NamedTuple):
    start: int
    end: int
    text: str


def read(text: str, comments: bool = True) -> dict[str, Any]:
    """The content of the text; an empty text is an empty object.

    Args:
        comments: whether comments and trailing commas are allowed.

    Raises:
        ValueError: it is not JSON, or not an object.
    """
    try:
        value = json.loads(text)  # much faster, and most files are plain JSON
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else dict(_parsed(text, comments).value)


def put(text: str, keys: Sequence[str], value: Any, comments: bool = True) -> str:
    """The text with a value at a path of keys; missing objects on the path are added.

    Raises:
        ValueError: it is not JSON, or a key on the path has a value that is not an object.
    """
    text = text if text.strip() else "{}\n"
    edits: list[_Edit] = []
    _put(text, _parsed(text, comments), keys, value, edits)
    return _edited(text, edits)


def remove(text: str, keys: Sequence[str], comments: bool = True) -> str:
    """The text without the member at a path of keys.

    Raises:
        ValueError: it is not JSON, or there is no such member.
    """
    node = _parsed(text, comments)
    for key in keys[:-1]:
        node = _required(node, key).node
    return _edited(text, _removal(text, node, _required(node, keys[-1])))


def dump(value: Mapping[str, Any]) -> str:
    """The text of a whole file with this content."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _required(node: _Node, key: str) -> _Member:
    member = node.member(key)
    if member is None:
        raise ValueError(f"{key!r} is not in it")
    return member


# ---- reading


class _Reader:
    """The tokens of a text, in order; spaces and comments are skipped."""

    def __init__(self, text: str, comments: bool) -> None:
        self.text, self.comments = text, comments
        self.position = 0  # the start of the search for the next token
        self.comment_end = 0  # the end of the last comment
        self.kind = self.token = ""
        self.start = 0
        self.advance()

    def advance(self) -> None:
        """Take the next token; at the end it is empty."""
        while self.position < len(self.text):
            match = _TOKEN.match(self.text, self.position)
            if match is None:
                raise self.wrong("a value is expected", self.position)
            self.position, kind = match.end(), match.lastgroup or ""
            if kind == "space":
                continue
            if kind == "comment":
                if not self.comments:
                    raise self.wrong("this client reads no comments", match.start())
                self.comment_end = match.end()
                continue
            self.kind, self.token, self.start = kind, match.group(), match.start()
            return
        self.kind, self.token, self.start = "", "", len(self.text)

    def expect(self, token: str) -> None:
        """Take this token, or refuse the text."""
        if self.token != token:
            raise self.wrong(f"{token!r} is expected")
        self.advance()

    def wrong(self, why: str, at: int | None = None) -> ValueError:
        """The error for an invalid text, with the position; the text there may be a key, and is not shown."""
        at = self.start if at is None else at
        line, column = self.text.count("\n", 0, at) + 1, at - self.text.rfind("\n", 0, at)
        return ValueError(f"line {line}, column {column}: {why}")


def _parsed(text: str, comments: bool) -> _Node:
    reader = _Reader(text if text.strip() else "{}", comments)
    try:
        root = _value(reader)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if reader.token:
        raise reader.wrong("the end is expected")
    if not root.is_object:
        raise ValueError("it is not an object")
    return root


def _value(reader: _Reader) -> _Node:
    start, token = reader.start, reader.token
    if token == "{":
        return _object(reader)
    if token == "[":
        return _array(reader)
    if reader.kind not in ("string", "word"):
        raise reader.wrong("a value is expected")
    try:
        value = json.loads(token)
    except ValueError:
        raise reader.wrong("a value is expected") from None
    reader.advance()
    return _Node(start, start + len(token), value)


def _object(reader: _Reader) -> _Node:
    node = _Node(reader.start, 0, {}, content_end=reader.start + 1)
    reader.advance()
    while reader.token != "}":
        if reader.kind != "string":
            raise reader.wrong("a name is expected")
        member_start, key = reader.start, json.loads(reader.token)
        reader.advance()
        reader.expect(":")
        member = _Member(key, member_start, _value(reader))
        node.members.append(member)
        node.value[key] = member.node.value
        node.content_end = member.node.end
        if reader.token == ",":
            member.comma = reader.start
            node.content_end = reader.start + 1
            reader.advance()
            if reader.token == "}" and not reader.comments:
                raise reader.wrong("this client reads no comma there")
        elif reader.token != "}":
            raise reader.wrong("',' or '}' is expected")
    node.content_end = max(node.content_end, reader.comment_end)
    node.end = reader.start + 1
    reader.advance()
    return node


def _array(reader: _Reader) -> _Node:
    node = _Node(reader.start, 0, [])
    reader.advance()
    while reader.token != "]":
        node.value.append(_value(reader).value)
        if reader.token == ",":
            reader.advance()
            if reader.token == "]" and not reader.comments:
                raise reader.wrong("this client reads no comma there")
        elif reader.token != "]":
            raise reader.wrong("',' or ']' is expected")
    node.end = reader.start + 1
    reader.advance()
    return node


# ---- writing


def _put(text: str, node: _Node, keys: Sequence[str], value: Any, edits: list[_Edit]) -> None:
    member = node.member(keys[0])
    if member is None:
        for key in reversed(keys[1:]):
            value = {key: value}
        edits += _insertion(text, node, {keys[0]: value})
    elif len(keys) == 1:
        _become(text, member.node, value, edits)
    elif member.node.is_object:
        _put(text, member.node, keys[1:], value, edits)
    else:
        raise ValueError(f"{keys[0]!r} in it is not a table")


def _become(text: str, node: _Node, value: Any, edits: list[_Edit]) -> None:
    """Change only differences; an object that loses a member is written anew."""
    if node.value == value:
        return
    if not (node.is_object and isinstance(value, dict)) or set(node.value) - set(value):
        edits.append(_Edit(node.start, node.end, _dumped(text, value, _indentation_at(text, node.start))))
        return
    for member in node.members:
        _become(text, member.node, value[member.key], edits)
    added = {key: one for key, one in value.items() if key not in node.value}
    if added:
        edits += _insertion(text, node, added)


def _insertion(text: str, node: _Node, added: Mapping[str, Any]) -> list[_Edit]:
    """Insert new members at the end of an object."""
    last = node.members[-1] if node.members else None
    if last is not None and "\n" not in text[node.start : node.end]:
        pairs = ", ".join(f"{json.dumps(key)}: {json.dumps(one, ensure_ascii=False)}" for key, one in added.items())
        return [_Edit(last.node.end, last.node.end, f", {pairs}")]
    outer = _indentation_at(text, node.start)
    inner = _indentation_at(text, last.start) if last is not None else outer + _unit(text)
    newline = _newline(text)
    block = ",".join(
        f"{newline}{inner}{json.dumps(key, ensure_ascii=False)}: {_dumped(text, one, inner)}"
        for key, one in added.items()
    )
    edits = []
    if last is not None:
        if last.comma is None:
            edits.append(_Edit(last.node.end, last.node.end, ","))
        else:
            block += ","  # as in the file
    closing = "" if "\n" in text[node.content_end : node.end] else newline + outer
    edits.append(_Edit(node.content_end, node.content_end, block + closing))
    return edits


def _removal(text: str, node: _Node, member: _Member) -> list[_Edit]:
    start = len(text[: member.start].rstrip())
    if len(node.members) == 1 and not (text[node.start + 1 : start] + text[_end(member) : node.end - 1]).strip():
        return [_Edit(node.start, node.end, "{}")]
    edits = [_Edit(start, _end(member), "")]
    before = node.members[node.members.index(member) - 1] if node.members.index(member) else None
    if member.comma is None and before is not None and before.comma is not None:
        edits.append(_Edit(before.comma, before.comma + 1, ""))
    return edits


def _end(member: _Member) -> int:
    return member.node.end if member.comma is None else member.comma + 1


def _edited(text: str, edits: Sequence[_Edit]) -> str:
    parts, position = [], 0
    for edit in sorted(edits, key=lambda edit: edit.start):
        parts += [text[position : max(position, edit.start)], edit.text]
        position = max(position, edit.end)
    return "".join([*parts, text[position:]])


def _dumped(text: str, value: Any, indentation: str) -> str:
    unit = _unit(text)
    return json.dumps(value, indent=unit, ensure_ascii=False).replace("\n", _newline(text) + indentation)


def _indentation_at(text: str, position: int) -> str:
    line = text[text.rfind("\n", 0, position) + 1 :]
    return line[: len(line) - len(line.lstrip(" \t"))]


def _unit(text: str) -> str:
    """The file's indentation unit; two spaces if it is unknown."""
    match = re.search(r"^([ \t]+)\"", text, re.MULTILINE)
    return match.group(1) if match else "  "


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"
