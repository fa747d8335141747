"""Compares responses by the arbiter's statements if no rule can compare them; a rule always has priority."""

from collections.abc import Mapping, Sequence

from consortium_mcp.records import Iteration, Measures
from consortium_mcp.text.answers import DIFFERENT, NOT_COMPARABLE, SAME, Answer, Comparison, compare_answers


def by_meaning(iteration: Iteration, one: str, other: str) -> Comparison:
    """How the arbiter relates two responses of an iteration; not comparable if it says nothing.

    Its grouping says it of all that it groups. Its verdict says it of those that agree with its answer.

    Args:
        one: the id of a response, as `other` is.
    """
    grouped = by_grouping(iteration.measures, [one], [other])
    if grouped != NOT_COMPARABLE:
        return grouped
    sides = {side_of(iteration, one), side_of(iteration, other)}
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


def are_told_apart(
    ones: Sequence[str], others: Sequence[str], answers: Mapping[str, Answer], measures: Measures | None
) -> bool:
    """Whether a rule or the arbiter's grouping tells two groups of responses apart.

    Args:
        ones: the ids of responses with one answer, as `others` are.
        answers: the final answers by response id.
    """
    pairs = ((answers.get(one), answers.get(other)) for one in ones for other in others)
    if any(one and other and compare_answers(one, other) == DIFFERENT for one, other in pairs):
        return True
    return by_grouping(measures, ones, others) == DIFFERENT


def side_of(iteration: Iteration, response_id: str) -> Comparison:
    """How the judge relates a response to the verdict's answer; not comparable if it says nothing.

    A judge that names the responses with its answer says of each other one that it does not give it. What a member
    that stands in for the arbiter says of its own response does not count.
    """
    verdict = iteration.verdict
    if verdict is None:
        return NOT_COMPARABLE
    response = next((one for one in iteration.responses if one.response_id == response_id), None)
    if response is None or response.model == iteration.judged_by:
        return NOT_COMPARABLE
    if response_id in verdict.agreeing:
        return SAME
    return DIFFERENT if verdict.agreeing or response_id in verdict.contradicting else NOT_COMPARABLE
