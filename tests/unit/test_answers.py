"""Answers are found in responses, parsed, and compared: the same, different, or not comparable."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consortium_mcp.text.answers import compare, final_answer
from consortium_mcp.text.answers.finding import ANSWER_CHARACTERS, SEARCHED_CHARACTERS, found_in

CASES = Path(__file__).parents[1] / "cases"

JUDGED = [json.loads(line) for line in (CASES / "answers.jsonl").read_text().splitlines()]
"""Pairs of responses, and whether a person calls their answers the same."""

MORE = [json.loads(line) for line in (CASES / "more_answers.jsonl").read_text().splitlines()]
"""Further pairs, some of which only a person can judge."""

PIECES = st.sampled_from(
    [
        "Answer: ",
        "\\boxed{",
        "}",
        "{",
        "\\frac{1}{",
        "$",
        "**",
        "```",
        "```python\n",
        "\n",
        " ",
        "42",
        "1,5",
        "3/4",
        "^",
    ]
    + ["1e9", "km", "%", "(a) ", "(", ")", "[", "]", "yes", "not ", "July 4, 1776", "B) ", "Paris", "=", "x", "sqrt("]
    + [
        "½",
        "⁹",
        "四十二",
        "४२",
        "\ud800",
        "\x00",
        "<answer>",
        "</answer>",
        "<think>",
        "➆",
        "- ",
        "1. ",
        '"',
        "'",
        "\\",
        "½",
    ]
)


@pytest.mark.parametrize("pair", JUDGED, ids=lambda pair: f"{pair['kind']} {pair['one']} {pair['other']}"[:60])
def test_a_judged_pair_is_compared_as_a_person_does(pair: dict[str, Any]) -> None:
    expected = "same" if pair["same"] else "different"

    assert (compare(pair["one"], pair["other"]), compare(pair["other"], pair["one"])) == (expected, expected)


@pytest.mark.parametrize(("pairs", "count", "most"), [(JUDGED, 114, 0.0), (MORE, 1587, 0.05)], ids=["judged", "more"])
def test_few_errors_are_made_on_judged_pairs_and_no_same_is_false(
    pairs: list[dict[str, Any]], count: int, most: float
) -> None:
    found = [(compare(pair["one"], pair["other"]) == "same", pair["same"]) for pair in pairs]

    wrong = sum(said != right for said, right in found)
    false_same = sum(said and not right for said, right in found)
    assert (len(found), wrong / len(found) <= most, false_same) == (count, True, 0)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("It depends on the load. Take a queue if it grows.", "A queue is a good choice, as long as writes are rare."),
        ("Answer: guard it with a mutex", "Answer: guard it with a semaphore"),
        ("Answer: 50", "Answer: 50%"),
        ("Answer: 04/07/1776", "Answer: 07/04/1776"),
        ("Answer: July 1776", "Answer: July 4, 1776"),
        ("Answer: 365 days", "Answer: 1 year"),
        ("Answer: B", "Answer: Paris"),
        ("Answer: 5 apples", "Answer: 5 pears"),
        ("Answer: Москва", "Answer: Petersburg"),
        ("", "Answer: 5"),
        ("```python\nreturn sum(x)\n```", "```python\nt = 0\nfor y in x:\n    t += y\nreturn t\n```"),
    ],
)
def test_what_cannot_be_told_is_not_comparable(one: str, other: str) -> None:
    assert (compare(one, other), compare(other, one)) == ("not comparable", "not comparable")


def test_programs_too_deep_for_a_syntax_tree_are_compared_by_their_tokens() -> None:
    deep = "```python\nx = " + "+".join(["1"] * 2_500)

    assert compare(f"{deep}\n```", f"{deep}\n```") == "same"
    assert compare(f"{deep}+2\n```", f"{deep}+y+z*4-5-6-7\n```") == "not comparable"


PROSE = "The load is low at night, so the batch can run then, and in the morning all of its results are there for {}."


def test_prose_without_a_mark_is_the_same_where_its_words_are_equal_and_never_different() -> None:
    one, other = PROSE.format("Anna"), PROSE.format("Berta")

    assert compare(one, f"  {one.upper()}\n") == "same"
    assert compare(one, other) == "not comparable"
    assert compare(f"{one} No.", f"{one} Yes.") == "not comparable"


@pytest.mark.parametrize(
    ("text", "kind", "marked"),
    [
        ("I add them up.\nAnswer: 42", "number", True),
        ("I add them up.\n\n42", "number", True),
        ("Answer: 42\n\nThis shows that the answer is correct.", "number", True),
        ("Answer: 41\nNo, wait: the answer is yes.", "yes or no", True),
        ("42", "number", False),
        ("The sum is 42.", "number", False),
        ("**Final answer:**\n\n(B) Paris", "option", True),
        ("Yes, because it is prime.", "yes or no", False),
        ("Answer: 4 July 1776", "date", True),
        ("Answer:\n- red\n- green", "list", True),
        ("(a) 4 (b) 7", "parts", False),
        ("```python\nx = 1\n```\nLet me know if it works!", "code", False),
        ("Answer:\n```python\nx = 1\n```", "code", True),
        ("Answer: Paris", "text", True),
        (PROSE, "prose", False),
        ("<think>Answer: 5</think>", "none", False),
        ("Answer: between 5 and 10", "range", True),
        ("\\boxed{2x + 1}", "formula", True),
    ],
)
def test_a_final_answer_has_its_kind_and_says_whether_it_was_marked(text: str, kind: str, marked: bool) -> None:
    answer = final_answer(text)

    assert (answer.kind, answer.is_marked) == (kind, marked)


@settings(max_examples=400, deadline=None)
@given(st.lists(PIECES, max_size=30).map("".join) | st.text(max_size=80), st.lists(PIECES, max_size=30).map("".join))
def test_no_text_raises_and_the_order_of_two_does_not_count(one: str, other: str) -> None:
    assert compare(one, other) == compare(other, one)
    assert compare(one, one) != "different"


HOSTILE = [
    unit * (40_000 // len(unit))
    for unit in (" ", "\t", "\n", "(", "[", "{", "\\boxed{", "$", "`", "'", '"', "\\", '"\\', "/*", "<answer>", "**")
] + [
    unit * (40_000 // len(unit))
    for unit in (
        "Answer: ",
        "answer is ",
        "1,",
        "1 ",
        "(a) ",
        "\\frac{",
        "a = ",
        "- x\n",
        "one ",
        "if you have ",
        "^",
        "x+",
    )
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: repr(text[:10]))
def test_hostile_texts_are_read_up_to_a_bound(text: str) -> None:
    answer = final_answer(f"{text}\nAnswer: {text}")

    assert len(answer.text) <= ANSWER_CHARACTERS
    assert len(found_in(text).beside) <= SEARCHED_CHARACTERS > ANSWER_CHARACTERS
    assert compare(text, f"{text}x") in ("same", "different", "not comparable")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("42", "42"),
        ("Let me think.\n\nAnswer: 42", "42"),
        ("The answer is 42.", "42"),
        ("**Final answer:** 42", "42"),
        ("Answer:\n42", "42"),
        ("Answer: 41\nNo.\nAnswer: 42", "42"),
        (r"So \boxed{42}. Done, 7.", "42"),
        (r"\boxed{41}, no, \boxed{42}", "42"),
        ("<answer>\n42\n</answer> and 7", "42"),
        ("<answer>unclosed <answer>42</answer>", "42"),
        ("42.0", "42"),
        ("042", "42"),
        ("+42", "42"),
        ("$42", "42 $"),
        ("x = 42", "42"),
        ("42 km", "42 km"),
        ("about 42.50 kg", "42.5 kg"),
        ("42km", "42 km"),
        ("42%", "42 %"),
        ("42 (km)", "42 km"),
        ("42 km/h", "42 km/h"),
        ("42°C", "42 °c"),
        ("1,234,567", "1234567"),
        ("1234567", "1234567"),
        ("1234568", "1234568"),
        ("0.1000", "0.1"),
        ("-0", "0"),
        ("-3.50", "-3.5"),
        ("\uff14\uff12", "42"),
        ("9" * 400, "9" * 400),
        ("42\nConfidence: 80%", "42"),
        ("42\n**Confidence**: high", "42"),
        ("<think>Answer: 41</think>Answer: 42", "42"),
        ("less than 42", "less than 42"),
        ("> 42", "> 42"),
        ("not 42", "not 42"),
        ("It is 42.", "42"),
        ("x = 42", "42"),
        ("There are about 42 apples in total", "42 apples"),
        ("14 April", "14 april"),
        ("The answer isn't 5, as one may think.\nIt is 7.", "7"),
        ("B", "B"),
        ("Answer: (B)", "b"),
        ("Answer: **B.**", "B"),
        ("B) Paris", "b"),
        ("Answer: (B) Paris, on the Seine", "b"),
        ("**(B) Paris**", "b"),
        ("B. Obama", "b. obama"),
        ("“Paris”", "paris"),
        ("  PARIS \n\n", "paris"),
        ("New\u00a0 York", "new york"),
        ("Confidence intervals overlap.", "confidence intervals overlap"),
    ],
)
def test_an_answer_is_found_where_responses_put_it(text: str, answer: str) -> None:
    assert compare(text, f"Answer: {answer}") == "same"


@pytest.mark.parametrize("text", ["Confidence: 80%", "<think>never closed", ""])
def test_a_response_without_an_answer_has_none(text: str) -> None:
    assert final_answer(text).kind == "none"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("April 14", "May 14"),
        ("up 5%", "down 5%"),
        ("before 1912", "after 1912"),
        ("loses 100", "gains 100"),
        ("Apollo 11", "Soyuz 11"),
        ("Layer 2", "Level 2"),
        ("the war ended in 1945 in europe", "the war ended in 1946 in europe"),
        ("paris", "pariss"),
        ("Austria", "Australia"),
        ("a" * 1_000_000, "a" * 999_999),
    ],
)
def test_what_stands_beside_a_number_and_each_letter_keep_answers_apart(one: str, other: str) -> None:
    assert compare(one, f"Answer: {other}") != "same"
