"""The loop: the questions of each iteration, its end, and the iteration that gives the answer."""

import re
from collections.abc import Sequence
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consortium_mcp.engine.members import ask_all, specs_of
from consortium_mcp.engine.outcome import best_iteration, closed
from consortium_mcp.engine.strategies import plan
from consortium_mcp.records import CallResult, CallSpec, Iteration, Run, Turn, Verdict
from consortium_mcp.records.consortium import instances
from tests.scripted import (
    MARK,
    Reply,
    ScriptedCalls,
    failed,
    last_state,
    new_run,
    panel,
    response,
    states,
    verdict_text,
    verdicts,
)

pytestmark = pytest.mark.anyio

HISTORY = (Turn(role="user", text="Hello."), Turn(role="assistant", text="Hello, what is it?"))
UNREADABLE = "Just a text."


def said(synthesis: str, confidence: object, **fields: Any) -> str:
    """A verdict as the arbiter writes it."""
    return verdict_text(synthesis, confidence, **fields)


async def ended_run(*replies: Reply, run: Run | None = None, **rules: Any) -> tuple[Run, ScriptedCalls]:
    """The closed run in which the arbiter gives these replies, one for each iteration, and all calls."""
    call = ScriptedCalls(verdicts(*replies))
    return closed(await last_state(run or new_run(consortium=panel(**rules)), call)), call


def member_calls(call: ScriptedCalls) -> list[CallSpec]:
    """The questions to members."""
    return [spec for spec in call.asked if "/m" in spec.call_id]


def arbiter_calls(call: ScriptedCalls) -> list[CallSpec]:
    """The questions to the arbiter, repairs left out."""
    return [spec for spec in call.asked if spec.call_id.endswith("/arbiter")]


# what is asked


@pytest.mark.parametrize(
    "prompt", ["Why?", "  two\n\nlines  ", "<prompt><instruction>x</instruction></prompt>", "{} $x"]
)
async def test_B1_the_first_iteration_sends_the_callers_text_untouched(prompt: str) -> None:
    _, call = await ended_run(said("x", 0.9), run=new_run(prompt))
    assert {spec.prompt for spec in member_calls(call)} == {prompt}


async def test_B1_the_system_prompt_travels_apart_from_the_prompt() -> None:
    _, call = await ended_run(said("x", 0.9), system_prompt="Be brief.")
    asked = [
        ((spec.system or "").startswith("Be brief.\n\n"), "Be brief." in spec.prompt) for spec in member_calls(call)
    ]
    assert asked == [(True, False)] * 2


async def test_a_members_own_system_prompt_and_options_win() -> None:
    own = {"model": "a", "system_prompt": "Be rude.", "options": {"temperature": 0}}
    _, call = await ended_run(said("x", 0.9), members=[own, {"model": "b"}], system_prompt="Be kind.")
    asked = [((spec.system or "").partition("\n\n")[0], spec.options) for spec in member_calls(call)]
    assert asked == [("Be rude.", {"temperature": 0}), ("Be kind.", {})]


@pytest.mark.parametrize("system", [None, "Be brief."])
async def test_members_are_asked_for_a_marked_answer_and_a_confidence(system: str | None) -> None:
    _, call = await ended_run(said("x", 0.9), system_prompt=system)
    requests = [re.findall(r"^(Answer|Confidence): <", spec.system or "", re.MULTILINE) for spec in member_calls(call)]
    assert requests == [["Answer", "Confidence"]] * 2


async def test_B11_history_and_system_prompt_reach_members_and_arbiter_in_every_iteration() -> None:
    consortium = panel(system_prompt="Be brief.", max_iterations=3)
    _, call = await ended_run(
        *[said(f"x{n}", 0.1) for n in range(3)], run=new_run(consortium=consortium, history=HISTORY)
    )
    members = [(spec.history == HISTORY, "Be brief." in (spec.system or "")) for spec in member_calls(call)]
    fenced = re.compile(rf"--- conversation before the prompt {MARK} ---\n(.*?)\n--- end of conversation", re.DOTALL)
    turns = "\n\n".join(f"{turn.role}: {turn.text}" for turn in HISTORY)
    arbiter = [(fenced.findall(spec.prompt), "Be brief." in spec.prompt) for spec in arbiter_calls(call)]
    assert (members, arbiter) == ([(True, True)] * 6, [([turns], True)] * 3)
    assert [spec.history for spec in arbiter_calls(call)] == [()] * 3


