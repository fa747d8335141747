"""Strategies decide who is asked what in the next iteration; they are pure functions of what has happened."""

from collections import Counter
from collections.abc import Callable, Iterator

from consortium_mcp.consortium import Consortium, Member, alternatives
from consortium_mcp.run import Ask, Run
from consortium_mcp.texts import clip, fill

SYNTHESIS_LIMIT = 12_000
"""Characters of the last synthesis that members are shown."""


def plan(run: Run) -> list[Ask]:
    """Who is asked what in the iteration that follows `run.iterations`, in the order of the consortium."""
    return STRATEGIES[run.consortium.strategy](run)


def refine(run: Run) -> list[Ask]:
    """Members are asked independently first, then with the arbiter's synthesis and what it should work on."""
    prompt = _refined(run) if run.iterations else run.prompt
    return [
        Ask(
            instance=instance,
            model=member.model,
            prompt=prompt,
            system=member.system_prompt or run.consortium.system_prompt or fill("member_system"),
            options=member.options,
        )
        for member, instance in instances(run.consortium)
    ]


def instances(consortium: Consortium) -> Iterator[tuple[Member, int]]:
    """Every instance in the declared order, numbered from 1 for each model."""
    asked: Counter[str] = Counter()
    for member in consortium.members:
        for _ in range(member.count):
            asked[alternatives(member.model)[0]] += 1
            yield member, asked[alternatives(member.model)[0]]


STRATEGIES: dict[str, Callable[[Run], list[Ask]]] = {"refine": refine}
"""Every strategy by the name that a consortium gives."""


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
