"""The end of a run: chooses the iteration that gives the answer, and lists what is missing."""

from collections.abc import Sequence
from typing import Any

from consortium_mcp._util.counts import counted
from consortium_mcp.engine.judging import judging_methods, most_agreed
from consortium_mcp.engine.judging.pick_and_rank import answer_of
from consortium_mcp.engine.measures import answering
from consortium_mcp.engine.members import why_too_few
from consortium_mcp.records import CallId, Iteration, MemberResponse, Run, Status, Verdict, now_utc
from consortium_mcp.records.consortium import alternatives
from consortium_mcp.text.same_text import same_text


def closed(run: Run) -> Run:
    """The run with its answer and its `degraded` list."""
    best = best_iteration(run)
    if best is not None and best.verdict is not None:
        answer: dict[str, Any] = {
            "selected_iteration": best.number,
            "answer": best.verdict.synthesis,
            "confidence": best.confidence,
            "dissent": best.verdict.dissent,
            "degraded": (
                *_stopped(run),
                *_stood_in(run, best),
                *_missing(run, best.responses),
                *_unseen_by_arbiter(run, best),
                *_unread(run, best.verdict),
                *_lost_after(run, best),
            ),
        }
    elif run.iterations and run.consortium.on_partial == "fail" and why_too_few(run, run.iterations[-1].responses):
        return ended(run, "failed", _why_failed(run))
    elif (last := _last_answered(run)) is not None and run.output_schema:
        why = (
            f"{_judge(run)} gave no verdict ({_clause(last.arbiter_error)}), and no single response follows the schema."
        )
        return ended(run, "failed", why)
    elif last is not None:
        single = _most_agreed(last)
        answer = {
            "selected_iteration": last.number,
            "answer": answer_of(single),
            "degraded": (
                f"{_judge(run)} gave no verdict ({_clause(last.arbiter_error)}); this is the response of "
                f"{single.label}, which agrees most with the others.",
                *_stopped(run),
                *_missing(run, last.responses),
                *_lost_after(run, last),
            ),
        }
    else:
        return ended(run, "failed", _why_failed(run))
    return run.model_copy(update={**answer, "ended_utc": now_utc()})


def ended(run: Run, status: Status, error: str) -> Run:
    """The run without an answer, with the reason."""
    return run.model_copy(update={"status": status, "error": error, "ended_utc": now_utc()})


def best_iteration(run: Run) -> Iteration | None:
    """The iteration whose synthesis is the answer; None if there is no verdict.

    It is the iteration that converged, else the one with the highest confidence; of equal ones, the later.
    """
    judged = [iteration for iteration in run.iterations if iteration.verdict]
    if not judged:
        return None
    if run.status == "converged":
        return judged[-1]
    return max(judged, key=lambda one: (-1.0 if one.confidence is None else one.confidence, one.number))


def will_be_answer(run: Run, call_id: CallId) -> bool:
    """Whether the synthesis of this call is certain to be the answer, whatever its verdict is.

    That is true for the arbiter of the last possible iteration, while no earlier iteration has a confidence. Otherwise
    the iteration with the highest confidence gives the answer, and the confidence is stated after the synthesis.
    """
    last = len(run.iterations) + 1 >= run.consortium.iteration_limit
    return last and call_id.what == "arbiter" and all(one.confidence is None for one in run.iterations)


def brings_nothing(run: Run) -> bool:
    """Whether the last synthesis repeats the one before it; blanks and case count in code only."""
    before, last = ([one.verdict for one in run.iterations[-2:]] + [None, None])[:2]
    return before is not None and last is not None and same_text(before.synthesis, last.synthesis)


def _last_answered(run: Run) -> Iteration | None:
    """The last iteration in which a member gave a response; None if there is none."""
    return next((one for one in reversed(run.iterations) if any(response.ok for response in one.responses)), None)


def _most_agreed(iteration: Iteration) -> MemberResponse:
    """The response that the others agree with most; in a tie the first; a declining one only if all decline."""
    usable = answering(iteration) or [response for response in iteration.responses if response.ok]
    return most_agreed(usable, usable)


def _judge(run: Run) -> str:
    """The name of the arbiter or the method that should have given the verdict."""
    method = judging_methods().get(run.consortium.judging_method)
    if method is not None and not method.needs_arbiter:
        return f"The judging method {method.name}"
    return f"The arbiter {run.consortium.arbiter}"


def _stopped(run: Run) -> list[str]:
    """The sentence that the run ended below its threshold, if it did."""
    if run.status == "exhausted" and len(run.iterations) < run.consortium.iteration_limit and brings_nothing(run):
        return [f"The run ended below its threshold: iteration {len(run.iterations)} brought nothing new."]
    if run.status not in ("deadline", "budget"):
        return []
    return [
        f"The run ended at its {run.status}, in iteration {len(run.iterations)} of {run.consortium.iteration_limit}."
    ]


