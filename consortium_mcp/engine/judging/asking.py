"""Asks the arbiter for a verdict: a second time if its reply is unreadable; if it fails, a member judges."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from consortium_mcp.engine.judging.fields import text_of
from consortium_mcp.engine.judging.origin import Origin, origin_of
from consortium_mcp.engine.judging.question import question, repair
from consortium_mcp.engine.judging.reader import CUT_SYNTHESIS, joined, looks_like_form
from consortium_mcp.engine.judging.shortening import asked_in_full_or_shortened
from consortium_mcp.engine.judging.standing_in import refuses, stand_in
from consortium_mcp.engine.members import CallModel
from consortium_mcp.engine.trust import order_held
from consortium_mcp.records import CallResult, CallSpec, Iteration, Measures, Run, Verdict
from consortium_mcp.text.confidence_line import without_end_tag
from consortium_mcp.text.thinking import outside_thinking

ReadsSchema = Callable[[str], bool]
"""Whether the model with that name supports schemas."""


ORDER_MARGIN = 0.05
"""The largest distance from the threshold at which a second judgement, in reversed order, is made."""


@dataclass(frozen=True)
class Form:
    """How a verdict is asked for, and how it is read."""

    template: str
    """The name of the template that asks for the form, without `_json` or `_tags`."""

    schema: Callable[[int], dict[str, Any]]
    """Makes the JSON schema for models that support schemas, from the number of responses. Its descriptions replace the
    template.
    """

    read: Callable[[str, Iteration, Origin], Verdict | None]
    """Reads the verdict of a reply with a known origin; None if the reply has no verdict in this form."""

    takes_text: bool = True
    """Whether a reply in another form counts as the synthesis."""

    beginning: Callable[[str], str] | None = None
    """Reads the synthesis so far from an unfinished reply; None if this form can only be read as a whole."""


async def ask_arbiter(
    run: Run, iteration: Iteration, call: CallModel, reads_schema: ReadsSchema, form: Form
) -> Iteration:
    """Ask the arbiter for a verdict on an iteration's responses; if it fails, a member judges."""
    arbiter = run.consortium.arbiter or ""
    judged = await _verdict_of(run, iteration, arbiter, "arbiter", call, reads_schema, form)
    if judged.verdict is not None:
        return await _with_order_checked(run, judged, arbiter, call, reads_schema, form)
    model = stand_in(iteration, arbiter)
    if model is None or (run.output_schema and not reads_schema(model)):
        return judged
    again = await _verdict_of(run, iteration, model, "arbiter/standin", call, reads_schema, form)
    if again.verdict is None:
        both = f"{judged.arbiter_error}; {model} in its place: {again.arbiter_error}"
        return judged.model_copy(update={"arbiter_error": both})
    return again.model_copy(update={"judged_by": again.judged_by or model, "arbiter_error": judged.arbiter_error})


async def _verdict_of(
    run: Run, iteration: Iteration, model: str, role: str, call: CallModel, reads_schema: ReadsSchema, form: Form
) -> Iteration:
    """The iteration with a model's verdict, or the reason why there is none; an unreadable one is requested again."""
    schema = form.schema(len(iteration.shown_order)) if reads_schema(model) else None
    label = f"{model} (arbiter)"

    def build(role: str, most: int | None) -> CallSpec:
        shown = iteration.shown_order
        return question(run, iteration, shown, form.template, schema, most, role=role, model=model, label=label)

    asked, result, lacks = await asked_in_full_or_shortened(call, iteration, role, build)
    if not result.ok:
        failure = {"arbiter_error": result.error, "raw_verdict": result.text, "arbiter_unseen": result.unseen}
        return iteration.model_copy(update=failure)
    reply = result.text or ""
    verdict = _read(form, result, iteration, origin_of(run, iteration, asked.call_id))
    refused = refuses(verdict.synthesis if verdict and not verdict.chosen else reply, iteration)
    if refused:
        verdict = None
    elif verdict is None or verdict.confidence is None:
        verdict = await _repaired(run, iteration, asked, result, verdict, call, form)
    judged = {
        "verdict": verdict,
        "judged_by": result.answered_by,
        "arbiter_unseen": result.unseen,
        "arbiter_error": lacks if verdict else _why_none(reply, refused),
        "raw_verdict": reply,
    }
    return iteration.model_copy(update=judged)


def _read(form: Form, result: CallResult, iteration: Iteration, origin: Origin) -> Verdict | None:
    """The verdict of a reply; None if there is none, or if its synthesis repeats our instructions."""
    verdict = form.read(result.text or "", iteration, origin)
    if verdict and not verdict.chosen and origin.repeats_instructions(verdict.synthesis):
        return None
    return _told_if_cut(verdict, result)


def _told_if_cut(verdict: Verdict | None, result: CallResult) -> Verdict | None:
    """The verdict, with a note if the reply was cut at its length limit."""
    if verdict is None or result.error_kind != "truncated":
        return verdict
    problem = joined(verdict.problem, "the reply was cut at its length limit")
    return verdict.model_copy(update={"problem": problem})


def _why_none(reply: str, refused: bool) -> str:
    if refused:
        return "it refused to judge"
    if not outside_thinking(reply):
        return "its reply contains neither a verdict nor any text besides its thinking"
    return "its reply contains no readable verdict"


async def _with_order_checked(
    run: Run, judged: Iteration, arbiter: str, call: CallModel, reads_schema: ReadsSchema, form: Form
) -> Iteration:
    """The iteration after a second judgement in reversed order, if the confidence is close to the threshold."""
    verdict, rules = judged.verdict, run.consortium
    if verdict is None or verdict.confidence is None or len(judged.shown_order) < 2 or not rules.check_order:
        return judged
    if abs(verdict.confidence - rules.confidence_threshold) >= ORDER_MARGIN:
        return judged
    reversed_order = judged.model_copy(update={"shown_order": judged.shown_order[::-1], "verdict": None})
    again = await _verdict_of(run, reversed_order, arbiter, "arbiter/reversed", call, reads_schema, form)
    if again.verdict is None:
        return judged
    return judged.model_copy(update={"measures": Measures(order_held=order_held(verdict, again.verdict))})


async def _repaired(
    run: Run,
    iteration: Iteration,
    asked: CallSpec,
    first: CallResult,
    verdict: Verdict | None,
    call: CallModel,
    form: Form,
) -> Verdict | None:
    """The verdict after the second request; the first reply's text is kept if it was complete."""
    problem = verdict.problem if verdict and verdict.problem else "no verdict in the requested form"
    reply = first.text or ""
    result: CallResult = await call(repair(run, asked, form.template, reply, problem))
    origin = origin_of(run, iteration, asked.call_id)
    second = _read(form, result, iteration, origin) if result.ok else None
    if verdict is None:
        return second or (_told_if_cut(_text_alone(reply, origin), first) if form.takes_text else None)
    if second is None or second.confidence is None:
        return verdict
    if CUT_SYNTHESIS in problem:
        return second
    others = problem.partition("; ")[2] or None  # the first clause is about the confidence
    return verdict.model_copy(update={"confidence": second.confidence, "problem": others})


def _text_alone(reply: str, origin: Origin) -> Verdict | None:
    """The synthesis from a reply that is plain text instead of a verdict; None if the text is not an answer."""
    text = without_end_tag(text_of(outside_thinking(reply)))
    if not text or looks_like_form(text) or origin.repeats_the_question(text) or origin.repeats_instructions(text):
        return None
    return Verdict(
        synthesis=text, problem="the arbiter's reply is not in the requested form; its text is used unchanged"
    )