async def test_a_later_iteration_shows_members_the_last_synthesis_and_what_to_work_on() -> None:
    fields = {"refinement_areas": ["the sunset", "the sea"], "dissent": "it is green"}
    _, call = await ended_run(said("it is blue", 0.4, **fields), said("x", 0.9))
    prompt = call.question("i2/m1").prompt
    shown = ("Why is the sky blue?", "it is blue", "0.40", "- the sunset\n- the sea", "it is green")
    assert [text for text in shown if text not in prompt] == []


async def test_call_ids_are_readable_and_in_the_order_of_the_consortium() -> None:
    _, call = await ended_run(said("x", 0.1), UNREADABLE, members=[{"model": "a", "count": 2}, {"model": "b"}])
    expected = ["i1/m1", "i1/m2", "i1/m3", "i1/arbiter", "i2/m1", "i2/m2", "i2/m3", "i2/arbiter", "i2/arbiter/repair1"]
    assert call.ids == expected


async def test_labels_are_unique_when_a_model_stands_in_two_members() -> None:
    members = [{"model": "a", "count": 2}, {"model": "b"}, {"model": "a", "system_prompt": "Be rude."}]
    run, _ = await ended_run(said("x", 0.9), members=members)
    assert [one.label for one in run.iterations[0].responses] == ["a#1", "a#2", "b#1", "a#3"]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 4)), min_size=1, max_size=5))
@settings(max_examples=50, deadline=None)
def test_every_instance_is_asked_once_under_a_label_of_its_own(members: list[tuple[str, int]]) -> None:
    consortium = panel(members=[{"model": model, "count": count} for model, count in members])
    asks = plan(new_run(consortium=consortium))
    labels = {ask.label for ask in asks}
    assert len(labels) == len(asks) == consortium.instance_count == len(list(instances(consortium)))


async def test_B24_responses_keep_the_declared_order_whatever_finished_first() -> None:
    gates = {f"i1/m{place}": anyio.Event() for place in (1, 2, 3)}
    order: list[str] = []

    async def call(spec: CallSpec) -> CallResult:
        after = {"i1/m1": "i1/m2", "i1/m2": "i1/m3"}.get(spec.call_id)
        if after:
            await gates[after].wait()
        order.append(spec.call_id)
        gates[spec.call_id].set()
        return CallResult(text=f"answer of {spec.model}")

    responses = await ask_all(specs_of(new_run(consortium=panel("c", "a", "b"))), call)
    assert (order, [one.label for one in responses]) == (["i1/m3", "i1/m2", "i1/m1"], ["c#1", "a#1", "b#1"])


async def test_a_members_stated_confidence_is_read_from_its_response() -> None:
    call = ScriptedCalls(m1="Blue.\nConfidence: 85%", m2="Blue.", arbiter=said("x", 0.9))
    run = await last_state(new_run(), call)
    assert [one.stated_confidence for one in run.iterations[0].responses] == [0.85, None]


# state and replay


async def test_B5_a_second_run_knows_nothing_of_the_first() -> None:
    _, alone = await ended_run(said("second", 0.9), run=new_run("second question"))
    await ended_run(said("first", 0.1), said("first", 0.1), said("first", 0.9), run=new_run("first question"))
    _, after = await ended_run(said("second", 0.9), run=new_run("second question"))
    assert after.asked == alone.asked


async def test_B5_two_runs_at_once_share_nothing() -> None:
    calls = {name: ScriptedCalls(verdicts(*[said(f"{name} synthesis", 0.1)] * 3)) for name in ("vermilion", "viridian")}
    async with anyio.create_task_group() as group:
        for name, call in calls.items():
            group.start_soon(last_state, new_run(f"{name} question"), call)
    asked = {name: "".join(spec.prompt for spec in call.asked) for name, call in calls.items()}
    assert "viridian" not in asked["vermilion"] and "vermilion" not in asked["viridian"]


