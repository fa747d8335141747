"""Computes a consortium's track record: how often it was right in each band, and how its members' errors correlate."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import combinations

from consortium_mcp.records import TrackRecord, Trust
from consortium_mcp.records.trust import PairRecord

ENOUGH_RUNS = 10
"""The number of rated runs, with at least two compared answers each, that a correlation needs."""


Rated = tuple[Trust, float]
"""The trust in a rated answer, and its score, 0.0-1.0."""


def track_record(rated: Sequence[Rated], everywhere: Sequence[Rated] | None = None) -> TrackRecord:
    """The track record from the rated answers of a consortium.

    Args:
        everywhere: the rated answers of all consortiums, for the pairs of models; None means the same ones.
    """
    scores = [(trust.before_ratings, score) for trust, score in rated if trust.before_ratings is not None]
    errors = [_errors(trust, score) for trust, score in rated]
    pairs = pair_records(rated if everywhere is None else everywhere)
    return TrackRecord(scores=tuple(scores), correlation=error_correlation(errors), pairs=pairs)


def pair_records(rated: Sequence[Rated]) -> tuple[PairRecord, ...]:
    """The correlation of each two models' errors, the phi coefficient; pairs without one are left out.

    A run counts if it shows for both models whether they were right. A pair has a correlation from `ENOUGH_RUNS` such
    runs on, if each of the two was sometimes wrong and sometimes not. With few runs it is shrunk towards 0.
    """
    found: dict[tuple[str, str], list[list[tuple[bool, bool]]]] = defaultdict(list)
    for trust, score in rated:
        is_right = score >= 0.5
        different = trust.different_by if is_right else ()  # beside a wrong answer, these may be right or wrong
        gave = sorted([*((one, not is_right) for one in trust.same_by), *((one, True) for one in different)])
        of_run: dict[tuple[str, str], list[tuple[bool, bool]]] = defaultdict(list)
        for (one, is_wrong), (other, is_other_wrong) in combinations(gave, 2):
            of_run[one, other].append((is_wrong, is_other_wrong))
            if one == other:
                of_run[one, other].append((is_other_wrong, is_wrong))
        for pair, errors in of_run.items():
            found[pair].append(errors)
    known = {pair: (len(runs), _phi([one for run in runs for one in run])) for pair, runs in sorted(found.items())}
    return tuple(
        PairRecord(models=pair, runs=runs, correlation=min(1.0, max(0.0, phi)) * runs / (runs + ENOUGH_RUNS))
        for pair, (runs, phi) in known.items()
        if runs >= ENOUGH_RUNS and phi is not None
    )


def correlation_among(record: TrackRecord, models: Sequence[str]) -> float | None:
    """The mean correlation of the errors of these models, two by two; None without a pair, or if one is unknown.

    A pair without a record of its own has the correlation of the consortium.
    """
    of_pair = {pair.models: pair.correlation for pair in record.pairs}
    pairs = Counter((min(pair), max(pair)) for pair in combinations(models, 2))
    known = [(of_pair.get(pair, record.correlation), count) for pair, count in pairs.items()]
    weighted = [correlation * count for correlation, count in known if correlation is not None]
    if not pairs or len(weighted) < len(known):
        return None
    return sum(weighted) / pairs.total()


def _phi(errors: Sequence[tuple[bool, bool]]) -> float | None:
    """The correlation of two columns of errors; None if one of them never changes."""
    count = len(errors)
    one, other = (sum(column) / count for column in zip(*errors, strict=True))
    if not 0 < one < 1 or not 0 < other < 1:
        return None
    both = sum(first and second for first, second in errors) / count
    return float((both - one * other) / math.sqrt(one * (1 - one) * other * (1 - other)))


def error_correlation(errors: Sequence[tuple[int, int]]) -> float | None:
    """The correlation of members' errors, 0.0-1.0: the intraclass correlation.

    That is (q - p²) / (p - p²), where p is the share of wrong answers, and q the share of pairs in which both are
    wrong. With few runs it is shrunk towards 0. None with fewer than `ENOUGH_RUNS` runs of two answers or more, or if
    all or no answers are wrong.

    Args:
        errors: for each rated run, the number of wrong answers, and of answers that are known as right or wrong.
    """
    errors = [(wrong, of) for wrong, of in errors if of > 1]
    answers = sum(of for _, of in errors)
    wrong = sum(wrong for wrong, _ in errors)
    if len(errors) < ENOUGH_RUNS or not 0 < wrong < answers:
        return None
    p = wrong / answers
    q = sum(wrong * (wrong - 1) for wrong, _ in errors) / sum(of * (of - 1) for _, of in errors)
    correlation = (q - p * p) / (p - p * p)
    return min(1.0, max(0.0, correlation)) * len(errors) / (len(errors) + ENOUGH_RUNS)


def _errors(trust: Trust, score: float) -> tuple[int, int]:
    """The number of wrong answers, and of answers that are known as right or wrong.

    An answer that differs from a right one is wrong. One that differs from a wrong one is unknown.
    """
    return (trust.different, trust.compared) if score >= 0.5 else (trust.same, trust.same)
