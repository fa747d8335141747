"""The record: a run under way as its reader sees it, and the properties of a response."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from consortium_mcp.records import CallId, CallResult, MemberResponse, Progress, Run, now_utc
from tests.scripted import new_run, response


def message(answered: int = 0, waiting_for: tuple[str, ...] = (), judge: bool = False, **fields: Any) -> str:
    """The line for a run under way with this number of responses, waiting for these instances."""
    there = [{"label": f"x#{place}", "asks_member": True, "state": "answered"} for place in range(answered)]
    awaited = [{"label": label, "asks_member": True, "state": "thinking"} for label in waiting_for]
    judging = [{"label": "x (arbiter)", "asks_member": False, "state": "thinking"}] if judge else []
    defaults = {"status": "running", "iteration": 1, "calls_done": 0, "calls": tuple(there + awaited + judging)}
    return Progress.model_validate({"run_id": "01run"} | defaults | fields).message


def test_progress_before_the_first_call_is_starting() -> None:
    assert message(iteration=0) == "starting"


def test_progress_names_who_is_still_thinking() -> None:
    assert message(2, ("gpt-5#2",)) == "2 of 3 responses; waiting for gpt-5#2"


def test_progress_names_three_at_most() -> None:
    waiting = ("a#1", "a#2", "b#1", "b#2")
    assert message(0, waiting) == "0 of 4 responses; waiting for a#1, a#2, b#1 …"


def test_progress_names_all_when_there_are_three() -> None:
    assert message(0, ("a#1", "a#2", "b#1")).endswith("waiting for a#1, a#2, b#1")


def test_progress_with_all_responses_waits_for_no_instance() -> None:
    assert message(3) == "3 of 3 responses"


def test_progress_says_that_the_arbiter_reads() -> None:
    assert message(3, judge=True) == "3 of 3 responses; the arbiter reads them"


def test_progress_names_a_later_iteration() -> None:
    assert message(1, ("a#1", "b#1"), iteration=2) == "iteration 2: 1 of 3 responses; waiting for a#1, b#1"


@pytest.mark.parametrize("status", ["converged", "exhausted", "failed", "cancelled", "interrupted"])
def test_progress_of_a_run_that_is_over_says_how_it_ended(status: str) -> None:
    assert message(0, ("a#1",), judge=True, status=status) == f"ended: {status}"


@pytest.mark.parametrize(
    ("text", "kind", "ok"),
    [("x", None, True), ("x", "truncated", True), ("x", "timeout", False), ("", None, False), (None, "auth", False)],
)
def test_B31_a_result_is_usable_when_it_has_text_that_is_whole_or_cut(text: str | None, kind: Any, ok: bool) -> None:
    assert CallResult(text=text, error_kind=kind).ok == ok


def test_a_failed_response_has_no_stated_confidence() -> None:
    result = CallResult(text="Confidence: 90%", error_kind="timeout", error="Too slow.")
    assert MemberResponse.of(CallId("i1/m1"), "a#1", "a", result).stated_confidence is None


def test_B34_a_response_keeps_all_that_the_call_gave() -> None:
    result = CallResult(text="x", finish_reason="stop", resolved_model="a-1", input_tokens=3, output_tokens=5)
    kept = MemberResponse.of(CallId("i1/m1"), "a#1", "a", result).model_dump(include=set(CallResult.model_fields))
    assert kept == result.model_dump()


def test_a_run_survives_being_written_and_read_as_json() -> None:
    run = new_run(history=[{"role": "user", "text": "x"}])
    assert Run.model_validate_json(run.model_dump_json()) == run


def test_a_record_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        response(1).text = "y"


def test_a_run_says_where_it_can_be_read() -> None:
    run = new_run(run_id="01abc")
    assert (run.uri, run.transcript_uri) == ("consortium://runs/01abc", "consortium://runs/01abc/transcript.md")


def test_B35_the_time_is_aware_utc() -> None:
    assert abs(datetime.fromisoformat(now_utc()) - datetime.now(UTC)) < timedelta(seconds=5)


@given(st.integers(1, 10**9 - 1), st.integers(1, 10**9 - 1))
def test_the_id_of_a_call_is_read_as_it_was_written(iteration: int, place: int) -> None:
    written = CallId.of_member(iteration, place)
    read = [CallId(str(written)), CallId.of_segment(written.segment)]

    assert read == [f"i{iteration}/m{place}"] * 2
    assert {(one.iteration, one.place, one.asks_member) for one in read} == {(iteration, place, True)}


@given(st.text(max_size=12) | st.from_regex(r"i\d{1,3}/[a-z0-9/]{1,9}"))
def test_any_other_text_is_no_id_of_a_call(text: str) -> None:
    try:
        read = CallId(text)
    except ValueError as error:
        assert "is not a call id" in str(error)
    else:
        assert f"i{read.iteration}/{read.what}" == text and read.asks_member == (read.what == f"m{read.place}")
