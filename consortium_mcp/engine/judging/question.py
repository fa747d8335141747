"""Builds the arbiter's question: prompt, responses and earlier answers, fenced, anonymous, in a shuffled order."""

import hashlib
import random
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import JsonValue

from consortium_mcp.engine.quoting import cut_to, fenced, limit_of, unmarked
from consortium_mcp.records import CallId, CallSpec, Iteration, MemberResponse, Run
from consortium_mcp.records.attachment import described
from consortium_mcp.records.consortium import Member, alternatives, instances
from consortium_mcp.records.roles import role_text
from consortium_mcp.text.figures import figure_text
from consortium_mcp.text.templates import clip, fill
from consortium_mcp.text.thinking import outside_thinking

REMINDER_LIMIT = 400
"""The number of characters of the prompt that a very small model gets a second time."""

_ONLY_IN_FULL = ("agreeing_responses", "contradicting_responses", "completeness")
"""The fields of a verdict that a very small model is not asked for."""

_INDEPENDENT = "Each model wrote its response without seeing the others."
_INFLUENCED = "The models may have seen answers of earlier iterations, so that they agree says less."


def shown_order(seed: int, number: int, responses: Sequence[MemberResponse]) -> tuple[int, ...]:
    """The indexes of the usable responses in the order shown to the arbiter; a replay gives the same order.

    A response that is nothing but thinking is not judged.
    """
    places = [
        place for place, response in enumerate(responses) if response.ok and outside_thinking(response.text or "")
    ]
    random.Random(f"{seed}/{number}").shuffle(places)
    return tuple(places)


def verdict_mark(run: Run, call_id: CallId) -> str:
    """The verdict mark of a call, known only to the model of this call; a replay gives the same mark."""
    return hashlib.sha256(f"{run.shuffle_seed}/{run.fence_token}/{call_id}".encode()).hexdigest()[:12]


def question(
    run: Run,
    iteration: Iteration,
    shown: Sequence[int],
    form: str,
    schema: dict[str, Any] | None,
    most: int | None = None,
    **call: str,
) -> CallSpec:
    """The call that asks for a verdict.

    Args:
        shown: the indexes of the responses, in the order shown.
        form: the template that asks for the verdict's form, without `_json` or `_tags`.
        schema: the schema of the reply; None asks for tags.
        most: the characters of each group of quotations; None means the usual limit.
        call: `role` (the end of the call id), `model`, and `label`.
    """
    short = run.gets_short_texts(call["model"])
    limit = limit_of(short) if most is None else min(most, limit_of(short))
    call_id = CallId.of(iteration.number, call["role"])
    mark = verdict_mark(run, call_id)
    return CallSpec(
        call_id=call_id,
        iteration=iteration.number,
        label=call["label"],
        model=call["model"],
        prompt=fill(
            "arbiter",
            short,
            mark=run.fence_token,
            seen=_INFLUENCED if run.iterations else _INDEPENDENT,
            quoted="\n".join(text for text in _quoted(run, iteration, shown, short, limit) if text),
            form=_form(form, schema is not None, short, mark),
        ),
        attachments=run.attachments,
        options=_options(run, call["model"]),
        output_schema=schema and (_decision_first(schema) if short else _marked(schema, mark)),
    )


def _options(run: Run, model: str) -> dict[str, JsonValue]:
    """The llm options for this model: those of the arbiter; for a member that judges, only those for all models."""
    rules = run.consortium
    return rules.options_of(None) if model == rules.arbiter else dict(rules.llm_options or {})


def grouping_question(
    run: Run, iteration: Iteration, shown: Sequence[int], schema: dict[str, Any] | None, model: str
) -> CallSpec:
    """The call that asks which responses give the same answer.

    Args:
        shown: the places of the responses, in the order in which they are shown.
        schema: what the reply must follow; None asks for tags.
    """
    short = run.gets_short_texts(model)
    limit = limit_of(short)
    call_id = CallId.of(iteration.number, "grouping")
    mark = verdict_mark(run, call_id)
    quoted = [*_conversation(run, limit), fenced("prompt", run.prompt, run), *_responses(run, iteration, shown, limit)]
    return CallSpec(
        call_id=call_id,
        iteration=iteration.number,
        label=f"{model} (grouping)",
        model=model,
        prompt=fill(
            "grouping",
            short,
            mark=run.fence_token,
            quoted="\n".join(text for text in quoted if text),
            form=_form("grouping", schema is not None, short, mark),
        ),
        options=_options(run, model),
        output_schema=schema and _marked(schema, mark),
    )


