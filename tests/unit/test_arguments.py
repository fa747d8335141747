"""Arguments in the forms in which clients send them, read as the forms of the schema."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consortium_mcp.server.base.arguments import read_arguments

SCHEMA = {
    "properties": {
        "prompt": {"type": "string"},
        "consortium": {"type": "string"},
        "models": {"type": "array", "items": {"type": "string"}},
        "count": {"type": "integer"},
        "output_schema": {"type": "object"},
    },
    "required": ["prompt"],
}

FORMS: list[tuple[Any, Any]] = [
    (["m:2"], ["m:2"]),
    ("m:2", ["m:2"]),
    ("a, b", ["a", "b"]),
    ("a,b , ", ["a", "b"]),
    ('["a", "b:2"]', ["a", "b:2"]),
    ('m {"temperature": 1, "seed": 2}, b', ['m {"temperature": 1, "seed": 2}', "b"]),
    ([{"model": "m", "count": 2}], ["m:2"]),
    ({"model": "m", "count": 2, "role": "skeptic"}, ["m:2 as skeptic"]),
    ([{"model": "m"}, "b", None, ""], ["m", "b"]),
    ([{"name": "m"}], [{"name": "m"}]),
    ([], []),
    (5, 5),
]


@pytest.mark.parametrize(("sent", "read"), FORMS, ids=repr)
def test_a_list_of_models_is_read_in_every_form(sent: Any, read: Any) -> None:
    assert read_arguments({"prompt": "?", "models": sent}, SCHEMA) == {"prompt": "?", "models": read}


@pytest.mark.parametrize("nothing", [None, ""])
def test_nothing_leaves_an_optional_argument_out_and_a_required_one_in(nothing: str | None) -> None:
    sent = {"prompt": nothing, "consortium": nothing, "models": nothing, "count": nothing}

    assert read_arguments(sent, SCHEMA) == {"prompt": nothing}


def test_what_clients_add_for_themselves_is_ignored_and_a_slip_is_not() -> None:
    sent = {"prompt": "?", "task_progress": "- [ ] ask", "random_string": "x", "promt": "?"}

    assert read_arguments(sent, SCHEMA) == {"prompt": "?", "promt": "?"}


def test_half_a_character_becomes_the_sign_for_an_unreadable_one() -> None:
    assert read_arguments({"prompt": "a\ud800b"}, SCHEMA) == {"prompt": "a\ufffdb"}


def test_an_object_may_come_as_json_in_a_text() -> None:
    assert read_arguments({"prompt": "?", "output_schema": '{"type": "object"}'}, SCHEMA)["output_schema"] == {
        "type": "object"
    }


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.dictionaries(st.sampled_from([*SCHEMA["properties"], "x"]), VALUES))
def test_reading_never_raises(arguments: dict[str, Any]) -> None:
    read_arguments(arguments, SCHEMA)
