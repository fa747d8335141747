"""Computes a consortium's track record: how often it was right in each band, and how its members' errors correlate."""

from collections.abc import Sequence

from consortium_mcp.records import TrackRecord, Trust

ENOUGH_RUNS = 10
"""The number of rated runs, with at least two compared answers each, that a correlation needs."""


def track_record(rated: Sequence[tuple[Trust, float]]) -> TrackRecord:
    """The track record from the trust of rated answers and their scores, 0.0-1.0."""
    scores = [(trust.before_ratings, score) for trust, score in rated if trust.before_ratings is not None]
    errors = [_errors(trust, score) for trust, score in rated if trust.compared > 1]
    return TrackRecord(scores=tuple(scores), correlation=error_correlation(errors))


def error_correlation(errors: Sequence[tuple[int, int]]) -> float | None:
    """The correlation of members' errors, 0.0-1.0: the intraclass correlation.

    That is (q - p²) / (p - p²), where p is the share of wrong answers, and q the share of pairs in which both are
    wrong. With few runs it is shrunk towards 0. None with fewer than `ENOUGH_RUNS` runs, or if all or no answers are
    wrong.

    Args:
        errors: for each rated run, the number of wrong answers and the number of answers.
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
    """The numbers of wrong and of compared answers; wrong ones differ from a right answer, or equal a wrong one."""
    return (trust.different if score >= 0.5 else trust.same), trust.compared
