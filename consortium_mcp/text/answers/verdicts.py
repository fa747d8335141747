"""The result of a comparison of two answers, and of their parts together."""

from collections.abc import Iterable
from typing import Final, Literal

Comparison = Literal["same", "different", "not comparable"]
"""Whether two answers are the same; `not comparable` if only an understanding of their meaning could show it."""

SAME: Final = "same"
DIFFERENT: Final = "different"
NOT_COMPARABLE: Final = "not comparable"


def equal_or_different(one: object, other: object) -> Comparison:
    """The comparison of two values that each have one spelling."""
    return SAME if one == other else DIFFERENT


def together(parts: Iterable[Comparison]) -> Comparison:
    """The comparison of answers with parts: the same if all parts are, different if one is."""
    found = set(parts)
    if DIFFERENT in found:
        return DIFFERENT
    return NOT_COMPARABLE if NOT_COMPARABLE in found else SAME
