"""Parses JSON objects as models write them: with comments, wrong quotes, missing commas and unfinished ends."""

import re
from typing import Any, NamedTuple

_BLANKS = re.compile(r"(?:\s+|//[^\n]*|/\*.*?(?:\*/|\Z)|#[^\n]*)+", re.DOTALL)
_QUOTES = {'"': '"”', "'": "'’", "“": '”"', "”": '”"', "‘": "’'", "’": "’'", "„": '“”"', "«": "»"}
"""The closing quotes for each opening quote."""

_QUOTED_KEY = re.compile(r"""["'“”‘’„«]\s{0,9}([\w $.-]{1,80}?)\s{0,9}["'“”‘’»]\s{0,99}[:=：]""")
_BARE_KEY = re.compile(r"([A-Za-z_][\w-]{0,79})\s{0,99}[:：]")
_LITERAL = re.compile(r"[^,}\]\n]{1,400}")
_ITEM = re.compile(r"[\[{\d-]|(?:true|false|null|None|True|False)\b")
_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,300})(?:\.\d{1,300})?(?:[eE][+-]?\d{1,9})?")
_WORDS: dict[str, Any] = {"true": True, "false": False, "null": None, "none": None}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "/": "/", "\\": "\\", '"': '"', "'": "'"}
_HEX = re.compile(r"[0-9a-fA-F]{4}")
_DEEPEST = 40


class Parsed(NamedTuple):
    """An object that was parsed from a text."""

    value: dict[str, Any]
    """The fields of the object; if a name occurs twice, the last value."""

    end: int
    """The index in the text after the object."""

    ends: dict[str, int]
    """The index in the text after the value of each field."""

    cut_in: str | None
    """The field in which the text ended; empty if it ended between fields; None for a complete object."""


def parse_object(text: str, start: int) -> Parsed:
    """Parse the object whose brace is at `start`, as far as the text goes.

    A quotation mark inside a string ends it only if the rest of the object can follow. A backslash that begins no JSON
    escape is a backslash.

    Raises:
        ValueError: there is no object at that position.
    """
    parser = _Parser(text, start)
    value, ends = parser.object(0)
    return Parsed(value, parser.at, ends, parser.cut_in)


