"""What in a reply may be a verdict: a stretch of it, with the fields that were read from it."""

from collections.abc import Iterable
from typing import Any, NamedTuple, TypeVar


class Candidate(NamedTuple):
    """A stretch of a reply that reads as a verdict."""

    start: int
    end: int

    fields: dict[str, Any]
    """Each field by its own name, as it was written."""

    decided: int
    """Where its main field and its confidence end; what follows may be somebody else's words."""

    cut_in: str | None = None
    """The field in which the reply ends; empty where that is between fields; None for a whole verdict."""


class TagPair(NamedTuple):
    """An opening tag and the closing one that belongs to it."""

    start: int
    end: int
    name: str
    inside: slice


T = TypeVar("T", Candidate, TagPair)


def outermost(spans: Iterable[T]) -> list[T]:
    """The spans that no other one contains or overlaps from the left, in their order in the text."""
    kept: list[T] = []
    for span in sorted(spans, key=lambda one: (one.start, -one.end)):
        if not kept or span.start >= kept[-1].end:
            kept.append(span)
    return kept
