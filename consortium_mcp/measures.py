"""What can be measured of an iteration beside the arbiter's own figure; each has its name, none is blended."""

from collections.abc import Iterable, Sequence
from itertools import combinations

from consortium_mcp.answers import agreement
from consortium_mcp.run import Iteration, Measures, MemberResponse


def measured(iteration: Iteration) -> Iteration:
    """The iteration with its measures."""
    usable = [response for response in iteration.responses if response.ok]
    pairs = list(combinations(usable, 2))
    stated = [one.stated_confidence for one in usable if one.stated_confidence is not None]
    measures = Measures(
        agreement_within=_mean_agreement(pair for pair in pairs if pair[0].model == pair[1].model),
        agreement_across=_mean_agreement(pair for pair in pairs if pair[0].model != pair[1].model),
        stated_confidence=sum(stated) / len(stated) if stated else None,
        order_held=iteration.measures.order_held if iteration.measures else None,
    )
    return iteration.model_copy(update={"measures": measures})


def overall_agreement(measures: Measures | None) -> float | None:
    """The agreement that a stopping rule looks at: across models where there are several, else within the one."""
    if measures is None:
        return None
    return measures.agreement_within if measures.agreement_across is None else measures.agreement_across


def _mean_agreement(pairs: Iterable[Sequence[MemberResponse]]) -> float | None:
    values = [agreement(one.text or "", other.text or "") for one, other in pairs]
    return sum(values) / len(values) if values else None
