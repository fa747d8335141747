"""Quotes texts in the questions to models: between fence lines, and cut by one rule of length.

The rule: each group of quoted texts (the responses, the conversation, what came before) has one limit of characters. A
group above its limit gives each text an equal share; what short texts leave over goes to the longer ones. A text above
its share loses its middle, and a note says how much was cut. The prompt and the user's instructions are never cut.
"""

from collections.abc import Sequence

from consortium_mcp.records import Run
from consortium_mcp.text.templates import clip

GROUP_LIMIT = 120_000
"""The limit of characters for one group of quoted texts."""

SHORT_GROUP_LIMIT = 10_000
"""The same limit for a model that gets the short texts, which has a small context."""


def limit_of(short: bool) -> int:
    """The limit of characters for a group of quoted texts in a question."""
    return SHORT_GROUP_LIMIT if short else GROUP_LIMIT


def fenced(name: str, text: str, run: Run) -> str:
    """The text between two lines with the run's fence token; empty for an empty text."""
    if not text:
        return ""
    return f"--- {name} {run.fence_token} ---\n{unmarked(text, run)}\n--- end of {name} {run.fence_token} ---"


def unmarked(text: str, run: Run) -> str:
    """The text without the run's fence token, which it contains only by chance or after a leak."""
    return text.replace(run.fence_token, "[mark]")


def cut_to(limit: int, texts: Sequence[str]) -> list[str]:
    """The texts of one group, cut by the rule of this module to a common limit."""
    share = _share(limit, sorted(map(len, texts)))
    return [clip(text, share) for text in texts]


def _share(limit: int, lengths: Sequence[int]) -> int:
    """The most characters that a text of a group may have. Shorter texts stay complete, the others share the rest.

    Args:
        lengths: the lengths of all texts, the shortest first.
    """
    left = limit
    for place, length in enumerate(lengths):
        share = left // (len(lengths) - place)
        if length > share:
            return share
        left -= length
    return limit
