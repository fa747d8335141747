"""Adaptive asking: the cheapest instances first, then more while the result is open; no arbiter if all agree."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from consortium_mcp.engine.judging import judging_methods
from consortium_mcp.engine.judging.vote import count_votes, margin, votes_cast
from consortium_mcp.engine.trust import earned
from consortium_mcp.records import CallSpec, Iteration, MemberResponse, Run, Verdict, Votes
from consortium_mcp.records.consortium import OWN_ANSWER, Consortium
from consortium_mcp.text.confidence_line import without_confidence

T = TypeVar("T")

PriceOf = Callable[[str], float | None]
"""Gives the cost of a question to a model, by the model's name in the consortium; None if its price is unknown."""

AskThese = Callable[[Sequence[CallSpec]], Awaitable[Sequence[MemberResponse]]]
"""Asks instances; an instance that was already asked returns the same response again."""


def is_adaptive(run: Run) -> bool:
    """Whether the next iteration asks instances step by step: the first iteration, if the rule `adaptive` is set."""
    return run.consortium.ask == "adaptive" and not run.iterations


async def ask_adaptively(
    run: Run, specs: Sequence[CallSpec], ask: AskThese, price_of: PriceOf
) -> Sequence[MemberResponse]:
    """Ask instances until the result is decided, and return their responses in the order of the specs.

    Args:
        specs: every instance that may be asked.
    """
    there = [spec for spec in specs if spec.response is not None]
    waiting = cheapest_first([spec for spec in specs if spec.response is None], lambda spec: price_of(spec.model))
    count = first_count(run.consortium)
    while True:
        asked = [*there, *waiting[:count]]
        responses = await ask([spec for spec in specs if spec in asked])
        unasked = len(waiting) - count
        if unasked <= 0 or not _is_open(run, responses, unasked):
            return responses
        count += 1


def cheapest_first(these: Sequence[T], price: Callable[[T], float | None]) -> list[T]:
    """The items sorted by price. Unknown prices come last; equal prices keep their order."""

    def rank(one: T) -> tuple[bool, float]:
        known = price(one)
        return known is None, known or 0.0

    return sorted(these, key=rank)


def first_count(consortium: Consortium) -> int:
    """The number of instances to ask first: the smallest number that can decide the result if all agree."""
    most = consortium.asked_count
    least = max(most // 2 + 1, consortium.min_responses or 1, consortium.quorum or 1)
    return next((n for n in range(least, most) if earned(n, n) >= consortium.confidence_threshold), most)


def agreed(run: Run, iteration: Iteration) -> Iteration | None:
    """The iteration with the answer that all responses share; None if it must be judged."""
    usable = [response for response in iteration.responses if response.ok]
    asked = [response for response in usable if response.model != OWN_ANSWER]
    groups = _groups(usable)
    confidence = earned(len(asked), len(asked))
    is_shared = len(asked) > 1 and len(groups) == 1 and len(groups[0].response_ids) == len(usable)
    if not is_shared or confidence < run.consortium.confidence_threshold or not _saves_calls(run, len(usable)):
        return None
    unasked = run.consortium.instance_count - len(iteration.responses)
    spared = f"the arbiter and {unasked} more were" if unasked else "the arbiter was"
    verdict = Verdict(
        synthesis=without_confidence(asked[0].text or ""),
        confidence=confidence,
        analysis=f"All {len(asked)} responses agree, so {spared} not asked.",
        dissent="",
        chosen=asked[0].response_id,
        by_agreement=True,
        votes=tuple(groups),
    )
    return iteration.model_copy(update={"verdict": verdict})


def _saves_calls(run: Run, responses: int) -> bool:
    """Whether judging would take a call, and a response can be the answer in the required form."""
    method = judging_methods()[run.consortium.judging_method]
    return run.output_schema is None and method.calls(responses) > 0


def _is_open(run: Run, responses: Sequence[MemberResponse], unasked: int) -> bool:
    """Whether one more response could change the leading answer, or the agreement does not yet suffice."""
    groups = _groups([response for response in responses if response.ok])
    if not groups or margin(groups) <= unasked:
        return True
    votes = len(groups[0].response_ids)
    return len(groups) == 1 and earned(votes, votes) < run.consortium.confidence_threshold


def _groups(usable: Sequence[MemberResponse]) -> list[Votes]:
    return count_votes(votes_cast([(one.response_id, one.text or "") for one in usable]))
