"""What a consortium's rated answers say: how right it was at each confidence, and whether its members err together."""

from collections.abc import Sequence

from consortium_mcp.records import TrackRecord, Trust

ENOUGH_RUNS = 10
"""From how many rated runs with at least two compared answers a correlation is known."""


def track_record(rated: Sequence[tuple[Trust, float]]) -> TrackRecord:
    """What the trust of rated answers and their scores, 0.0-1.0, come to."""
    scores = [(trust.before_ratings, score) for trust, score in rated if trust.before_ratings is not None]
    errors = [_errors(trust, score) for trust, score in rated if trust.compared > 1]
    return TrackRecord(scores=tuple(scores), correlation=error_correlation(errors))


def error_correlation(errors: Sequence[tuple[int, int]]) -> float | None:
    """How much members err together, 0.0-1.0: the intraclass correlation of their errors.

    That is (q - p²) / (p - p²), where p is the share of wrong answers, and q that of pairs that are both wrong. With
    few runs it is pulled towards 0. None with fewer than `ENOUGH_RUNS` runs, or where all or no answers are wrong.

    Args:
        errors: of each rated run, how many answers were wrong, and of how many.
    """
    answers = sum(of for _, of in errors)
    wrong = sum(wrong for wrong, _ in errors)
    if len(errors) < ENOUGH_RUNS or not 0 < wrong < answers:
        return None
    p = wrong / answers
    q = sum(wrong * (wrong - 1) for wrong, _ in errors) / sum(of * (of - 1) for _, of in errors)
    correlation = (q - p * p) / (p - p * p)
    return min(1.0, max(0.0, correlation)) * len(errors) / (len(errors) + ENOUGH_RUNS)


def _errors(trust: Trust, score: float) -> tuple[int, int]:
    """How many compared answers were wrong: those that differ from a right answer, or that gave a wrong one."""
    return (trust.different if score >= 0.5 else trust.same), trust.compared
