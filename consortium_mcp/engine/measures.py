"""The measures of an iteration: the agreement of its responses and their mean confidence; `trust.py` sets bounds."""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import combinations
from typing import NamedTuple

from anyio import to_thread

from consortium_mcp._util.counts import counted
from consortium_mcp.engine.meaning import by_meaning
from consortium_mcp.records import CallId, Iteration, Measures, MemberResponse
from consortium_mcp.records.consortium import OWN_ANSWER, Consortium
from consortium_mcp.text.answers import (
    DIFFERENT,
    NOT_COMPARABLE,
    SAME,
    Answer,
    Comparison,
    compare_answers,
    final_answer,
)
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


def measured(iteration: Iteration, *, by_ballots: bool = False) -> Iteration:
    """The iteration with its measures; members that decline count as giving no answer.

    Args:
        by_ballots: whether a response's answer is its ballot for a given option; one without a ballot has no answer.
    """
    usable = [response for response in iteration.responses if response.ok]
    given = answering(iteration)
    answers = {one.response_id: final_answer(one.text or "") for one in given}
    pairs = list(combinations(given, 2))
    within = [pair for pair in pairs if pair[0].model == pair[1].model]
    across = [pair for pair in pairs if pair[0].model != pair[1].model]
    compare = partial(_ballots_compared if by_ballots else _compared, answers, iteration)
    within_one, across_models = _agreement(within, compare), _agreement(across, compare)
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
    """The mean confidence that members' responses state, 0.0-1.0, without the caller's own; None if none states one."""
    members = [one for one in responses if one.model != OWN_ANSWER]
    stated = [one.stated_confidence for one in members if one.stated_confidence is not None]
    return sum(stated) / len(stated) if stated else None


def independent_agreement(first: Measures | None, last: Measures | None) -> float | None:
    """The agreement that can end a run as converged: the lower one of the first and the last iteration.

    An agreement that appears only after members saw each other's responses is no evidence. None if one is unknown.
    """
    figures = [agreement_for_threshold(first), agreement_for_threshold(last)]
    known = [figure for figure in figures if figure is not None]
    return min(known) if len(known) == len(figures) else None


def agrees_too_late(consortium: Consortium, first: Measures | None, last: Measures | None) -> bool:
    """Whether the members agree enough for the stopping rule, but did not in the first iteration."""
    limit = consortium.confidence_threshold
    if consortium.stop_on not in ("agreement", "both"):
        return False
    figures = [agreement_for_threshold(last), independent_agreement(first, last)]
    return [figure is not None and figure >= limit for figure in figures] == [True, False]


def reaches_threshold(consortium: Consortium, confidence: float | None, agreement: float | None) -> bool:
    """Whether the measure of the stopping rule has reached the threshold; False if it is unknown."""
    figures = {"agreement": [agreement], "both": [confidence, agreement]}.get(consortium.stop_on, [confidence])
    return all(figure is not None and figure >= consortium.confidence_threshold for figure in figures)


def _agreement(
    pairs: Sequence[Sequence[MemberResponse]], compare: Callable[[CallId, CallId], Comparison]
) -> _Agreement:
    """The share of pairs that gave the same answer, of those that can be compared by a rule or by the arbiter."""
    some = pairs[:: len(pairs) // COMPARED_PAIRS + 1]
    results = [compare(one.response_id, other.response_id) for one, other in some]
    known = [result == SAME for result in results if result != NOT_COMPARABLE]
    return _Agreement(sum(known) / len(known) if known else None, len(some), len(known))


def _compared(answers: Mapping[CallId, Answer], iteration: Iteration, one: CallId, other: CallId) -> Comparison:
    """The comparison of two responses; the arbiter decides if no rule can."""
    result = compare_answers(answers[one], answers[other])
    return by_meaning(iteration, one, other) if result == NOT_COMPARABLE else result


def _ballots_compared(answers: Mapping[CallId, Answer], iteration: Iteration, one: CallId, other: CallId) -> Comparison:
    """The comparison of two responses by their ballots; not comparable if one has none that could be read."""
    votes = iteration.verdict.votes if iteration.verdict else ()
    found = [next((group.answer for group in votes if ballot in group.response_ids), None) for ballot in (one, other)]
    if None in found:
        return NOT_COMPARABLE
    return SAME if found[0] == found[1] else DIFFERENT
