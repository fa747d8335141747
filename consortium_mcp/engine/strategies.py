"""Strategies decide which instances are asked what in the next iteration; they are pure functions of the run."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from consortium_mcp.engine.quoting import cut_to, fenced, limit_of
from consortium_mcp.engine.registry import Registry, load_registry
from consortium_mcp.records import Ask, Iteration, MemberResponse, Run, Verdict
from consortium_mcp.records.consortium import Consortium, Member, instances
from consortium_mcp.records.roles import role_text
from consortium_mcp.text.figures import figure_text
from consortium_mcp.text.member_system import member_system
from consortium_mcp.text.templates import fill

ENTRY_POINTS = "consortium_mcp.strategies"
"""The group of entry points in which another package lists its Strategy objects."""


MOST_SEEDS = 2**31
"""Seeds are below this number, because models accept signed 32-bit integers."""


@dataclass(frozen=True)
class Strategy:
    """A strategy: it plans the asks of each iteration."""

    name: str
    """The name in a consortium."""

    description: str
    """The description for users."""

    plan: Callable[[Run], list[Ask]]
    """The asks of the iteration that follows `run.iterations`, in the order of the consortium."""

    needs_ranking: bool = False
    """Whether the judging method must order the responses."""

    min_instances: int = 1
    """The smallest number of instances for the strategy."""


def plan(run: Run) -> list[Ask]:
    """The asks of the iteration that follows `run.iterations`.

    In the first iteration, each strategy asks every instance independently.
    """
    return strategies()[run.consortium.strategy].plan(run) if run.iterations else _asks(run, lambda ask: run.prompt)


def refine(run: Run) -> list[Ask]:
    """Each instance gets the last answer, its own last response, the dissent, and the refinement areas."""
    return _asks(run, lambda ask: _refined(run, ask))


def debate(run: Run) -> list[Ask]:
    """Each instance gets its own last response and the others', anonymous; it may keep or change its own.

    An instance that has not responded yet gets the question of the first iteration.
    """
    return _asks(run, lambda ask: _debated(run, ask))


def eliminate(run: Run) -> list[Ask]:
    """As `refine`, but one instance leaves before each iteration: the lowest-ranked; at least two stay."""
    gone = _eliminated(run)
    return [ask for ask in refine(run) if ask.label not in gone]


def system_text(
    consortium: Consortium, member: Member, output_schema: dict[str, Any] | None = None, short: bool = False
) -> str:
    """The member's system prompt, then its role, the form of the answer, and the form of its reply."""
    told = [role_text(member.role)] if member.role else []
    if output_schema:
        told.append(fill("answer_schema", schema=json.dumps(output_schema)))
    return member_system(member.system_prompt or consortium.system_prompt, told, short)


_OWN = (
    Strategy(
        "refine", "Members get the last answer, its open points and their own response, and improve on them.", refine
    ),
    Strategy("debate", "Members see the others' last responses, anonymous, and may keep or change their own.", debate),
    Strategy(
        "eliminate",
        "As refine, but the lowest-ranked instance leaves before each iteration, while more than two are left.",
        eliminate,
        needs_ranking=True,
        min_instances=3,
    ),
)


@cache
def strategies() -> Registry[Strategy]:
    """Every strategy by its name."""
    return load_registry("strategy", _OWN, ENTRY_POINTS)


def _asks(run: Run, prompt_of: Callable[[Ask], str]) -> list[Ask]:
    """One ask for each instance; `prompt_of` makes its text from the instance."""
    asks = [
        Ask(
            instance=instance,
            model=member.model,
            prompt="",
            system=system_text(run.consortium, member, run.output_schema, run.gets_short_texts(member.model)),
            options=run.consortium.options_of(member),
            seed=(run.shuffle_seed + instance) % MOST_SEEDS if member.count > 1 else None,
            response=member.response,
        )
        for member, instance in instances(run.consortium)
    ]
    return [ask.model_copy(update={"prompt": prompt_of(ask)}) for ask in asks]


def _refined(run: Run, ask: Ask) -> str:
    last = run.iterations[-1]
    verdict = last.verdict
    if verdict is None:
        return run.prompt
    own = _last_response(run, ask.label)
    texts = {
        "earlier answer": verdict.synthesis,
        "your earlier response": own.text or "" if own and own.response_id != verdict.chosen else "",
        "what other responses hold against it": verdict.dissent,
        "what to work on": "\n".join(f"- {area}" for area in verdict.refinement_areas),
    }
    return _filled(
        "refine",
        run,
        ask,
        list(texts.items()),
        source=_source(last, verdict, own),
        confidence=figure_text(last.confidence),
    )


def _debated(run: Run, ask: Ask) -> str:
    own = _last_response(run, ask.label)
    others = [one for one in run.iterations[-1].responses if one.ok and one.label != ask.label]
    if own is None or not others:
        return run.prompt
    texts = [("your response", own.text or "")]
    texts += [(f"other response {number}", one.text or "") for number, one in enumerate(others, start=1)]
    return _filled("debate", run, ask, texts)


def _filled(template: str, run: Run, ask: Ask, texts: list[tuple[str, str]], **values: str) -> str:
    """The question of a later iteration: the prompt, earlier texts in fences, and the instructions."""
    short = run.gets_short_texts(ask.model)
    shown = cut_to(limit_of(short), [text for _, text in texts])
    quoted = [fenced(name, text, run) for (name, _), text in zip(texts, shown, strict=True) if text]
    return fill(template, short, prompt=run.prompt, mark=run.fence_token, quoted="\n".join(quoted), **values)


def _last_response(run: Run, label: str) -> MemberResponse | None:
    """The last response of an instance; None if it has given none."""
    given = (one for iteration in reversed(run.iterations) for one in iteration.responses)
    return next((one for one in given if one.ok and one.label == label), None)


def _source(iteration: Iteration, verdict: Verdict, own: MemberResponse | None) -> str:
    """The source of the answer that a member is shown, in sentences that fit every judging method."""
    if verdict.chosen is None:
        if verdict.votes:
            return "No option got more ballots than the one below."
        combined = "A model read all responses and combined them into the answer below."
        return combined if iteration.raw_verdict else "The answer below was made from all responses."
    if iteration.raw_verdict:
        source = "A model read all responses and judged the one below to be the best."
    elif verdict.votes:
        source = "No answer was given more often than that of the response below."
    elif verdict.ranking:
        source = "The models ranked each other's responses, and none came before the one below."
    else:
        source = "One of the responses was taken as the answer; it stands below."
    return f"{source} It is your own." if own and own.response_id == verdict.chosen else source


def _eliminated(run: Run) -> set[str]:
    """The labels of eliminated instances: after each iteration the lowest-ranked one, while more than two remain."""
    gone: set[str] = set()
    asked = run.consortium.instance_count
    for iteration in run.iterations:
        ranked = _ranked_labels(iteration)
        if ranked and asked - len(gone) > 2:
            gone.add(ranked[-1])
    return gone


def _ranked_labels(iteration: Iteration) -> list[str]:
    by_id: dict[str, MemberResponse] = {response.response_id: response for response in iteration.responses}
    ranking = iteration.verdict.ranking if iteration.verdict else ()
    return [by_id[response_id].label for response_id in ranking if response_id in by_id]
