"""Thinking blocks are removed from the reply; everything else stays."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consortium_mcp.text.thinking import strip_thinking

PIECES = st.sampled_from(
    [
        "<think>",
        "</think>",
        "<Thinking>",
        "</THINKING>",
        "<reasoning x='1'>",
        "</reasoning>",
        "<think/>",
        "[THINK]",
        "<|channel|>analysis<|message|>",
        "<|channel|>final<|message|>",
        "<|end|>",
        "</s>",
        "`",
        "<",
        ">",
        "word ",
    ]
)


@pytest.mark.parametrize("name", ["think", "thinking", "thought", "reasoning", "scratchpad", "THINK"])
def test_a_block_of_each_name_leaves_the_reply(name: str) -> None:
    assert strip_thinking(f"before <{name}>hidden</{name}> after") == "before  after"


def test_a_reply_without_thinking_stays_as_it_is() -> None:
    assert strip_thinking("I think 1 < 2, <b>thinkers</b> agree") == "I think 1 < 2, <b>thinkers</b> agree"


def test_a_nested_block_does_not_end_the_one_around_it() -> None:
    assert strip_thinking("shown <think>a <think>b</think> still hidden</think>too") == "shown too"


def test_an_unclosed_block_reaches_to_the_end() -> None:
    assert strip_thinking("shown <think>cut off in the middle of") == "shown"


def test_a_closing_tag_without_its_opening_ends_a_block_that_began_with_the_text() -> None:
    assert strip_thinking("the template swallowed the opening </think>shown") == "shown"


def test_a_stray_closing_tag_takes_what_stood_before_it_along() -> None:
    assert strip_thinking("draft <think>a</think> still draft </think>shown") == "shown"


def test_two_blocks_leave_what_stands_between_and_after_them() -> None:
    assert strip_thinking("<think>a</think>one <think>b</think>two") == "one two"


def test_a_tag_with_attributes_is_a_tag() -> None:
    assert strip_thinking('<thinking budget="9">hidden</thinking >shown') == "shown"


def test_a_tag_in_a_block_of_code_is_text_and_one_in_a_block_that_never_closes_is_not() -> None:
    shown = "Write it so:\n```xml\n<think>a</think>\n```\nDone."
    assert strip_thinking(shown) == shown
    assert strip_thinking("```\n<think>a</think>b") == "```\nb"
    assert strip_thinking("<think>\n```\nx\n```\n</think>b") == "b"


def test_a_self_closing_tag_hides_nothing() -> None:
    assert strip_thinking("<think/>shown").endswith("shown")


def test_a_tag_that_only_begins_like_thinking_is_text() -> None:
    assert strip_thinking("<thinker>shown</thinker>") == "<thinker>shown</thinker>"


def test_a_reply_that_is_only_thinking_leaves_nothing() -> None:
    assert strip_thinking("<think>all of it</think>\n") == ""


@pytest.mark.parametrize(
    "tag",
    [
        *("<think>", "</think>", "<think ", "<think></think>", "<", "[THINK]", "</s>", "</s> ", " ", "<|im_end|>"),
        *(
            "<|channel|>analysis<|message|>",
            "<|channel|>analysis",
            "<|end|><|start|>assistant",
            "analysis",
            "<|end|>  ",
        ),
    ],
)
def test_a_hundred_thousand_tags_are_read_in_one_go(tag: str) -> None:
    assert len(strip_thinking(tag * 100_000)) <= len(tag) * 100_000


@given(st.lists(PIECES | st.text(max_size=8), max_size=20).map("".join))
@settings(max_examples=150, deadline=None)
def test_no_text_makes_it_raise_or_grow(text: str) -> None:
    assert len(strip_thinking(text)) <= len(text)
