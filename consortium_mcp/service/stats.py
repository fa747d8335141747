"""Statistics of consortiums, arbiters and members, from the ratings in this database only."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from consortium_mcp._util.frozen_model import FrozenModel
from consortium_mcp.engine.judging import judging_methods
from consortium_mcp.engine.outcome import was_decided
from consortium_mcp.engine.track_record import pair_records, track_record
from consortium_mcp.engine.trust import BANDS, band_of
from consortium_mcp.records import Iteration, MemberResponse, Rating, Run, Trust
from consortium_mcp.records.trust import PairRecord
from consortium_mcp.store import Store
from consortium_mcp.text.answers import DIFFERENT, NOT_COMPARABLE, SAME, compare, compare_answers, final_answer


class Reliability(FrozenModel):
    """The result of one band of confidence."""

    confidence: str
    """The band of the shown confidence, as in `0.8-0.9`."""

    runs: int
    """The number of rated runs in the band."""

    true: float
    """The mean score of these runs."""


class Calibration(FrozenModel):
    """The calibration of one consortium and arbiter: how well confidence predicted ratings."""

    consortium: str
    """The saved name, or the members of an inline consortium."""

    arbiter: str
    """The arbiter, or the judging method if it has no arbiter."""

    rated: int
    """The number of rated runs that have a confidence."""

    brier: float
    """The mean squared difference of confidence and score: 0 is perfect, 0.25 is the result of a constant 0.5."""

    reliability: tuple[Reliability, ...]
    """The ratings in each band of confidence."""

    correlation: float | None = None
    """The correlation of the members' errors, from 0.0 (independent) to 1.0; None if too few runs are rated."""


class MemberStats(FrozenModel):
    """The figures of one model as a member."""

    model: str
    """The model id or alias, as consortiums name it."""

    responses: int
    """The number of expected responses: those in time, failures, and those that never came."""

    error_rate: float | None
    """The share of expected responses that failed or never came, 0.0-1.0; None without any."""

    mean_duration_ms: int | None
    """The mean duration of the successful responses; None without any."""

    cost_usd: float | None
    """US dollars of all its calls with known cost; None if no cost is known."""

    unpriced: int
    """The number of calls with unknown cost, which `cost_usd` does not include."""

    stated_confidence: float | None
    """The mean confidence that it stated in its own responses, 0.0-1.0; None if it never stated any."""

    chosen: int
    """How often its response became the answer."""

    alone: int
    """How often the other responses agreed among themselves, and none agreed with its response."""

    wrong: int | None
    """In rated runs: how often it gave a wrong answer, or did not give the right one.

    None if no answer was compared.
    """

    not_comparable: int
    """In rated runs: how often right or wrong is unknown; these are not in `wrong`."""


class Stats(FrozenModel):
    """All statistics from the ratings and the records."""

    calibration: tuple[Calibration, ...]
    """The figures of each consortium and arbiter, most rated first."""

    members: tuple[MemberStats, ...]
    """The figures of each model, most asked first."""

    pairs: tuple[PairRecord, ...] = ()
    """How each two models err together, in rated runs; pairs with too few are left out."""


def load_stats(store: Store, limit: int = 1000) -> Stats:
    """The statistics of the newest runs and all ratings."""
    ratings = store.ratings.list_newest.sync()
    run_ids = dict.fromkeys([rating.run_id for rating in ratings])
    run_ids |= dict.fromkeys(run.run_id for run in store.outlines.find.sync(limit=limit))
    return make_stats((store.runs.load.sync(run_id) for run_id in run_ids), ratings)


def make_stats(runs: Iterable[Run], ratings: Iterable[Rating]) -> Stats:
    """The statistics of runs and their ratings."""
    runs = list(runs)
    scores = {rating.run_id: rating.score for rating in ratings}
    rated: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for run in runs:
        if run.run_id in scores and run.confidence is not None:
            rated[_name(run), _judge(run)].append(run)
    trusts = [(trust, scores[run.run_id]) for run in runs if _is_rated(run, scores) and (trust := _trust(run))]
    calibration = [_calibration(names, given, scores) for names, given in rated.items()]
    return Stats(
        calibration=tuple(sorted(calibration, key=lambda one: -one.rated)),
        members=tuple(sorted(_members(runs, scores), key=lambda one: -one.responses)),
        pairs=pair_records(trusts),
    )


def _name(run: Run) -> str:
    return run.consortium_name or ", ".join(map(str, run.consortium.members))


def _judge(run: Run) -> str:
    method = judging_methods().get(run.consortium.judging_method)
    if method is not None and not method.needs_arbiter:
        return method.name
    chosen = run.iterations[(run.selected_iteration or 1) - 1] if run.iterations else None
    if chosen and chosen.verdict and chosen.verdict.by_agreement:
        return "agreement"
    return (chosen.judged_by if chosen else None) or run.consortium.arbiter or run.consortium.judging_method


