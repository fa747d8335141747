"""Reads which responses a verdict lists as agreeing with its answer or contradicting it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from consortium_mcp.engine.judging.fields import numbers_of
from consortium_mcp.records import Iteration


class Sides(NamedTuple):
    """The ids of the responses on both sides of an answer."""

    agreeing: tuple[str, ...] = ()
    """The responses that give the answer."""

    contradicting: tuple[str, ...] = ()
    """The responses that give another answer."""

    problem: str | None = None
    """Why the lists are not used, in one clause; None if they are."""


def read_sides(fields: Mapping[str, Any], iteration: Iteration) -> Sides:
    """The two lists of a verdict, with response ids for numbers; both are empty if they are inconsistent.

    They make none where a number is no response that was shown, or stands on both sides.
    """
    agreeing, contradicting = (
        list(dict.fromkeys(numbers_of(fields.get(name)))) for name in ("agreeing_responses", "contradicting_responses")
    )
    shown = range(1, len(iteration.shown_order) + 1)
    if not all(number in shown for number in (*agreeing, *contradicting)):
        return Sides(problem="its lists of agreeing and contradicting responses name one that was not shown")
    if set(agreeing) & set(contradicting):
        return Sides(problem="it names one response as both agreeing and contradicting")
    ids = {number: iteration.responses[iteration.shown_order[number - 1]].response_id for number in shown}
    return Sides(tuple(ids[number] for number in agreeing), tuple(ids[number] for number in contradicting))
