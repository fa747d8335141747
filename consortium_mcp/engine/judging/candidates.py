"""Candidates for a verdict: parts of a reply, with the fields that were read from them."""

from collections.abc import Iterable
from typing import Any, NamedTuple, TypeVar


class Candidate(NamedTuple):
    """A part of a reply that reads as a verdict."""

    start: int
    end: int

    fields: dict[str, Any]
    """The fields by name, with their original values."""

    decided: int
    """The index after the main field and the confidence; later text may be quoted."""

    mark: str = ""
    """The verdict mark, or the opening tag that should contain it; empty if there is none."""

    cut_in: str | None = None
    """The field in which the reply ends; empty if it ends between fields; None for a complete verdict."""

    is_mended: bool = False
    """Whether only the lenient reader could read it, so that a field may contain too much text."""


class TagPair(NamedTuple):
    """An opening tag and its closing tag."""

    start: int
    end: int
    name: str
    inside: slice


T = TypeVar("T", Candidate, TagPair)


def without_overlaps(candidates: Iterable[Candidate]) -> list[Candidate]:
    """The outermost well-formed candidates, and those mended ones that do not overlap them, in their order."""
    every = list(candidates)
    kept = outermost(one for one in every if not one.is_mended)
    mended = outermost(one for one in every if one.is_mended)
    kept += [one for one in mended if not any(one.start < other.end and other.start < one.end for other in kept)]
    return sorted(kept, key=lambda one: one.start)


def outermost(spans: Iterable[T]) -> list[T]:
    """The spans that no other span contains or overlaps from the left, in their order in the text."""
    kept: list[T] = []
    for span in sorted(spans, key=lambda one: (one.start, -one.end)):
        if not kept or span.start >= kept[-1].end:
            kept.append(span)
    return kept
