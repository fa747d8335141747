"""Configuration files changed in place: what is put in is read back, and what else is there stays."""

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consortium_mcp.installation.files.formats import FormatName, file_format

ENTRY = {"command": "/bin/uvx", "args": ["consortium-mcp"], "env": {"A": "1"}, "on": True, "none": None}

KEYS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=6)
PLAIN = st.none() | st.booleans() | st.integers(-99, 99) | KEYS
VALUES = st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3))
FILES = st.dictionaries(KEYS, VALUES, max_size=4)
SERVERS = st.none() | st.dictionaries(KEYS, st.dictionaries(KEYS, PLAIN, max_size=2), max_size=3)


def commented(text: str) -> str:
    """The JSON text with comments between its lines, behind its commas, and at its end."""
    return "// first\n" + re.sub(r",\n", ", // why\n/* more */\n", text) + " // last"


@settings(max_examples=50, deadline=None)
@given(file=FILES, servers=SERVERS, indent=st.sampled_from([None, 2, "\t"]), has_comments=st.booleans())
def test_json_gets_an_entry_and_loses_it_again(
    file: dict[str, Any], servers: dict[str, Any] | None, indent: int | str | None, has_comments: bool
) -> None:
    form, keys = file_format("jsonc"), ["mcpServers", "consortium"]
    before = file | ({"mcpServers": servers} if servers is not None else {})
    text = json.dumps(before, indent=indent, ensure_ascii=False)
    text = commented(text) if has_comments else text
    (before.get("mcpServers") or {}).pop("consortium", None)

    with_entry = form.put(text, keys, ENTRY)
    without = form.remove(with_entry, keys)

    assert form.read(with_entry) == {**before, "mcpServers": {**(servers or {}), "consortium": ENTRY}}
    assert form.read(without) == {**before, "mcpServers": servers or {}}
    assert without.count("//") == text.count("//") and without.count("/*") == text.count("/*")
    assert servers is None or "consortium" in servers or not servers or without == text


@pytest.mark.parametrize(
    ("kind", "text", "place"),
    [
        ("jsonc", '{"a" 1}', "line 1, column 6: ':' is expected"),
        ("jsonc", "[1]", "it is not an object"),
        ("jsonc", '{\n  "a": tru\n}', "line 2, column 8: a value is expected"),
        ("jsonc", '{"a": 1, "b"', "line 1, column 13: ':' is expected"),
        ("jsonc", '{"a": "sk-secret', "line 1, column 7: a value is expected"),
        ("jsonc", '{"a": 1}}', "line 1, column 9: the end is expected"),
        ("jsonc", "[" * 5000, "it is nested too deeply"),
        ("json", '{"a": 1,}', "line 1, column 9: this client reads no comma there"),
        ("json", "{} // x", "line 1, column 4: this client reads no comments"),
        ("yaml", "- a\n", "it is not a mapping"),
    ],
)
def test_a_file_that_is_refused_is_refused_with_the_place(kind: FormatName, text: str, place: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(place)}$"):
        file_format(kind).read(text)


@pytest.mark.parametrize("text", ["extensions: {a: {b: 1}}\n", "x: &e\n  a: {}\nextensions: *e\n"])
def test_yaml_that_cannot_be_changed_by_lines_is_refused_or_stays_whole(text: str) -> None:
    form = file_format("yaml")
    try:
        changed = form.read(form.put(text, ["extensions", "consortium"], ENTRY))
    except ValueError as error:
        assert "is written in braces" in str(error)
    else:
        assert changed["extensions"]["consortium"] == ENTRY  # the caller sees that the rest differs, and refuses it
