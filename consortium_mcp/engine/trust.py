"""The trust in an answer: the stated confidence, bounded by the measurements."""

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from consortium_mcp._util.counts import counted
from consortium_mcp.engine.first_answers import count_first, found_later, is_tied
from consortium_mcp.engine.measures import answering
from consortium_mcp.engine.track_record import correlation_among
from consortium_mcp.records import (
    Iteration,
    RatedLevel,
    Run,
    TrackRecord,
    Trust,
    Verdict,
)
from consortium_mcp.records.consortium import OWN_ANSWER, Consortium
from consortium_mcp.records.trust import Measurement
from consortium_mcp.text.answers import NOT_COMPARABLE, SAME, compare
from consortium_mcp.text.figures import shown_beside

BANDS = ((0.0, 0.5), (0.5, 0.7), (0.7, 0.8), (0.8, 0.9), (0.9, 1.01))
"""The bands of confidence in which ratings are counted."""

PRIOR_RATINGS = 4.0
"""The number of ratings that the answer's own confidence weighs, beside the ratings of its band."""

ENOUGH_RATINGS = 10
"""The number of ratings in a band from which they bound the confidence; fewer are only shown."""


class Bound(NamedTuple):
    """A bound on the confidence, set by one measurement."""

    confidence: float
    """The highest confidence that the measurement allows, 0.0-1.0."""

    measurement: Measurement
    """The measurement."""

    reason: str
    """The reason for the bound, in one sentence."""


def with_trust(run: Run, iteration: Iteration, record: TrackRecord) -> Iteration:
    """The judged iteration with its trust; without a verdict it is unchanged.

    Args:
        run: the run with its earlier iterations.
        record: the track record of the consortium.
    """
    verdict = iteration.verdict
    if verdict is None:
        return iteration
    first = run.iterations[0] if run.iterations else iteration
    trust = Trust(
        confidence=verdict.confidence,
        stated=verdict.confidence,
        completeness=verdict.completeness,
        asked=len(first.responses),
        missing=tuple(one.label for one in first.responses if not one.ok),
        order_held=iteration.measures.order_held if iteration.measures else None,
        tied=is_tied(iteration, verdict),
        ballots=verdict.ballots,
    )
    counts = count_first(run, iteration, verdict)._asdict()
    declined = sum(one.ok for one in first.responses) - len(answering(first))
    trust = trust.model_copy(update={**counts, "declined": declined})
    if trust.compared and not trust.same:
        trust = trust.model_copy(update={"found_later": found_later(run, iteration)})
    alone = _bounded(trust)  # from this run alone: ratings are found by this figure
    trust = trust.model_copy(update={"before_ratings": alone.confidence})
    correlation = correlation_among(record, (*trust.same_by, *trust.different_by))
    if correlation is not None and trust.compared:
        votes = effective_votes(trust.compared, correlation)
        trust = trust.model_copy(update={"independent_votes": votes})
    trust = _rated(_bounded(trust), record, calibrates=run.consortium.stop_on == "ratings")
    return iteration.model_copy(update={"trust": trust})


def earned(votes: float, cast: float) -> float:
    """The confidence that `votes` of `cast` votes can earn, 0.0-1.0.

    It is the estimator of Krichevsky and Trofimov (1981), the mean of a proportion under Jeffreys' prior:
    (votes + 1/2) / (cast + 1). One vote of one earns 0.75, three of three 0.875.
    """
    return (votes + 0.5) / (cast + 1)


def why_unreachable(consortium: Consortium) -> str | None:
    """Why no agreement of so few instances can reach the threshold; None if it can, or if only agreement counts."""
    count, threshold = consortium.instance_count, consortium.confidence_threshold
    if consortium.stop_on in ("agreement", "ratings") or earned(count, count) >= threshold:
        return None
    most, limit = shown_beside(earned(count, count), threshold)
    instances = counted(count, "agreeing instance")
    return f"{instances} can earn {most}, so comparable answers cannot reach the threshold of {limit}."


def is_bounded_for_good(iteration: Iteration, consortium: Consortium) -> bool:
    """Whether only the first iteration's answers keep the confidence below the threshold.

    These do not change, and no other answer has more votes: another iteration would cost calls and raise nothing. If
    the arbiter asks for another iteration, it still takes place.
    """
    trust, verdict = iteration.trust, iteration.verdict
    if trust is None or verdict is None or verdict.needs_iteration or consortium.stop_on == "agreement":
        return False
    is_enough = trust.stated is not None and trust.stated >= consortium.confidence_threshold
    return trust.bound in ("agreement", "members") and is_enough and trust.same >= trust.different


def effective_votes(votes: int, correlation: float) -> float:
    """The number of independent votes that these votes equal, by Kish's design effect (1965): n / (1 + (n - 1) r).

    Args:
        correlation: the correlation of the voters' errors, 0.0-1.0.
    """
    return votes / (1 + (votes - 1) * correlation)


def order_held(one: Verdict, other: Verdict) -> bool | None:
    """Whether two verdicts on the same responses, shown in reversed order, agree; None if that is unknown."""
    if one.chosen is not None and one.chosen == other.chosen:
        return True
    compared = compare(one.synthesis, other.synthesis)
    if compared != NOT_COMPARABLE:
        return compared == SAME
    words = [one.synthesis.casefold().split(), other.synthesis.casefold().split()]
    if words[0] == words[1]:
        return True
    if Counter(words[0]) == Counter(words[1]):  # "A over B", "B over A"
        return False
    return None if one.chosen is None or other.chosen is None else False


