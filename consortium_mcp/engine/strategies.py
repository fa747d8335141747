"""Strategies decide who is asked what in the next iteration; they are pure functions of what has happened."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from consortium_mcp.engine.registry import Registry, load_registry
from consortium_mcp.records import Ask, Iteration, MemberResponse, Run
from consortium_mcp.records.consortium import Consortium, Member, alternatives
from consortium_mcp.records.roles import role_text
from consortium_mcp.text.templates import clip, fill

ENTRY_POINTS = "consortium_mcp.strategies"
"""The group in which another package names its Strategy objects."""

SYNTHESIS_LIMIT = 12_000
"""Characters of the last synthesis that members are shown."""

OTHERS_LIMIT = 24_000
"""Characters of all the others' responses that a member is shown in a debate."""


MOST_SEEDS = 2**31
"""Seeds are below it: models take 32 bits with a sign."""


@dataclass(frozen=True)
class Strategy:
    """Who is asked what."""

    name: str
    """What a consortium calls it."""

    description: str
    """What it does."""

    plan: Callable[[Run], list[Ask]]
    """The asks of the iteration that follows `run.iterations`, in the order of the consortium."""

    needs_ranking: bool = False
    """Whether the judging method must order the responses."""

    min_instances: int = 1
    """How many instances it takes at the least."""


def plan(run: Run) -> list[Ask]:
    """Who is asked what in the iteration that follows `run.iterations`.

    In the first one everybody is asked independently, whatever the strategy: nobody sees another's response before
    having given one.
    """
    return strategies()[run.consortium.strategy].plan(run) if run.iterations else _asks(run, lambda label: run.prompt)


def refine(run: Run) -> list[Ask]:
    """Everybody gets the last synthesis and what it should work on."""
    prompt = _refined(run)
    return _asks(run, lambda label: prompt)


def debate(run: Run) -> list[Ask]:
    """Everybody gets its own last response and the others', anonymous, and may keep or change its own.

    Who has given none yet is asked as in the first iteration.
    """
    last = run.iterations[-1]
    return _asks(run, lambda label: _debated(run, last, label))


def eliminate(run: Run) -> list[Ask]:
    """As refine, without the instances that were ranked lowest: one leaves before each iteration, never below two."""
    gone = _eliminated(run)
    return [ask for ask in refine(run) if ask.label not in gone]


def instances(consortium: Consortium) -> Iterator[tuple[Member, int]]:
    """Every instance in the declared order, numbered from 1 for each model."""
    asked: Counter[str] = Counter()
    for member in consortium.members:
        for _ in range(member.count):
            asked[alternatives(member.model)[0]] += 1
            yield member, asked[alternatives(member.model)[0]]


def system_text(consortium: Consortium, member: Member, output_schema: dict[str, Any] | None = None) -> str:
    """The member's system prompt, and after it its role and the form that the answer will have."""
    parts = [member.system_prompt or consortium.system_prompt or fill("member_system")]
    if member.role:
        parts.append(role_text(member.role))
    if output_schema:
        parts.append(fill("answer_schema", schema=json.dumps(output_schema)))
    return "\n\n".join(parts)


_OWN = (
    Strategy("refine", "Members get the last synthesis and its open points, and improve on it.", refine),
    Strategy("debate", "Members see the others' last responses, anonymous, and may keep or change their own.", debate),
    Strategy(
        "eliminate",
        "As refine, but the lowest-ranked instance leaves before each iteration, never below two.",
        eliminate,
        needs_ranking=True,
        min_instances=3,
    ),
)


@cache
def strategies() -> Registry[Strategy]:
    """Every strategy by its name."""
    return load_registry("strategy", _OWN, ENTRY_POINTS)


def _asks(run: Run, prompt_of: Callable[[str], str]) -> list[Ask]:
    """One ask for each instance; what it is told depends on its label."""
    asks = [
        Ask(
            instance=instance,
            model=member.model,
            prompt="",
            system=system_text(run.consortium, member, run.output_schema),
            options=run.consortium.options_of(member),
            seed=(run.shuffle_seed + instance) % MOST_SEEDS if member.count > 1 else None,
            response=member.response,
        )
        for member, instance in instances(run.consortium)
    ]
    return [ask.model_copy(update={"prompt": prompt_of(ask.label)}) for ask in asks]


def _refined(run: Run) -> str:
    verdict = run.iterations[-1].verdict
    if verdict is None:
        return run.prompt
    return fill(
        "refine",
        prompt=run.prompt,
        synthesis=clip(verdict.synthesis, SYNTHESIS_LIMIT),
        confidence="unknown" if verdict.confidence is None else f"{verdict.confidence:.2f}",
        refinement_areas="\n".join(f"- {area}" for area in verdict.refinement_areas) or "- whatever you find",
        dissent=clip(verdict.dissent, SYNTHESIS_LIMIT // 4) or "none",
    )


def _debated(run: Run, last: Iteration, label: str) -> str:
    heard = [response for response in last.responses if response.ok]
    given = [one for iteration in run.iterations for one in iteration.responses if one.ok and one.label == label]
    others = [response for response in heard if response.label != label]
    if not given or not others:
        return run.prompt
    share = OTHERS_LIMIT // len(others)
    return fill(
        "debate",
        prompt=run.prompt,
        own=clip(given[-1].text or "", SYNTHESIS_LIMIT),
        others="\n\n".join(
            f"Response {number}:\n{clip(other.text or '', share)}" for number, other in enumerate(others, start=1)
        ),
    )


def _eliminated(run: Run) -> set[str]:
    """The labels of those who left: after each iteration its lowest-ranked instance, as long as two are left."""
    gone: set[str] = set()
    everybody = run.consortium.instance_count
    for iteration in run.iterations:
        ranked = _ranked_labels(iteration)
        if ranked and everybody - len(gone) > 2:
            gone.add(ranked[-1])
    return gone


def _ranked_labels(iteration: Iteration) -> list[str]:
    by_id: dict[str, MemberResponse] = {response.response_id: response for response in iteration.responses}
    ranking = iteration.verdict.ranking if iteration.verdict else ()
    return [by_id[response_id].label for response_id in ranking if response_id in by_id]