async def test_B5_the_run_that_was_given_is_not_changed() -> None:
    run = new_run()
    every = await states(run, ScriptedCalls(verdicts(said("x", 0.1), said("y", 0.9))))
    assert [len(one.iterations) for one in (run, *every)] == [0, 1, 2]


@given(
    st.lists(
        st.sampled_from(
            [said("x", 0.1, refinement_areas=["y"]), said("x", 0.95), UNREADABLE, said("x", "?"), failed()]
        ),
        min_size=4,
        max_size=4,
    ),
    st.integers(),
    st.integers(1, 4),
)
@settings(max_examples=40, deadline=None)
def test_replaying_the_same_results_asks_the_same_questions(replies: list[Reply], seed: int, minimum: int) -> None:
    def questions() -> Sequence[CallSpec]:
        call = ScriptedCalls(verdicts(*replies))
        run = new_run(consortium=panel("a", "b", "c", max_iterations=4, min_iterations=minimum), shuffle_seed=seed)
        anyio.run(last_state, run, call)
        return call.asked

    assert questions() == questions()


# when it stops


async def test_a_run_stops_when_its_confidence_reaches_the_threshold() -> None:
    run, _ = await ended_run(said("x", 0.5), said("y", 0.8), said("z", 1.0), confidence_threshold=0.8)
    assert (run.status, run.answer, run.confidence, len(run.iterations)) == ("converged", "y", 0.8, 2)


async def test_a_run_goes_on_until_its_minimum_is_reached() -> None:
    run, _ = await ended_run(said("x", 0.9), said("y", 0.9), said("z", 0.9), min_iterations=2)
    assert (run.status, run.selected_iteration, len(run.iterations)) == ("converged", 2, 2)


async def test_a_minimum_above_the_maximum_is_reached_as_in_the_seed() -> None:
    run, _ = await ended_run(*[said("x", 0.9)] * 4, min_iterations=4, max_iterations=2)
    assert len(run.iterations) == 4


async def test_B10_an_arbiter_that_asks_for_another_iteration_gets_it() -> None:
    run, _ = await ended_run(said("x", 0.95, needs_iteration=True), said("y", 0.9))
    assert (run.status, run.answer, len(run.iterations)) == ("converged", "y", 2)


async def test_B10_asking_for_more_does_not_go_beyond_the_maximum() -> None:
    run, _ = await ended_run(*[said("x", 0.95, needs_iteration=True)] * 2, max_iterations=2)
    assert (run.status, len(run.iterations)) == ("exhausted", 2)


@pytest.mark.parametrize("reply", [UNREADABLE, said("Just a text.", "unsure"), "<synthesis>Just a text.</synthesis>"])
async def test_B10_an_unreadable_confidence_burns_no_further_iteration(reply: str) -> None:
    run, call = await ended_run(reply, said("never asked", 0.9), max_iterations=5)
    assert (run.status, run.answer, run.confidence) == ("exhausted", "Just a text.", None)
    assert call.ids == ["i1/m1", "i1/m2", "i1/arbiter", "i1/arbiter/repair1"]


async def test_B10_an_unreadable_confidence_is_told_with_the_answer() -> None:
    run, _ = await ended_run(UNREADABLE)
    assert len(run.degraded) == 1 and run.degraded[0].startswith("The verdict could not be read in full")


async def test_an_unreadable_confidence_does_not_stop_a_run_before_its_minimum() -> None:
    run, _ = await ended_run(UNREADABLE, said("y", 0.9), min_iterations=2)
    assert (run.status, run.answer, run.degraded) == ("converged", "y", ())


async def test_a_run_is_exhausted_after_its_maximum() -> None:
    run, _ = await ended_run(*[said(f"x{n}", 0.1) for n in range(3)], max_iterations=3)
    assert (run.status, len(run.iterations)) == ("exhausted", 3)


async def test_B10_a_run_ends_when_an_iteration_brings_nothing_new_and_says_so() -> None:
    run, _ = await ended_run(*[said("The sky is blue, because of scattering.", 0.1)] * 3, max_iterations=3)
    assert (run.status, len(run.iterations)) == ("exhausted", 2)
    assert "iteration 2 brought nothing new" in closed(run).degraded[0]