def repair(run: Run, asked: CallSpec, form: str, reply: str, problem: str) -> CallSpec:
    """The call that asks the same model for its verdict again, in the correct form."""
    mark = verdict_mark(run, asked.call_id)
    short = run.gets_short_texts(asked.model)
    (reply,) = cut_to(limit_of(short), [(outside_thinking(reply) or reply).replace(mark, "[mark]")])
    prompt = fill(
        "arbiter_repair",
        short,
        problem=unmarked(problem, run),
        mark=run.fence_token,
        quoted="\n".join([fenced("prompt", run.prompt, run), fenced("verdict", reply, run)]),
        form=_form(form, asked.output_schema is not None, short, mark),
    )
    return asked.model_copy(update={"call_id": asked.call_id.then("repair1"), "prompt": prompt, "attachments": ()})


def _quoted(run: Run, iteration: Iteration, shown: Sequence[int], short: bool, limit: int) -> list[str]:
    """All quotations of the question, fenced; a very small model gets the prompt again near the end."""
    return [
        *_conversation(run, limit),
        fenced("prompt", run.prompt, run),
        fenced("files of the prompt", "\n".join(_files(run, iteration, shown)), run),
        *_instructions(run, iteration, shown, short),
        *_responses(run, iteration, shown, limit),
        *_earlier(run, limit),
        *([fenced("prompt", clip(run.prompt, REMINDER_LIMIT), run)] if short else []),
    ]


def _form(form: str, reads_schema: bool, short: bool, mark: str) -> str:
    return fill(f"{form}_json" if reads_schema else f"{form}_tags", short, verdict_mark=mark)


def _marked(schema: dict[str, Any], mark: str) -> dict[str, Any]:
    """The schema with the mark as its first field, which allows this value only."""
    properties = {"mark": {"type": "string", "enum": [mark]}, **schema["properties"]}
    return {**schema, "properties": properties, "required": ["mark", *schema["required"]]}


def _decision_first(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with the reasons after the decision, for a very small model; it has no mark."""
    later = [name for name in ("analysis", "claims") if name in schema["properties"]]
    names = [*(name for name in schema["properties"] if name not in (*later, *_ONLY_IN_FULL)), *later]
    required = [name for name in schema["required"] if name not in _ONLY_IN_FULL]
    return {**schema, "properties": {name: schema["properties"][name] for name in names}, "required": required}


def _conversation(run: Run, limit: int) -> list[str]:
    """The earlier turns of the conversation, the oldest first."""
    shown = cut_to(limit, [turn.text for turn in run.history])
    said = [f"{turn.role}: {text}" for turn, text in zip(run.history, shown, strict=True)]
    return [fenced("conversation before the prompt", "\n\n".join(said), run)]


def _instructions(run: Run, iteration: Iteration, shown: Sequence[int], short: bool) -> list[str]:
    """The user's instructions for the answer, and the system prompt and role of each shown response's member."""
    system = run.consortium.system_prompt
    texts = [fill("instructions", short), fenced("user's instructions", system, run)] if system else []
    if short:
        return texts
    told = _told(run, iteration)
    for name, place in enumerate(shown, start=1):
        member = told.get(iteration.responses[place].label)
        said = [member.system_prompt, member.role and role_text(member.role)] if member else []
        texts.append(fenced(f"what response {name} was told", "\n\n".join(filter(None, said)), run))
    return texts


def _files(run: Run, iteration: Iteration, shown: Sequence[int]) -> Iterator[str]:
    """The attached files, and which responses were written without which of them, one line each."""
    yield from (f"- {described(one)}" for one in run.attachments)
    for name, place in enumerate(shown, start=1):
        if unseen := iteration.responses[place].unseen:
            yield f"Response {name} was written without {unseen}."


def _told(run: Run, iteration: Iteration) -> dict[str, Member]:
    """The member behind each label; empty in a replay that left instances out, because its labels differ."""
    members = {f"{alternatives(member.model)[0]}#{number}": member for member, number in instances(run.consortium)}
    first = (*run.iterations, iteration)[0]
    return members if [one.label for one in first.responses] == list(members) else {}


def _responses(run: Run, iteration: Iteration, shown: Sequence[int], limit: int) -> list[str]:
    texts = cut_to(limit, [outside_thinking(iteration.responses[place].text or "") for place in shown])
    return [fenced(f"response {number}", text, run) for number, text in enumerate(texts, start=1)]


def _earlier(run: Run, limit: int) -> list[str]:
    """The answers of earlier iterations, each with its confidence, its dissent and its open points."""
    judged = [iteration for iteration in run.iterations if iteration.verdict]
    shown = cut_to(limit, [_judged(iteration) for iteration in judged])
    return [
        fenced(f"answer after iteration {iteration.number}", text, run)
        for iteration, text in zip(judged, shown, strict=True)
    ]


def _judged(iteration: Iteration) -> str:
    verdict = iteration.verdict
    if verdict is None:
        return ""
    parts = {
        "Confidence in it": figure_text(iteration.confidence),
        "Dissent": verdict.dissent,
        "Open points": "; ".join(verdict.refinement_areas),
    }
    return "\n".join([verdict.synthesis, *(f"{name}: {text}" for name, text in parts.items() if text)])
