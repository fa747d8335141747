"""What a comparison of two answers comes to, and of several parts of them."""

from collections.abc import Iterable
from typing import Final, Literal

Comparison = Literal["same", "different", "not comparable"]
"""Whether two answers say the same; `not comparable` where it cannot be said without knowing what they mean."""

SAME: Final = "same"
DIFFERENT: Final = "different"
NOT_COMPARABLE: Final = "not comparable"


def equal_or_different(one: object, other: object) -> Comparison:
    """Of two values that each have one spelling."""
    return SAME if one == other else DIFFERENT


def together(parts: Iterable[Comparison]) -> Comparison:
    """Of answers that are compared part by part: the same where all are, different where one is."""
    found = set(parts)
    if DIFFERENT in found:
        return DIFFERENT
    return NOT_COMPARABLE if NOT_COMPARABLE in found else SAME