def _calibration(names: tuple[str, str], runs: Sequence[Run], scores: dict[str, float]) -> Calibration:
    pairs = [(run.confidence or 0.0, scores[run.run_id]) for run in runs]
    table = []
    for band in map(band_of, (low for low, _ in BANDS)):
        found = [score for confidence, score in pairs if band_of(confidence) == band]
        if found:
            table.append(Reliability(confidence=band, runs=len(found), true=sum(found) / len(found)))
    trusts = [(trust, scores[run.run_id]) for run in runs if not run.replay_of and (trust := _trust(run))]
    return Calibration(
        consortium=names[0],
        arbiter=names[1],
        rated=len(pairs),
        brier=sum((confidence - score) ** 2 for confidence, score in pairs) / len(pairs),
        reliability=tuple(table),
        correlation=track_record(trusts).correlation,
    )


def _is_rated(run: Run, scores: dict[str, float]) -> bool:
    """Whether a run is rated, and no replay of another one's responses."""
    return run.run_id in scores and not run.replay_of


def _trust(run: Run) -> Trust | None:
    return run.iterations[run.selected_iteration - 1].trust if run.selected_iteration else None


_Given = tuple[Run, Iteration, MemberResponse]
"""A response and its iteration."""


def _members(runs: Sequence[Run], scores: dict[str, float]) -> list[MemberStats]:
    by_model: dict[str, list[_Given]] = defaultdict(list)
    for run in runs:
        if run.replay_of:
            continue  # a replay has the same responses again
        for iteration in run.iterations:
            for response in iteration.responses:
                by_model[response.model].append((run, iteration, response))
    return [_member(model, given, scores) for model, given in by_model.items()]


def _member(model: str, given: Sequence[_Given], scores: dict[str, float]) -> MemberStats:
    heard = [one for one in given if not one[2].late]
    usable = [one for one in heard if one[2].ok]
    awaited = len(heard) + len(_missed(given))
    calls = {(run.run_id, response.response_id): response.cost_usd for run, _, response in given}  # a late one is twice
    costs = [cost for cost in calls.values() if cost is not None]
    rated = [_is_wrong(run, response, scores[run.run_id]) for run, _, response in usable if run.run_id in scores]
    known = [is_wrong for is_wrong in rated if is_wrong is not None]
    duration = _mean(response.duration_ms for _, _, response in usable)
    return MemberStats(
        model=model,
        responses=awaited,
        error_rate=1 - len(usable) / awaited if awaited else None,
        mean_duration_ms=None if duration is None else round(duration),
        cost_usd=sum(costs) if costs else None,
        unpriced=len(calls) - len(costs),
        stated_confidence=_mean(
            response.stated_confidence for _, _, response in usable if response.stated_confidence is not None
        ),
        chosen=sum(_is_chosen(*one) for one in usable),
        alone=sum(_is_alone(iteration, response) for _, iteration, response in usable),
        wrong=sum(known) if known else None,
        not_comparable=len(rated) - len(known),
    )


def _missed(given: Sequence[_Given]) -> set[tuple[str, str]]:
    """The calls without any response, except those that the judging method did not wait for."""
    came = {(run.run_id, one.response_id) for run, _, one in given if not one.late or one.text}
    late = [(run, iteration, one) for run, iteration, one in given if (run.run_id, one.response_id) not in came]
    return {(run.run_id, one.response_id) for run, iteration, one in late if not was_decided(run, iteration.responses)}


def _mean(values: Iterable[float]) -> float | None:
    given = list(values)
    return sum(given) / len(given) if given else None


def _is_chosen(run: Run, iteration: Iteration, response: MemberResponse) -> bool:
    verdict = iteration.verdict
    return iteration.number == run.selected_iteration and verdict is not None and verdict.chosen == response.response_id


def _is_alone(iteration: Iteration, response: MemberResponse) -> bool:
    others = [final_answer(one.text or "") for one in iteration.responses if one.ok and one is not response]
    if len(others) < 2 or any(compare_answers(others[0], other) != SAME for other in others[1:]):
        return False
    own = final_answer(response.text or "")
    return all(compare_answers(own, other) == DIFFERENT for other in others)


def _is_wrong(run: Run, response: MemberResponse, score: float) -> bool | None:
    """Whether a rated run shows that a response is wrong.

    None if the answers are not comparable, or if the response differs from a wrong answer, because it may be wrong too.
    """
    result, is_right = compare(response.text or "", run.answer or ""), score >= 0.5
    if result == NOT_COMPARABLE or (result == DIFFERENT and not is_right):
        return None
    return (result == SAME) != is_right