def _bounded(trust: Trust) -> Trust:
    """The trust with the lowest bound of the run's measurements, and its reason."""
    bounds = [bound for measure in _MEASURES if (bound := measure(trust)) is not None]
    least = min(bounds, default=None)
    if trust.stated is None or least is None or least.confidence >= trust.stated:
        return trust
    bounded = {"confidence": least.confidence, "bound": least.measurement, "bounded_by": least.reason}
    return trust.model_copy(update=bounded)


def _by_agreement(trust: Trust) -> Bound | None:
    if not trust.compared and not trust.later:
        return None
    share = (trust.independent_votes or trust.compared) / trust.compared if trust.compared else 1.0
    count = max(trust.first_answers if trust.later else trust.compared, 1)
    one_vote = Bound(earned(share, count * share), "agreement", "")
    if not trust.compared:
        reason = "Members gave this answer only after they had seen other responses."
        return one_vote._replace(reason=reason)
    if trust.same == 0 and trust.found_later is not None:
        return one_vote._replace(reason=f"No member gave this answer before iteration {trust.found_later}.")
    bound = earned(trust.same * share, count * share)
    who = "answers, with your own," if OWN_ANSWER in (*trust.same_by, *trust.different_by) else "members"
    if trust.same == 0:
        return Bound(bound, "agreement", "No member gave this answer.")
    if trust.same < count:
        verb = "are this one" if who != "members" else "gave this answer"
        return Bound(bound, "agreement", f"Only {trust.same} of {count} {who} {verb}.")
    if trust.compared == 1:
        return Bound(bound, "agreement", "Only one member's answer can be compared with it.")
    if trust.independent_votes is not None and trust.independent_votes < trust.compared:
        votes = f"{trust.independent_votes:.1f} independent votes"
        return Bound(bound, "agreement", f"{trust.same} agreeing {who} count as {votes}.")
    return Bound(bound, "agreement", f"{trust.same} agreeing {who} can earn {bound:.2f}.")


def _by_members(trust: Trust) -> Bound | None:
    """The bound of the linear opinion pool of Stone (1961): the mean figure of the members with the answer.

    It applies to one member alone, and while the correlation of the members' errors is unknown. Its Brier score is at
    most the mean of the members' own scores, for any correlation.
    """
    if trust.stated_by_members is None or (trust.same > 1 and trust.independent_votes is not None):
        return None
    stated = f"The members who gave this answer state {trust.stated_by_members:.2f} on average."
    return Bound(trust.stated_by_members, "members", stated)


def _by_order(trust: Trust) -> Bound | None:
    if trust.order_held is not False:
        return None
    return Bound(0.5, "order", "With the responses in reversed order, the verdict was different.")


def _by_ballots(trust: Trust) -> Bound | None:
    if trust.ballots is None:
        return None
    bound = earned(trust.ballots.won, trust.ballots.about_winner)
    if trust.ballots.read < trust.ballots.asked:
        return Bound(
            bound, "ballots", f"Only {trust.ballots.read} of {counted(trust.ballots.asked, 'ballot')} could be read."
        )
    about = counted(trust.ballots.about_winner, "ballot")
    return Bound(bound, "ballots", f"{about} about the winner can earn {bound:.2f}.")


_MEASURES: tuple[Callable[[Trust], Bound | None], ...] = (
    _by_agreement,
    _by_members,
    _by_order,
    _by_ballots,
)


def band_of(confidence: float) -> str:
    """The name of the band of a confidence."""
    low, high = next(band for band in BANDS if band[0] <= confidence < band[1])
    return f"{low:.1f}-{min(high, 1.0):.1f}"


def _rated(trust: Trust, record: TrackRecord, *, calibrates: bool) -> Trust:
    """The trust with the ratings of earlier answers in the same band, if there are any; enough of them bound it too.

    Args:
        calibrates: whether enough ratings replace the figure, also by a higher one; otherwise there is a reason.
    """
    level, figure = trust.before_ratings, trust.confidence
    if level is None or figure is None:
        return trust
    band = band_of(level)
    scores = [score for confidence, score in record.scores if band_of(confidence) == band]
    if calibrates and len(scores) < ENOUGH_RATINGS:
        few = f"of the {ENOUGH_RATINGS} rated answers that it takes at this level, there are {len(scores)}"
        trust = trust.model_copy(update={"not_calibrated": few})
    if not scores:
        return trust
    mean = (sum(scores) + PRIOR_RATINGS * figure) / (len(scores) + PRIOR_RATINGS)
    right = sum(score >= 0.5 for score in scores)
    rated = RatedLevel(level=band, rated=len(scores), right=right, confidence=mean)
    trust = trust.model_copy(update={"rated": rated})
    if len(scores) < ENOUGH_RATINGS or (mean >= figure and not calibrates):
        return trust
    if mean >= figure and (failed := _failed(trust)):
        return trust.model_copy(update={"not_calibrated": failed})
    reason = f"Of {len(scores)} rated answers at this level, {right} were right."
    return trust.model_copy(update={"confidence": mean, "bound": "ratings", "bounded_by": reason})


def _failed(trust: Trust) -> str | None:
    """The measurement of this run that no rating of other answers can outweigh, as a clause; None if there is none."""
    if trust.order_held is False:
        return "in reversed order the verdict was different"
    if trust.tied:
        return "another answer had as many votes"
    if trust.compared and not trust.same and trust.found_later is None:
        return "no member gave this answer"
    return None
