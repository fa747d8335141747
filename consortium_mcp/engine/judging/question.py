"""What an arbiter is asked: prompt, responses and what came before, fenced, anonymous, in a shuffled order."""

import hashlib
import random
from collections.abc import Sequence
from typing import Any

from consortium_mcp.records import CallId, CallSpec, Iteration, MemberResponse, Run
from consortium_mcp.text.templates import clip, fill
from consortium_mcp.text.thinking import outside_thinking

EARLIER_LIMIT = 6_000
"""Characters of all that the arbiter sees of earlier iterations."""

REPAIR_LIMIT = 12_000
"""Characters of an unreadable reply that the arbiter is shown when it is asked once more."""

REMINDER_LIMIT = 400
"""Characters of the prompt that stand again at the end of the question, where small models look."""


def shown_order(seed: int, number: int, responses: Sequence[MemberResponse]) -> tuple[int, ...]:
    """The places of the usable responses in the order in which the arbiter sees them: shuffled, the same on replay."""
    places = [place for place, response in enumerate(responses) if response.ok]
    random.Random(f"{seed}/{number}").shuffle(places)
    return tuple(places)


def verdict_mark(run: Run, call_id: CallId) -> str:
    """The word that a verdict carries, known only to who is asked by this call; the same on replay of the call."""
    return hashlib.sha256(f"{run.shuffle_seed}/{run.fence_token}/{call_id}".encode()).hexdigest()[:12]


def question(
    run: Run, iteration: Iteration, shown: Sequence[int], form: str, schema: dict[str, Any] | None, **call: str
) -> CallSpec:
    """The call that asks for a verdict.

    Args:
        shown: the places of the responses, in the order in which they are shown.
        form: the template that asks for the verdict's form, without `_json` or `_tags`.
        schema: what the reply must follow; None asks for tags.
        call: `role` (the end of the call id), `model`, and `label`.
    """
    call_id = CallId.of(iteration.number, call["role"])
    mark = verdict_mark(run, call_id)
    return CallSpec(
        call_id=call_id,
        iteration=iteration.number,
        label=call["label"],
        model=call["model"],
        prompt=fill(
            "arbiter",
            mark=run.fence_token,
            prompt=_unmarked(run.prompt, run),
            instructions=_instructions(run),
            responses="\n".join(
                _fenced(f"response {name}", outside_thinking(iteration.responses[place].text or ""), run)
                for name, place in enumerate(shown, start=1)
            ),
            earlier=_earlier(run),
            form=_form(run, form, schema is not None, mark),
        ),
        history=run.history,
        output_schema=schema and _marked(schema, mark),
    )


def repair(run: Run, asked: CallSpec, form: str, reply: str, problem: str) -> CallSpec:
    """The same model asked once more, for the form alone."""
    mark = verdict_mark(run, asked.call_id)
    prompt = fill(
        "arbiter_repair",
        problem=_unmarked(problem, run),
        mark=run.fence_token,
        prompt=_unmarked(clip(run.prompt, REPAIR_LIMIT), run),
        reply=_unmarked(clip(outside_thinking(reply) or reply, REPAIR_LIMIT).replace(mark, "[mark]"), run),
        form=_form(run, form, asked.output_schema is not None, mark),
    )
    return asked.model_copy(update={"call_id": asked.call_id.then("repair1"), "prompt": prompt, "history": ()})


def _form(run: Run, form: str, reads_schema: bool, mark: str) -> str:
    prompt = _unmarked(clip(run.prompt, REMINDER_LIMIT), run)
    return fill(f"{form}_json" if reads_schema else f"{form}_tags", prompt=prompt, verdict_mark=mark)


def _marked(schema: dict[str, Any], mark: str) -> dict[str, Any]:
    """The schema with the mark as its first field, which can have no other value."""
    properties = {"mark": {"type": "string", "enum": [mark]}, **schema["properties"]}
    return {**schema, "properties": properties, "required": ["mark", *schema["required"]]}


def _instructions(run: Run) -> str:
    system = run.consortium.system_prompt
    return _fenced("instructions that the models were given", system, run) if system else ""


def _earlier(run: Run) -> str:
    """What is left of earlier iterations: their syntheses and open points, in a space that does not grow."""
    if not run.iterations:
        return ""
    share = EARLIER_LIMIT // len(run.iterations)
    lines = []
    for iteration in run.iterations:
        verdict = iteration.verdict
        if verdict is None:
            continue
        confidence = "unknown" if verdict.confidence is None else f"{verdict.confidence:.2f}"
        open_points = "; ".join(verdict.refinement_areas)
        text = f"confidence {confidence}\nopen: {open_points}\n{verdict.synthesis}"
        lines.append(_fenced(f"your synthesis in iteration {iteration.number}", clip(text, share), run))
    return "\n".join(lines)


def _fenced(name: str, text: str, run: Run) -> str:
    return f"--- {name} {run.fence_token} ---\n{_unmarked(text, run)}\n--- end of {name} {run.fence_token} ---"


def _unmarked(text: str, run: Run) -> str:
    """The text without this run's mark: nobody can know it, so only chance or a leak could bring it there."""
    return text.replace(run.fence_token, "[mark]")
