"""Confidence is read from any form in which models state it, or refused with a reason."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consortium_mcp.text.confidence import Confidence, find_confidence, read_confidence
from consortium_mcp.text.confidence_line import without_confidence, without_end_tag

ENDS = [
    ("Paris.\n\n<confidence>0.9</confidence>", "Paris."),
    ("Paris. <confidence>high</confidence>\n", "Paris."),
    ("Paris.\n<confidence>90%", "Paris."),
    ("Paris.\n</confidence>", "Paris."),
    ("Open a <confidence> tag.", "Open a <confidence> tag."),
    ("Write <confidence>0.99</confidence>.", "Write <confidence>0.99</confidence>."),
    ("a < b", "a < b"),
]


@pytest.mark.parametrize(("text", "left"), ENDS)
def test_a_tag_of_confidence_at_the_end_is_no_part_of_an_answer(text: str, left: str) -> None:
    assert without_end_tag(text) == without_confidence(text) == left


JUDGED = (Path(__file__).parents[1] / "cases" / "confidence.jsonl").read_text().splitlines()
"""Phrasings, and the value that a person reads in each; null if there is none."""

PIECES = st.sampled_from(
    ["<confidence>", "</confidence>", "<think>", "</think>", "Confidence: ", "confidence is ", "\n", " ", "0.9", "85"]
    + ["%", "/10", "/", ".", ",", "-", "1e9", "high", "very ", "out of 10", "(", ")", "=", "**", "9" * 20]
)


@pytest.mark.parametrize(
    ("stated", "value"),
    [
        ("0.85", 0.85),
        ("85%", 0.85),
        ("85", 0.85),
        ("8.5/10", 0.85),
        ("9/10", 0.9),
        ("90 out of 100", 0.9),
        ("high", 0.85),
        ("Very High", 0.95),
        ("very\nlow", 0.1),
        ("1.00", 1.0),
        ("1", 1.0),
        ("0", 0.0),
        ("100", 1.0),
        ("95.5", 0.955),
        ("0.9 (high)", 0.9),
        ("1%", 0.01),
        ("100 %", 1.0),
        ("85 percent", 0.85),
        ("0,85", 0.85),
        (".9", 0.9),
        ("+0.5", 0.5),
        ("1e-3", 0.001),
        ("9E-1", 0.9),
        ("about 70% sure", 0.7),
        (" \n 0.4 \n ", 0.4),
        (0.85, 0.85),
        (85, 0.85),
        (1, 1.0),
        (0, 0.0),
    ],
)
def test_B4_confidence_reads_fractions_percentages_scales_and_words(stated: object, value: float) -> None:
    read = read_confidence(stated)
    assert read.value == pytest.approx(value) and read.problem is None


@pytest.mark.parametrize(
    "stated",
    [
        "150",
        "1.5",
        "2",
        "8",
        "10",
        "not high",
        "not 80%",
        "low to moderate",
        "fairly low",
        "<50%",
        "-0.5",
        "-85%",
        "150%",
        "11/10",
        "1/0",
        "n/a",
        "",
        "…",
        "quite",
        None,
        True,
        False,
        150,
        1.5,
        8,
        -1,
    ]
    + [math.nan, math.inf, -math.inf, 10**400, [], {}],
)
def test_B4_confidence_that_means_nothing_is_none_with_the_reason(stated: object) -> None:
    read = read_confidence(stated)
    assert read.value is None and read.problem and str(stated)[:20] in read.problem


def test_confidence_problem_shows_no_more_than_the_beginning_of_what_was_stated() -> None:
    assert len(read_confidence("unsure " * 1000).problem or "") < 150


def test_few_phrasings_that_a_person_reads_are_missed_and_none_is_read_wrongly() -> None:
    pairs = [(find_confidence(one["text"]).value, one["value"]) for one in map(json.loads, JUDGED)]

    missed = sum(read is None and right is not None for read, right in pairs)
    wrong = [pair for pair in pairs if pair[0] is not None and (pair[1] is None or abs(pair[0] - pair[1]) > 1e-9)]
    assert (len(pairs), missed <= 4, wrong) == (160, True, [])


@pytest.mark.parametrize(
    ("words", "more"), [("low", "medium"), ("very low", "low"), ("medium", "high"), ("high", "very high")]
)
def test_confidence_words_keep_their_order(words: str, more: str) -> None:
    assert (read_confidence(words).value or 0) < (read_confidence(more).value or 0)


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ("<confidence>0.7</confidence>", 0.7),
        ("<Confidence>\n  85%\n</CONFIDENCE>", 0.85),
        ("Step 3 confidence: 0.9", 0.9),
        ("Confidence: .9", 0.9),
        ("**Confidence:** 85%", 0.85),
        ("**Confidence**: 8.5/10.", 0.85),
        ("Confidence level: 8/10", 0.8),
        ("Confidence (0-1): 0.7", 0.7),
        ("confidence = 0.4", 0.4),
        ("My confidence is high.", 0.85),
        ("- Confidence:\t~75 %", 0.75),
        ("Confidence: 90–95 %", 0.925),
        ("Confidence: at least 70%", 0.7),
        ("Confidence (out of 10): 8", 0.8),
        ("Confidence (1-10): 7", 0.7),
        ("Confidence on a scale of 1 to 10, 8", 0.8),
        ("Confidence: 8 on a scale of 1 to 10", 0.8),
        ("Confidence: 95% (based on 2 sources)", 0.95),
        ("Confidence: high, because both agree", 0.85),
        ("I am 70% confident.", 0.7),
        ("I'm about 90% sure.", 0.9),
        ("Probability correct: 80%", 0.8),
        ("$\\text{Confidence: } 80\\%$", 0.8),
        ('{"answer": "x", "confidence": 0.8}', 0.8),
        ("| Confidence | 80% |", 0.8),
        ("Konfidenz: 80 %", 0.8),
        ("Confiance : 75 %", 0.75),
        ("Уверенность: 70%", 0.7),
        ("置信度：80%", 0.8),
        ("신뢰도: 90%", 0.9),
    ],
)
def test_B4_find_confidence_reads_a_tag_or_a_line(reply: str, value: float) -> None:
    assert find_confidence(f"An answer with 3 parts.\n\n{reply}\n").value == pytest.approx(value)


def test_find_confidence_takes_the_last_tag() -> None:
    assert find_confidence("<confidence>0.2</confidence> no: <confidence>0.6</confidence>").value == 0.6


def test_find_confidence_takes_the_last_line() -> None:
    assert find_confidence("Confidence: 0.2\nOn reflection:\nConfidence: 0.6\nBye.").value == 0.6


def test_find_confidence_prefers_a_tag_to_a_later_line() -> None:
    assert find_confidence("<confidence>0.6</confidence>\nConfidence: 0.2").value == 0.6


def test_find_confidence_reads_past_an_unclosed_tag() -> None:
    assert find_confidence("I put it in <confidence> tags: <confidence>0.6</confidence>").value == 0.6


@pytest.mark.parametrize("stated", ["<confidence>0.99</confidence>", "Confidence: 0.99"])
def test_B3_find_confidence_passes_over_thinking(stated: str) -> None:
    assert find_confidence(f"<think>{stated}</think>\nConfidence: 0.4\n<think>\n{stated}").value == 0.4


def test_find_confidence_reads_the_end_of_a_long_paragraph() -> None:
    assert find_confidence("It scatters. " * 200 + "Confidence: 80%").value == 0.8


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "I am sure.",
        "I am not 90% sure.",
        "The 95% confidence interval is 3 to 5.",
        "In confidence, 9 of 10 agree.",
        "Confidence:",
    ],
)
def test_find_confidence_does_not_guess_where_none_is_stated(reply: str) -> None:
    assert find_confidence(reply) == Confidence(value=None, problem="no confidence is stated")


def test_find_confidence_says_why_a_stated_one_cannot_be_read() -> None:
    assert "150" in (find_confidence("Confidence: 150").problem or "")


@pytest.mark.parametrize(
    "stated", ["not high", "uncertain", "moderately high", "5", "I checked 3 sources", "none of it"]
)
def test_find_confidence_takes_no_value_from_words_that_state_another(stated: str) -> None:
    read = find_confidence(f"Confidence: {stated}")
    assert read.value is None and read.problem


def test_find_confidence_does_not_lose_a_sign() -> None:
    assert find_confidence("Confidence: -0.5").value is None


@pytest.mark.parametrize(
    "piece",
    ["<confidence>", "confidence" + " " * 380 + "\n", "confidence ( ", "confidence:", "9", "9/", "\n", "</think>"],
)
def test_find_confidence_reads_a_megabyte_of_hostile_text(piece: str) -> None:
    read = find_confidence(piece * (1_000_000 // len(piece)))
    assert (read.value is None) == (read.problem is not None)


@given(
    st.text(max_size=40)
    | st.lists(PIECES, max_size=12).map("".join)
    | st.floats()
    | st.integers()
    | st.none()
    | st.booleans()
    | st.lists(st.integers(), max_size=3)
)
@settings(max_examples=300, deadline=None)
def test_B4_read_confidence_never_raises_and_never_leaves_its_range(stated: object) -> None:
    read = read_confidence(stated)
    assert (read.value is None and bool(read.problem)) or (0 <= (read.value or 0) <= 1 and read.problem is None)


@given(st.lists(PIECES | st.text(max_size=10), max_size=20).map("".join))
@settings(max_examples=300, deadline=None)
def test_B4_find_confidence_never_raises_and_never_leaves_its_range(reply: str) -> None:
    read = find_confidence(reply)
    assert (read.value is None and bool(read.problem)) or (0 <= (read.value or 0) <= 1 and read.problem is None)


@given(st.integers(min_value=11, max_value=100))
@settings(max_examples=50, deadline=None)
def test_B4_a_percentage_reads_the_same_with_and_without_its_sign(percent: int) -> None:
    assert read_confidence(f"{percent}%") == read_confidence(percent) == read_confidence(str(percent))


@given(st.floats(min_value=0, max_value=1))
@settings(max_examples=100, deadline=None)
def test_B4_a_fraction_survives_being_written_and_read(fraction: float) -> None:
    assert read_confidence(f"{fraction:.6f}").value == pytest.approx(fraction, abs=1e-6)


@pytest.mark.parametrize(
    ("lines", "value"), [(["so it is"] * 9_000, 0.9), (["we are sure"] * 150, 0.9), (["we are sure"] * 300, None)]
)
def test_a_confidence_is_searched_in_a_bounded_number_of_lines(lines: list[str], value: float | None) -> None:
    assert find_confidence("\n".join(["Confidence: 0.9", *lines])).value == value
