"""Saved consortiums and models as lines: members, judging, prices and problems."""

from collections.abc import Iterable

from consortium_mcp.engine.judging import judging_methods
from consortium_mcp.records.consortium import Consortium

_STOPS_AT = {
    "arbiter": "confidence",
    "agreement": "agreement",
    "both": "confidence and agreement",
    "ratings": "calibrated confidence",
}


def definition_text(name: str, consortium: Consortium) -> str:
    """A definition on one line."""
    described = f" ({' '.join(consortium.description.split())})" if consortium.description else ""
    method = judging_methods().get(consortium.judging_method)
    arbiter = consortium.arbiter or f"{consortium.members[0].model} (the first member)"
    by = f" by {arbiter}" if method is None or method.needs_arbiter else ""
    by = f", answers grouped by {arbiter}" if method and method.groups_answers(consortium) else by
    return (
        f"{name}{described}: {', '.join(map(str, consortium.members))}; strategy {consortium.strategy}; "
        f"{consortium.judging_method}{by}; stops at {_STOPS_AT[consortium.stop_on]} "
        f"{consortium.confidence_threshold:.2f} or after {consortium.iteration_limit} iterations"
    )


def by_reason(lacking: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """The unusable models by reason.

    Args:
        lacking: pairs of a model's id and its reason.
    """
    grouped: dict[str, list[str]] = {}
    for model_id, reason in lacking:
        models = grouped.setdefault(reason, [])
        if model_id not in models:
            models.append(model_id)
    return grouped
