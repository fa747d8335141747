"""The measures of an iteration: the agreement of its responses and their mean confidence; `trust.py` sets bounds."""

import threading
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from anyio import to_thread

from consortium_mcp._util.counts import counted
from consortium_mcp.engine.meaning import by_meaning
from consortium_mcp.records import CallId, Iteration, Measures, MemberResponse
from consortium_mcp.records.consortium import Consortium
from consortium_mcp.text.answers import NOT_COMPARABLE, SAME, Answer, Comparison, compare_answers, final_answer
from consortium_mcp.text.answers.names import load_names, names_are_loaded
from consortium_mcp.text.refusals import is_refusal

COMPARED_PAIRS = 2_000
"""The largest number of compared pairs, evenly spread over all pairs: 256 instances make 32,640."""


class _Agreement(NamedTuple):
    """The agreement of some responses."""

    agreement: float | None
    """The share of comparable pairs with the same answer; None if no pair is comparable."""

    pairs: int
    """The number of pairs, or of those that were examined."""

    compared: int
    """The number of pairs that are comparable."""


def measured(iteration: Iteration) -> Iteration:
    """The iteration with its measures; members that decline count as giving no answer."""
    usable = [response for response in iteration.responses if response.ok]
    given = answering(iteration)
    answers = {one.response_id: final_answer(one.text or "") for one in given}
    pairs = list(combinations(given, 2))
    within = [pair for pair in pairs if pair[0].model == pair[1].model]
    across = [pair for pair in pairs if pair[0].model != pair[1].model]
    within_one, across_models = _agreement(within, answers, iteration), _agreement(across, answers, iteration)
    figures = dict(
        agreement_within=within_one.agreement,
        agreement_across=across_models.agreement,
        pairs=(across_models if across else within_one).pairs,
        compared=(across_models if across else within_one).compared,
        stated_confidence=mean_stated(usable),
    )
    measures = (iteration.measures or Measures()).model_copy(update=figures)
    return iteration.model_copy(update={"measures": measures})


def begin_to_prepare() -> None:
    """Start to load the data for comparing answers, in a thread, while the members are asked."""
    if not names_are_loaded():
        threading.Thread(target=load_names, name="consortium-names", daemon=True).start()


async def prepare_comparing() -> None:
    """Load the data for comparing answers, once per process, without blocking the event loop."""
    if not names_are_loaded():
        await to_thread.run_sync(load_names)


def why_unknown(iteration: Iteration) -> str | None:
    """Why the agreement of several responses is unknown, as a clause; None if it is known."""
    measures, responded = iteration.measures, sum(one.ok for one in iteration.responses)
    if measures is None or responded < 2 or overall_agreement(measures) is not None:
        return None
    return "no two answers can be compared without an understanding of their meaning"


def overall_agreement(measures: Measures | None) -> float | None:
    """The agreement for stopping rules: across models if there are several, else within the one model."""
    if measures is None:
        return None
    return measures.agreement_within if measures.agreement_across is None else measures.agreement_across


def agreement_text(measures: Measures | None) -> str:
    """The agreement as a figure, with the number of compared pairs if not all are comparable."""
    agreement = overall_agreement(measures)
    if measures is None or agreement is None:
        return "unknown"
    if measures.compared >= measures.pairs:
        return f"{agreement:.2f}"
    only = "only " if agreement_for_threshold(measures) is None else ""
    return f"{agreement:.2f} from {only}{measures.compared} of {counted(measures.pairs, 'pair')}"


def agreement_for_threshold(measures: Measures | None) -> float | None:
    """The agreement that can end a run; None if fewer than half of the pairs are comparable."""
    if measures is None or 2 * measures.compared < measures.pairs:
        return None
    return overall_agreement(measures)


def all_decline(iteration: Iteration) -> bool:
    """Whether every response declines to answer, so that there is no answer to trust."""
    return any(response.ok for response in iteration.responses) and not answering(iteration)


def answering(iteration: Iteration) -> list[MemberResponse]:
    """The responses that do not decline to answer, without failed ones."""
    return [response for response in iteration.responses if response.ok and not is_refusal(response.text or "")]


def mean_stated(responses: Iterable[MemberResponse]) -> float | None:
    """The mean confidence that responses state, 0.0-1.0; None if none states one."""
    stated = [one.stated_confidence for one in responses if one.stated_confidence is not None]
    return sum(stated) / len(stated) if stated else None


def reaches_threshold(consortium: Consortium, confidence: float | None, agreement: float | None) -> bool:
    """Whether the measure of the stopping rule has reached the threshold; False if it is unknown."""
    figures = {"agreement": [agreement], "both": [confidence, agreement]}.get(consortium.stop_on, [confidence])
    return all(figure is not None and figure >= consortium.confidence_threshold for figure in figures)


def _agreement(
    pairs: Sequence[Sequence[MemberResponse]], answers: Mapping[CallId, Answer], iteration: Iteration
) -> _Agreement:
    """The share of pairs that gave the same answer, of those that can be compared by a rule or by the arbiter."""
    some = pairs[:: len(pairs) // COMPARED_PAIRS + 1]
    results = [_compared(answers, iteration, one.response_id, other.response_id) for one, other in some]
    known = [result == SAME for result in results if result != NOT_COMPARABLE]
    return _Agreement(sum(known) / len(known) if known else None, len(some), len(known))


def _compared(answers: Mapping[CallId, Answer], iteration: Iteration, one: CallId, other: CallId) -> Comparison:
    """The comparison of two responses; the arbiter decides if no rule can."""
    result = compare_answers(answers[one], answers[other])
    return by_meaning(iteration, one, other) if result == NOT_COMPARABLE else result