@given(
    st.lists(
        st.sampled_from([said("x", 0.1), said("x", 0.9), said("x", 0.9, needs_iteration=True), "?"]),
        min_size=6,
        max_size=6,
    ),
    st.integers(1, 6),
    st.integers(1, 6),
)
@settings(max_examples=60, deadline=None)
def test_a_run_never_has_fewer_iterations_than_its_minimum_nor_more_than_its_limit(
    replies: list[Reply], minimum: int, maximum: int
) -> None:
    consortium = panel("a", min_iterations=minimum, max_iterations=maximum)
    run = anyio.run(last_state, new_run(consortium=consortium), ScriptedCalls(verdicts(*replies)))
    assert minimum <= len(run.iterations) <= consortium.iteration_limit
    assert run.status in ("converged", "exhausted")


async def test_the_run_is_yielded_after_each_iteration_with_how_it_stands() -> None:
    every = await states(new_run(), ScriptedCalls(verdicts(said("x", 0.1), said("y", 0.9))))
    assert [(len(run.iterations), run.status) for run in every] == [(1, "running"), (2, "converged")]


# failures


async def test_B8_when_every_member_fails_the_arbiter_is_not_asked_and_there_is_no_answer() -> None:
    call = ScriptedCalls(m1=failed("auth", "No key."), m2=failed("empty", "It is empty."))
    run = closed(await last_state(new_run(), call))
    assert (run.status, run.answer, run.selected_iteration, call.ids) == ("failed", None, None, ["i1/m1", "i1/m2"])


async def test_B8_the_error_names_each_member_and_its_reason() -> None:
    call = ScriptedCalls(m1=failed("auth", "No key."), m2=failed("empty", "It is empty."))
    run = closed(await last_state(new_run(), call))
    assert "a#1: auth, No key; b#1: empty, It is empty" in (run.error or "")


async def test_a_member_that_fails_is_told_with_the_answer_and_the_others_are_judged() -> None:
    run = closed(await last_state(new_run(), ScriptedCalls(m1=failed("timeout", "Too slow."), arbiter=said("x", 0.9))))
    assert (run.answer, run.degraded) == ("x", ("1 of 2 instances gave no response (a#1: timeout, Too slow).",))


async def test_B32_a_truncated_response_is_judged_and_told() -> None:
    cut = CallResult(text="half of", error_kind="truncated", error="Cut.")
    call = ScriptedCalls(m1=cut, arbiter=said("x", 0.9))
    run = closed(await last_state(new_run(), call))
    assert "half of" in call.question("i1/arbiter").prompt and run.degraded == ("Cut at their length limit: a#1.",)


async def test_B7_when_the_arbiter_fails_the_member_that_the_others_agree_with_judges_in_its_place() -> None:
    said = {"m1": "41\nConfidence: 99%", "m2": "It is 42.\nConfidence: 20%", "m3": "42"}
    call = ScriptedCalls(**said, arbiter=failed("server", "Down."))
    run = closed(await last_state(new_run(consortium=panel("a", "b", "c")), call))
    assert (run.status, run.answer, call.question("i1/arbiter/standin").model) == ("converged", "the synthesis", "b")
    assert run.degraded == ("The arbiter judge failed (Down); b, a member, judged in its place.",)


async def test_no_model_that_has_failed_as_the_arbiter_stands_in_for_it_and_the_backup_that_did_is_named() -> None:
    down = failed("server", "Down.")
    by_backup = CallResult(text=verdict_text("by c", 0.9), answered_by="c")
    call = ScriptedCalls(m1="I\nConfidence: 90%", m2="II\nConfidence: 20%", arbiter=down, arbiter_standin=by_backup)
    run = closed(await last_state(new_run(consortium=panel("judge|a", "b|c")), call))
    assert call.question("i1/arbiter/standin").model == "b|c" and run.iterations[0].judged_by == "c"


async def test_B7_without_a_judge_the_response_that_the_others_agree_with_most_is_the_answer() -> None:
    down = failed("server", "Down.")
    call = ScriptedCalls(m1="it is blue", m2="it is green", m3="it is blue indeed", arbiter=down, arbiter_standin=down)
    run = closed(await last_state(new_run(consortium=panel("a", "b", "c")), call))
    assert (run.status, run.answer, run.confidence) == ("exhausted", "it is blue", None)
    assert "gave no verdict (Down." in run.degraded[0] and "this is the response of a#1, which" in run.degraded[0]


