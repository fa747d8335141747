"""Finds verdicts that are JSON or nearly JSON."""

import re
from typing import Any

from consortium_mcp.engine.judging.candidates import Candidate
from consortium_mcp.engine.judging.fields import NAMES, name_of, text_of, verdict_in
from consortium_mcp.engine.judging.json_objects import json_objects
from consortium_mcp.text.backslashes import with_backslashes
from consortium_mcp.text.lenient_json import Parsed, parse_object

_MOST_REPAIRS = 20  # the number of objects, from the end, that the lenient reader tries
_FIELD_NAMES = "|".join(name.replace("_", "[_ ]") for names in NAMES.values() for name in names)
_LIKELY = re.compile(rf"\{{(?:\s|//[^\n]*|/\*[^*]*\*/)*[\"'“”‘„«]?(?:{_FIELD_NAMES})[\"'“”’»]?\s*[:：]", re.IGNORECASE)
_FURTHER_VERDICT = re.compile(r"[\"'“«](?:synthesis|confidence|best|ranking)[\"'”»]\s*[:：]", re.IGNORECASE)
_ESCAPED = re.compile(r'\\(["\\/nt])')
_ESCAPED_OBJECT = re.compile(r'\{\s*(?:\\n\s*)*\\"')
_PLAIN = {"n": "\n", "t": "\t"}


def json_verdicts(reply: str, main: str) -> list[Candidate]:
    """Every outermost JSON object that is a verdict, nested or not; invalid JSON is read leniently."""
    found: list[Candidate] = []
    decoded: list[tuple[int, int]] = []
    for value, start, end in json_objects(reply):
        decoded.append((start, end))
        if fields := verdict_in(value, main):
            found.append(Candidate(start, end, _restored(fields), end, text_of(fields.get("mark"))))
    return [*found, *_lenient(reply, main, decoded)]


def decoded_once(reply: str) -> str | None:
    """A reply whose JSON was encoded twice, decoded once; None for any other reply."""
    if not _ESCAPED_OBJECT.search(reply):
        return None
    return _ESCAPED.sub(lambda found: _PLAIN.get(found[1], found[1]), reply)


def _lenient(reply: str, main: str, decoded: list[tuple[int, int]]) -> list[Candidate]:
    """The verdicts that only the lenient reader can read, outside the objects that were already decoded."""
    found: list[Candidate] = []
    position = 0
    for opening in list(_LIKELY.finditer(reply))[-_MOST_REPAIRS:]:
        start = opening.start()
        if start < position or any(begin <= start < end for begin, end in decoded):
            continue
        try:
            parsed = parse_object(reply, start)
        except ValueError:
            continue
        fields = verdict_in(parsed.value, main)
        if fields and not _FURTHER_VERDICT.search(text_of(fields[main])):
            position = parsed.end
            mark, decided = text_of(fields.get("mark")), _decided(parsed, main)
            found.append(Candidate(start, position, _restored(fields), decided, mark, _cut_field(parsed), True))
    return found


def _restored(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields with backslashes restored, if JSON's escapes can only have been backslashes."""
    try:
        return {name: _with_backslashes(value) for name, value in fields.items()}
    except RecursionError:  # nested as deep as could just be read
        return fields


def _with_backslashes(value: Any) -> Any:
    if isinstance(value, str):
        return with_backslashes(value)
    if isinstance(value, list):
        return [_with_backslashes(one) for one in value]
    return {name: _with_backslashes(one) for name, one in value.items()} if isinstance(value, dict) else value


def _decided(parsed: Parsed, main: str) -> int:
    ends = [end for label, end in parsed.ends.items() if name_of(label) in (main, "confidence")]
    return max(ends, default=parsed.end)


def _cut_field(parsed: Parsed) -> str | None:
    return parsed.cut_in and (name_of(parsed.cut_in) or "")
