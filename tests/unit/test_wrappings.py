"""What a server leaves around an answer is taken away; an answer that speaks of it stays whole."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consortium_mcp.text.wrappings import unwrapped

CALL = '<tool_call>\n{"name": "search", "arguments": {"q": "42"}}\n</tool_call>'


@pytest.mark.parametrize(
    "text",
    [
        "A model writes <tool_call> before a call.",
        "A model writes <function=NAME> before a call.",
        "Mistral begins with [TOOL_CALLS] and a list.",
        f"So:\n```xml\n{CALL}\n```\nThat is all.",
        "The element <answer>42</answer> is one of two: <answer>43</answer>",
        "<answer>42</answer> stands before <answer>43</answer>",
        "commentary to=be written later",
        "",
    ],
)
def test_a_text_that_speaks_of_calls_and_tags_stays_as_it_is(text: str) -> None:
    assert unwrapped(text) == (text, None)


def test_what_stands_before_and_behind_a_call_stays() -> None:
    assert unwrapped(f"Let me see.\n{CALL}\nIt is 42.") == ("Let me see.\n\nIt is 42.", "search")


def test_several_calls_are_one_and_have_the_name_of_the_first() -> None:
    assert unwrapped(f"{CALL}\n{CALL.replace('search', 'check')}") == ("", "search")


def test_a_call_behind_a_block_of_code_is_one() -> None:
    assert unwrapped(f"```\n{CALL}\n```\n{CALL}") == (f"```\n{CALL}\n```", "search")


def test_a_call_that_names_no_tool_is_one_without_a_name() -> None:
    assert unwrapped('<tool_call>{"arguments": {}}</tool_call>') == ("", "")


@given(st.text(alphabet='<>/|[]{}"`\n tolcaresanw_=:'))
def test_no_text_raises(text: str) -> None:
    assert isinstance(unwrapped(text).text, str)