async def test_without_a_judge_agreement_is_of_answers_and_not_of_words() -> None:
    down = failed("server", "Down.")
    texts = {"m1": "I add the two numbers. Answer: 41", "m2": "I add the two numbers. Answer: 40"}
    call = ScriptedCalls(**texts, m3="x = 42", m4="It is 42", arbiter=down, arbiter_standin=down)
    run = closed(await last_state(new_run(consortium=panel(*"abcd")), call))
    assert run.answer == "x = 42"


async def test_B7_an_arbiter_that_only_thinks_is_told_with_its_reason() -> None:
    run, _ = await ended_run("<think>hm")
    assert "None" not in run.degraded[0] and "nor any text besides its thinking" in run.degraded[0]


async def test_B7_responses_of_the_first_iteration_are_not_lost_when_all_fail_in_the_second() -> None:
    def script(spec: CallSpec) -> Reply:
        return "the one answer" if spec.call_id == "i1/m1" else failed("server", "Down.")

    run = closed(await last_state(new_run(consortium=panel(min_iterations=2)), ScriptedCalls(script)))
    assert (run.status, run.answer, run.selected_iteration) == ("exhausted", "the one answer", 1)


async def test_B30_when_all_members_fail_in_the_second_iteration_the_first_ones_answer_stays() -> None:
    def script(spec: CallSpec) -> Reply:
        if spec.iteration == 2:
            return failed("server", "Down.")
        return said("first", 0.4) if "arbiter" in spec.call_id else "an answer"

    run = closed(await last_state(new_run(), ScriptedCalls(script)))
    assert (run.status, run.answer, run.confidence) == ("exhausted", "first", 0.4)
    assert run.degraded == ("Iteration 2 gave no verdict (no member gave a response).",)


async def test_when_the_second_verdict_cannot_be_read_the_first_ones_answer_stays_and_this_is_told() -> None:
    run, _ = await ended_run(said("first", 0.4), UNREADABLE)
    assert run.answer == "first" and [one[:28] for one in run.degraded] == ["The verdict of iteration 2 c"]


# the answer


async def test_B9_the_best_iteration_is_the_answer_and_says_which() -> None:
    fields = {"dissent": "it is green"}
    run, _ = await ended_run(said("good", 0.79, **fields), said("BAD", 0.1), said("poor", 0.3), max_iterations=3)
    answer = (run.answer, run.confidence, run.dissent, run.selected_iteration, run.status)
    assert answer == ("good", 0.79, "it is green", 1, "exhausted")


async def test_B9_of_two_equally_good_iterations_the_later_one_is_the_answer() -> None:
    run, _ = await ended_run(said("early", 0.5), said("late", 0.5), said("poor", 0.1))
    assert (run.answer, run.selected_iteration) == ("late", 2)


async def test_B9_the_iteration_that_converged_is_the_answer_though_an_earlier_one_was_surer() -> None:
    run, _ = await ended_run(said("unfinished", 0.99, needs_iteration=True), said("finished", 0.85))
    assert (run.answer, run.selected_iteration) == ("finished", 2)


@given(st.lists(st.none() | st.floats(0, 1), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_B9_no_iteration_is_surer_than_the_selected_one(confidences: list[float | None]) -> None:
    iterations = [
        Iteration(number=number, responses=(response(1),), verdict=Verdict(synthesis="x", confidence=confidence))
        for number, confidence in enumerate(confidences, start=1)
    ]
    best = best_iteration(new_run(status="exhausted", iterations=iterations))
    assert best and (best.confidence or 0) == max(confidence or 0 for confidence in confidences)


def test_B30_a_run_without_a_verdict_has_no_best_iteration() -> None:
    assert best_iteration(new_run(iterations=[Iteration(number=1, responses=(response(1),))])) is None


async def test_a_closed_run_says_when_it_ended() -> None:
    run, _ = await ended_run(said("x", 0.9))
    assert run.ended_utc and run.ended_utc.endswith("+00:00")