def _stood_in(run: Run, iteration: Iteration) -> list[str]:
    arbiter, reason = run.consortium.arbiter or "", _clause(iteration.arbiter_error)
    if iteration.judged_by is None:
        return [f"The arbiter {arbiter} judged, but {reason}."] if iteration.arbiter_error else []
    first, *backups = alternatives(arbiter)
    if iteration.judged_by in backups:
        return [f"The arbiter {first} could not answer; its backup {iteration.judged_by} judged in its place."]
    return [f"The arbiter {arbiter} failed ({reason}); {iteration.judged_by}, a member, judged in its place."]


def was_decided(run: Run, responses: Sequence[MemberResponse]) -> bool:
    """Whether the late responses of an iteration could not have changed its verdict, so that the run did not wait."""
    method = judging_methods().get(run.consortium.judging_method)
    on_time = [response for response in responses if not response.late]
    return method is not None and method.decided is not None and method.decided(run, on_time, len(responses))


def _missing(run: Run, responses: Sequence[MemberResponse]) -> list[str]:
    """The sentences about missing responses, without late instances that could not change the verdict."""
    failed = [response for response in responses if not response.ok and not response.late]
    late = [] if was_decided(run, responses) else [response.label for response in responses if response.late]
    cut = [response.label for response in responses if response.ok and response.error_kind == "truncated"]
    sentences = []
    if failed:
        sentences.append(
            f"{len(failed)} of {counted(len(responses), 'instance')} gave no response ({_reasons(failed)})."
        )
    if run.consortium.min_responses and (why := why_too_few(run, responses)):
        sentences.append(f"Only {why}.")
    if late:
        sentences.append(f"Late and not judged, after a long silence: {', '.join(late)}.")
    if broken_off := [response.label for response in failed if response.error_kind == "broken_off" and response.text]:
        sentences.append(f"Broken off, kept in part and not judged: {', '.join(broken_off)}.")
    if cut:
        sentences.append(f"Cut at their length limit: {', '.join(cut)}.")
    sentences += _unseen(responses)
    return [*sentences, *(f"{response.label}: {response.note}" for response in responses if response.note)]


def _unseen(responses: Sequence[MemberResponse]) -> list[str]:
    """The models that answered without some of the attachments."""
    without: dict[str, list[str]] = {}
    for response in responses:
        if response.ok and response.unseen:
            without.setdefault(response.unseen, []).append(response.label)
    return [
        f"Answered without {unseen}, which the model does not take: {', '.join(who)}."
        for unseen, who in without.items()
    ]


def _unseen_by_arbiter(run: Run, selected: Iteration) -> list[str]:
    if not selected.arbiter_unseen:
        return []
    judge = selected.judged_by or run.consortium.arbiter
    return [f"Judged without {selected.arbiter_unseen}, which the model does not take: {judge}."]


def _unread(run: Run, verdict: Verdict) -> list[str]:
    method = judging_methods().get(run.consortium.judging_method)
    reads = method is None or method.needs_arbiter
    what = "The verdict could not be read in full" if reads else _judge(run)
    return [f"{what}: {_clause(verdict.problem)}."] if verdict.problem else []


def _lost_after(run: Run, selected: Iteration) -> list[str]:
    """The sentences about failures in the iterations after the selected one."""
    sentences = []
    for iteration in run.iterations[selected.number :]:
        if iteration.verdict is None:
            reason = _clause(iteration.arbiter_error or "no member gave a response")
            sentences.append(f"Iteration {iteration.number} gave no verdict ({reason}).")
        elif iteration.verdict.problem:
            problem = _clause(iteration.verdict.problem)
            sentences.append(f"The verdict of iteration {iteration.number} could not be read in full: {problem}.")
    return sentences


def _why_failed(run: Run) -> str:
    if not run.iterations:
        return f"The run ended at its {run.status} before a model could be asked."
    responses = run.iterations[-1].responses
    reasons = _reasons([response for response in responses if not response.ok])
    if any(response.ok for response in responses):
        return f"{why_too_few(run, responses)}, so the run failed, as on_partial requires ({reasons})."
    return f"No member gave a response, so the arbiter was not asked ({reasons})."


def _reasons(failed: Sequence[MemberResponse]) -> str:
    """Why each call failed, as a part of a sentence."""
    return "; ".join(f"{response.label}: {response.error_kind}, {_clause(response.error)}" for response in failed)


def _clause(sentence: str | None) -> str:
    """A sentence without its full stop, for use inside another sentence."""
    return f"{sentence}".rstrip(".")
