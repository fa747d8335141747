"""Nearly valid JSON is read, backslashes are restored, and no reply makes the reader raise or run for ever."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consortium_mcp.engine.judging.partial_reader import beginning_of_synthesis
from consortium_mcp.text.backslashes import certain_beginning, with_backslashes
from consortium_mcp.text.lenient_json import parse_object
from tests.provider import tagged_verdict, verdict
from tests.scripted import read_verdict

VALID = [
    verdict("It is 42.", confidence=0.9, refinement_areas=["one", "two"]),
    tagged_verdict("It is 42.", confidence=0.9, refinement_areas=["one", "two"]),
    "**Synthesis:** It is 42.\n\n**Confidence:** 0.9\n\n**Dissent:** none",
    "synthesis: |\n  It is 42.\nconfidence: 0.9\ndissent: none",
]
PIECES = [
    "{",
    "}",
    "[",
    "]",
    '"',
    "'",
    ",",
    ":",
    "\\",
    "\n",
    "<",
    ">",
    "</",
    "&lt;",
    "<![CDATA[",
    "```",
    "//",
    "/*",
    "#",
    "*",
]


@given(st.sampled_from(VALID), st.data())
@settings(max_examples=300, deadline=None)
def test_a_mutation_of_a_valid_verdict_never_raises_and_is_never_shown_as_its_form(
    reply: str, data: st.DataObject
) -> None:
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(reply)))
        cut = data.draw(st.integers(0, 6))
        reply = reply[:at] + data.draw(st.sampled_from(PIECES) | st.text(max_size=4)) + reply[at + cut :]

    found = read_verdict(reply)
    beginning_of_synthesis(reply)

    assert found is None or (found.synthesis and 0 <= (found.confidence or 0) <= 1)


@given(st.text(max_size=300))
@settings(max_examples=300, deadline=None)
def test_backslashes_come_back_only_for_control_characters(text: str) -> None:
    restored = with_backslashes(text)

    assert len(restored) >= len(text) and restored.replace("\\", "").isprintable() >= text.isprintable()
    assert restored.startswith(certain_beginning(text))


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=8), st.lists, max_leaves=6))
@settings(max_examples=200, deadline=None)
def test_what_is_json_is_read_as_json(value: object) -> None:
    text = json.dumps({"synthesis": "x", "analysis": value}, ensure_ascii=False)

    assert parse_object(text, 0).value == json.loads(text)


@pytest.mark.parametrize(
    "piece",
    [
        " ",
        "\n",
        "\t",
        "> ",
        "* ",
        "# ",
        "- ",
        "&lt;",
        "&",
        "\\",
        '\\"',
        "$",
        "\\(",
        "\\[ ",
        "C:\\",
        "'",
        "“",
        ", ",
        "//",
        "/*",
    ]
    + ["synthesis:\n", "**synthesis**:\n", "synthesis: |\n", "{synthesis:", "{ ", '{"confidence": ', "<![CDATA["],
)
@pytest.mark.parametrize(
    "around", ["{}", '{"synthesis": "{}', "<verdict><synthesis>{}", "synthesis: {}\nconfidence: 0.5", "x{}x"]
)
def test_forty_thousand_characters_of_one_kind_are_read_in_time(piece: str, around: str) -> None:
    reply = around.replace("{}", piece * (40_000 // len(piece)))

    found = read_verdict(reply)
    beginning_of_synthesis(reply)

    assert found is None or found.synthesis
