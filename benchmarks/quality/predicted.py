"""Computes the exact results of simulated consortiums, and confidence intervals of measured accuracies."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import permutations
from math import comb, factorial, prod, sqrt
from typing import NamedTuple

from benchmarks.quality.simulated import Simulation

MOST_COUNTED = 5
"""The most members for which all ballots of a `peer_rank` are enumerated; six take minutes."""


class Interval(NamedTuple):
    """A confidence interval of an accuracy."""

    low: float
    high: float

    def holds(self, accuracy: float) -> bool:
        """Whether the interval contains the accuracy."""
        return self.low <= accuracy <= self.high


def wilson(right: int, asked: int, z: float = 1.96) -> Interval:
    """Wilson's confidence interval of the accuracy.

    Args:
        z: the number of standard deviations to each side; 1.96 gives a 95 % interval.
    """
    share = right / asked
    middle = (share + z * z / (2 * asked)) / (1 + z * z / asked)
    half = z * sqrt(share * (1 - share) / asked + z * z / (4 * asked * asked)) / (1 + z * z / asked)
    return Interval(middle - half, middle + half)


def predicted(simulation: Simulation, method: str, arbiter: str | None = None) -> float | None:
    """The accuracy of a judging method on simulated members; None if it cannot be computed.

    With the probability `correlation` all members give the same answer, so that every method is right only if each is.

    Args:
        arbiter: `knows` or `counts`, if the method asks one.
    """
    apart = _apart(simulation, method, arbiter)
    together = simulation.accuracy
    return None if apart is None else simulation.correlation * together + (1 - simulation.correlation) * apart


def majority(members: int, accuracy: float) -> float:
    """The probability that more than half of independent members are right, plus half that of a tie."""
    ties = _binomial(members, members // 2, accuracy) / 2 if members % 2 == 0 else 0.0
    return ties + sum(_binomial(members, right, accuracy) for right in range(members // 2 + 1, members + 1))


def plurality(members: int, accuracy: float, alternatives: int) -> float:
    """The probability that the most frequent answer is right; equally frequent ones win equally often.

    Args:
        alternatives: the number of wrong answers, with equal probability.
    """
    total = 0.0
    for right in range(1, members + 1):
        errors = members - right
        for counts in _splits(errors, alternatives):
            if max(counts) <= right:
                ways = factorial(errors) / prod(map(factorial, counts)) / alternatives**errors
                total += _binomial(members, right, accuracy) * ways / (1 + counts.count(right))
    return total


def best_possible(members: int, accuracy: float) -> float:
    """The probability that at least one independent member is right, the upper limit for any judge."""
    return 1 - (1 - accuracy) ** members


@cache
def peer_ranking(members: int, accuracy: float, reliability: float) -> float | None:
    """The probability that a right response has the highest Borda count; None for too many members."""
    if members > MOST_COUNTED:
        return None
    chances = [_binomial(members, right, accuracy) for right in range(members + 1)]
    return chances[members] + sum(
        chances[right] * _right_wins(members, right, reliability) for right in range(1, members)
    )


def _apart(simulation: Simulation, method: str, arbiter: str | None) -> float | None:
    """The accuracy for independent members."""
    members, accuracy, reliability = simulation.members, simulation.accuracy, simulation.reliability
    if method == "single":
        return accuracy
    if method == "vote":
        return plurality(members, accuracy, simulation.alternatives)
    if method == "peer_rank":
        return peer_ranking(members, accuracy, reliability)
    counted = plurality(members, accuracy, simulation.alternatives)
    reliable = {"knows": best_possible(members, accuracy), "counts": counted}[arbiter or ""]
    return reliability * reliable + (1 - reliability) * accuracy


def _binomial(members: int, right: int, accuracy: float) -> float:
    """The probability of exactly `right` right answers."""
    return comb(members, right) * accuracy**right * (1 - accuracy) ** (members - right)


def _splits(total: int, parts: int) -> Iterator[tuple[int, ...]]:
    """Every ordered sum of `parts` numbers from 0 that gives a number."""
    if parts == 1:
        yield (total,)
        return
    for first in range(total + 1):
        for rest in _splits(total - first, parts - 1):
            yield (first, *rest)


def _right_wins(members: int, right: int, reliability: float) -> float:
    """The probability that a right response, one of the first `right`, has the highest count; ties are split evenly."""
    sums: dict[tuple[int, ...], float] = {(0,) * members: 1.0}
    for voter in range(members):
        ballots = _ballots(members, right, voter, reliability)
        added: dict[tuple[int, ...], float] = defaultdict(float)
        for counts, likely in sums.items():
            for ballot, chance in ballots:
                added[tuple(map(int.__add__, counts, ballot))] += likely * chance
        sums = added
    return sum(likely * _share_of_top(counts, right) for counts, likely in sums.items())


def _ballots(members: int, right: int, voter: int, reliability: float) -> list[tuple[tuple[int, ...], float]]:
    """The possible points of a voter and their probabilities: the last on a ballot gets 0, each before it one more."""
    others = [member for member in range(members) if member != voter]
    orders = list(permutations(others))
    sound = [order for order in orders if _is_sound(order, right)]
    ballots = []
    for order in orders:
        points = [0] * members
        for place, member in enumerate(reversed(order)):
            points[member] = place
        chance = (1 - reliability) / len(orders) + (reliability / len(sound) if _is_sound(order, right) else 0)
        ballots.append((tuple(points), chance))
    return ballots


def _is_sound(order: Sequence[int], right: int) -> bool:
    """Whether no wrong response is ranked above a right one."""
    return list(order) == sorted(order, key=lambda member: member >= right)


def _share_of_top(counts: Sequence[int], right: int) -> float:
    top = [member for member, count in enumerate(counts) if count == max(counts)]
    return sum(member < right for member in top) / len(top)
