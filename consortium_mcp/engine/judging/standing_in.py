"""Chooses the judge if the arbiter fails: the member that agrees most with the others, unless it imitates a verdict."""

from collections.abc import Sequence

from consortium_mcp.engine.judging.reader import imitates_form
from consortium_mcp.records import Iteration, MemberResponse
from consortium_mcp.records.consortium import OWN_ANSWER, alternatives
from consortium_mcp.text.answers import NOT_COMPARABLE, SAME, Answer, compare_answers, final_answer
from consortium_mcp.text.refusals import is_refusal

LONGEST_REFUSAL = 600
"""The length, in characters, above which a text is more than a refusal."""

MOST_COMPARED = 30
"""The number of other responses that each response is compared with, to bound the cost."""


def stand_in(iteration: Iteration, arbiter: str) -> str | None:
    """The model whose response the others agree with most; None if no member can be asked.

    The confidence that a response states does not count. A member that imitates a verdict is not asked. In a tie, the
    first one is asked.
    """
    failed = {*alternatives(arbiter), OWN_ANSWER}
    usable = [one for one in iteration.responses if one.ok]
    able = [
        one
        for one in usable
        if failed.isdisjoint(alternatives(one.model)) and not imitates_form(one.text or "") and not _refuses(one)
    ]
    if len(able) < 2:
        return able[0].model if able else None
    return most_agreed(able, usable).model


def most_agreed(candidates: Sequence[MemberResponse], heard: Sequence[MemberResponse]) -> MemberResponse:
    """The candidate that the others agree with most; in a tie the first.

    Args:
        candidates: at least one; each is also in `heard`.
        heard: the responses to compare with; of many, an evenly spread selection is used.
    """
    answers = {one.response_id: final_answer(one.text or "") for one in heard}
    some = heard[:: len(heard) // MOST_COMPARED + 1]

    def agreement_of_others(response: MemberResponse) -> float:
        own = answers[response.response_id]
        return sum(_agreement(own, answers[other.response_id]) for other in some if other is not response)

    return max(candidates, key=agreement_of_others)


def _agreement(one: Answer, other: Answer) -> float:
    """1.0 for the same answer and 0.0 for a different one; if not comparable, half the share of common words."""
    compared = compare_answers(one, other)
    if compared != NOT_COMPARABLE:
        return float(compared == SAME)
    words, others = set(one.words), set(other.words)
    return len(words & others) / (2 * len(words | others) or 1)


def refuses(text: str, iteration: Iteration) -> bool:
    """Whether a judge's text is a refusal, although most members have answered."""
    usable = [one for one in iteration.responses if one.ok]
    return len(text) <= LONGEST_REFUSAL and is_refusal(text) and 2 * sum(_refuses(one) for one in usable) < len(usable)


def _refuses(response: MemberResponse) -> bool:
    return is_refusal(response.text or "")
