"""What can be measured of an iteration beside the arbiter's own figure; each has its name, none is blended."""

from collections.abc import Mapping, Sequence
from itertools import combinations

from consortium_mcp.records import CallId, Iteration, Measures, MemberResponse
from consortium_mcp.records.consortium import Consortium
from consortium_mcp.text.comparing import Comparable, agree, comparable

COMPARED_PAIRS = 2_000
"""How many pairs of responses are compared at most, evenly spread over all: 256 instances make 32,640."""


def measured(iteration: Iteration) -> Iteration:
    """The iteration with its measures."""
    usable = [response for response in iteration.responses if response.ok]
    texts = {one.response_id: comparable(one.text or "") for one in usable}
    pairs = list(combinations(usable, 2))
    within = [pair for pair in pairs if pair[0].model == pair[1].model]
    across = [pair for pair in pairs if pair[0].model != pair[1].model]
    stated = [one.stated_confidence for one in usable if one.stated_confidence is not None]
    measures = Measures(
        agreement_within=_mean_agreement(within, texts),
        agreement_across=_mean_agreement(across, texts),
        stated_confidence=sum(stated) / len(stated) if stated else None,
        order_held=iteration.measures.order_held if iteration.measures else None,
    )
    return iteration.model_copy(update={"measures": measures})


def overall_agreement(measures: Measures | None) -> float | None:
    """The agreement that a stopping rule looks at: across models where there are several, else within the one."""
    if measures is None:
        return None
    return measures.agreement_within if measures.agreement_across is None else measures.agreement_across


def reaches_threshold(consortium: Consortium, confidence: float | None, agreement: float | None) -> bool:
    """Whether what the consortium stops on has reached its threshold; a figure that nobody knows has not."""
    figures = {"arbiter": [confidence], "agreement": [agreement], "both": [confidence, agreement]}[consortium.stop_on]
    return all(figure is not None and figure >= consortium.confidence_threshold for figure in figures)


def _mean_agreement(pairs: Sequence[Sequence[MemberResponse]], texts: Mapping[CallId, Comparable]) -> float | None:
    some = pairs[:: len(pairs) // COMPARED_PAIRS + 1]
    values = [agree(texts[one.response_id], texts[other.response_id]) for one, other in some]
    return sum(values) / len(values) if values else None