class _Parser:
    def __init__(self, text: str, at: int) -> None:
        self.text = text
        self.at = at
        self.cut_in: str | None = None
        self._closing: dict[str, re.Pattern[str]] = {}

    def object(self, depth: int) -> tuple[dict[str, Any], dict[str, int]]:
        fields: dict[str, Any] = {}
        ends: dict[str, int] = {}
        self.at += 1
        while True:
            self._skip(",;，")
            if self._is_at_end():
                self._cut("")
                return fields, ends
            if self.text[self.at] == "}":
                self.at += 1
                return fields, ends
            name = self._key()
            if name is None:
                return fields, ends
            self._skip()
            fields[name] = self._value(depth + 1, "}")
            ends[name] = self.at
            if self.cut_in is not None:
                self.cut_in = name if depth == 0 else self.cut_in
                return fields, ends

    def _key(self) -> str | None:
        """The next field's name; None if the text ends inside it."""
        found = _QUOTED_KEY.match(self.text, self.at) or _BARE_KEY.match(self.text, self.at)
        if found is None:
            if len(self.text) - self.at <= 90 and "\n" not in self.text[self.at :].strip():
                self.at = len(self.text)
                self._cut("")
                return None
            raise ValueError(f"no field begins at {self.at}")
        self.at = found.end()
        return found[1]

    def _value(self, depth: int, closing: str) -> Any:
        if depth > _DEEPEST:
            raise ValueError("nested too deeply")
        if self._is_at_end():
            self._cut("")
            return None
        first = self.text[self.at]
        if first == "{":
            return self.object(depth)[0]
        if first == "[":
            return self._list(depth)
        if self.text.startswith('"""', self.at):
            return self._long_string()
        if first in _QUOTES:
            return self._string(closing)
        return self._literal()

    def _list(self, depth: int) -> list[Any]:
        items: list[Any] = []
        self.at += 1
        while True:
            self._skip(",，")
            if self._is_at_end():
                self._cut("")
                return items
            if self.text[self.at] in "]}":
                self.at += self.text[self.at] == "]"
                return items
            items.append(self._value(depth + 1, "]"))
            if self.cut_in is not None:
                return items

    def _literal(self) -> Any:
        found = _LITERAL.match(self.text, self.at)
        if found is None:
            raise ValueError(f"no value begins at {self.at}")
        self.at = found.end()
        text = found[0].partition("//")[0].strip()
        if self._is_at_end() and not text.endswith(("e", "l")):
            self._cut("")
        if text.lower() in _WORDS:
            return _WORDS[text.lower()]
        if _NUMBER.fullmatch(text):
            return float(text) if re.search("[.eE]", text) else int(text)
        return text

    def _long_string(self) -> str:
        end = self.text.find('"""', self.at + 3)
        text = self.text[self.at + 3 : end if end >= 0 else len(self.text)]
        self.at = end + 3 if end >= 0 else len(self.text)
        if end < 0:
            self._cut("")
        return text

    def _string(self, closing: str) -> str:
        """The string that begins here, in an object or list that `closing` ends."""
        marks = _QUOTES[self.text[self.at]]
        stop = re.compile(rf"[\\{marks}]")
        parts: list[str] = []
        start = self.at + 1
        while found := stop.search(self.text, start):
            parts.append(self.text[start : found.start()])
            if found[0] == "\\":
                part, start = self._escape(found.end())
                parts.append(part)
            elif self._ends_here(found.end(), closing):
                self.at = found.end()
                return "".join(parts)
            else:
                parts.append(found[0])
                start = found.end()
        parts.append(self.text[start:])
        self.at = len(self.text)
        self._cut("")
        return "".join(parts)

    def _escape(self, at: int) -> tuple[str, int]:
        """The character of the escape whose backslash is before this position, and the position after it."""
        character = self.text[at : at + 1]
        if character == "u" and (digits := _HEX.match(self.text, at + 1)):
            return chr(int(digits[0], 16)), digits.end()
        if character in _ESCAPES and character:
            return _ESCAPES[character], at + 1
        return "\\", at

    def _ends_here(self, at: int, closing: str) -> bool:
        """Whether a quotation mark that ends at this position ends its string: valid JSON can follow."""
        blanks = _BLANKS.match(self.text, at)
        after = blanks.end() if blanks else at
        following = self.text[after : after + 1]
        if not following:
            return True
        if following == closing:
            return closing == "]" or self._follows_object(after + 1)
        if following in ",;，":
            blanks = _BLANKS.match(self.text, after + 1)
            after = blanks.end() if blanks else after + 1
            if self.text[after : after + 1] in ("", "}", "]"):
                return True
            if closing == "]":
                return self.text[after] in _QUOTES or _ITEM.match(self.text, after) is not None
        elif "\n" not in self.text[at:after]:
            return False
        return closing == "}" and bool(_QUOTED_KEY.match(self.text, after) or self._is_bare_key(after))

    def _follows_object(self, at: int) -> bool:
        """Whether an object can end before this position: a word, sign or quotation mark would continue a string."""
        following = self.text[at : at + 1]
        return not following or following.isspace() or following in ",，}]`<\\"

    def _is_bare_key(self, at: int) -> bool:
        found = _BARE_KEY.match(self.text, at)
        return found is not None and found[1].islower()

    def _skip(self, also: str = "") -> None:
        while True:
            if blanks := _BLANKS.match(self.text, self.at):
                self.at = blanks.end()
            elif not self._is_at_end() and self.text[self.at] in also:
                self.at += 1
            else:
                return

    def _is_at_end(self) -> bool:
        return self.at >= len(self.text)

    def _cut(self, name: str) -> None:
        self.cut_in = name
