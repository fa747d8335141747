"""Compares responses by the arbiter's statements if no rule can compare them; a rule always has priority."""

from collections.abc import Sequence

from consortium_mcp.records import Iteration, Measures, Verdict
from consortium_mcp.text.answers import DIFFERENT, NOT_COMPARABLE, SAME, Comparison


def by_meaning(iteration: Iteration, one: str, other: str) -> Comparison:
    """How the arbiter relates two responses of an iteration; not comparable if it says nothing.

    Its grouping says it of all that it groups. Its verdict says it of those that agree with its answer.

    Args:
        one: the id of a response, as `other` is.
    """
    grouped = by_grouping(iteration.measures, [one], [other])
    if grouped != NOT_COMPARABLE or iteration.verdict is None:
        return grouped
    sides = {side_of(iteration.verdict, one), side_of(iteration.verdict, other)}
    if sides == {SAME}:
        return SAME
    return DIFFERENT if sides == {SAME, DIFFERENT} else NOT_COMPARABLE


def by_grouping(measures: Measures | None, ones: Sequence[str], others: Sequence[str]) -> Comparison:
    """How the arbiter's grouping relates two groups of responses; not comparable if one is not in it.

    Args:
        ones: the ids of responses with one answer, as `others` are.
    """
    groups = measures.groups if measures else ()
    found = [{place for place, group in enumerate(groups) if set(group) & set(ids)} for ids in (ones, others)]
    if not all(found):
        return NOT_COMPARABLE
    return SAME if found[0] & found[1] else DIFFERENT


def side_of(verdict: Verdict, response_id: str) -> Comparison:
    """How the arbiter relates a response to the verdict's answer."""
    if response_id in verdict.agreeing:
        return SAME
    return DIFFERENT if response_id in verdict.contradicting else NOT_COMPARABLE
