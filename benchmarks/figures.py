"""Figures of benchmarks: each with all its repetitions, its bounds, and its row in a table."""

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

LEAST_CHANGE = 0.05
"""The relative change below which nothing counts as changed, however small the spread is."""


@dataclass(frozen=True)
class Figure:
    """One quantity that was measured several times."""

    what: str
    """The name of the quantity, equal in every run, because the comparison with a baseline uses it."""

    unit: str
    """`ms`, `MB`, `per s`, or `x` for a ratio within one run; only ratios have bounds that hold on every machine."""

    values: tuple[float, ...]
    """The value of each repetition."""

    most: float | None = None
    """The upper bound of the median; None for no such bound."""

    least: float | None = None
    """The lower bound of the median; None for no such bound. Such a figure is better if it is higher."""

    higher_is_better: bool = False
    """Whether higher is better; otherwise lower is."""

    @property
    def median(self) -> float:
        """The median of the values."""
        return statistics.median(self.values)

    @property
    def spread(self) -> float:
        """The spread of the values: half the interquartile range, as a fraction of the median."""
        if len(self.values) < 2 or not self.median:
            return 0.0
        low, _, high = statistics.quantiles(self.values, n=4, method="inclusive")
        return (high - low) / 2 / abs(self.median)

    @property
    def holds(self) -> bool:
        """Whether the median is within its bounds."""
        below = self.most is None or self.median <= self.most
        return below and (self.least is None or self.median >= self.least)

    @property
    def row(self) -> str:
        """A row of the table."""
        bounds = [f"≤ {self.most:g}" for _ in [0] if self.most is not None]
        bounds += [f"≥ {self.least:g}" for _ in [0] if self.least is not None]
        held = f"{' and '.join(bounds)}: {'holds' if self.holds else 'BROKEN'}" if bounds else ""
        return f"| {self.what} | {shown(self.median)} {self.unit} | ± {self.spread:.0%} | {held} |"


def shown(value: float) -> str:
    """A number with three significant digits, without an exponent."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def report(figures: Sequence[Figure]) -> None:
    """Print the table and end the process, with 1 if a bound is broken."""
    print(*table(figures), sep="\n")
    sys.exit(not all(figure.holds for figure in figures))


def table(figures: Iterable[Figure]) -> list[str]:
    """The lines of the table."""
    return ["| | median | spread | bound |", "|---|---|---|---|", *(figure.row for figure in figures)]


def interleaved(sides: dict[str, Callable[[], float]], repetitions: int, warm_up: int = 1) -> dict[str, list[float]]:
    """The values of each side by name, measured in turn, so that disturbances affect all sides."""
    values: dict[str, list[float]] = {name: [] for name in sides}
    for repetition in range(warm_up + repetitions):
        for name, measure in sides.items():
            value = measure()
            if repetition >= warm_up:
                values[name].append(value)
    return values


def ratios(above: Sequence[float], below: Sequence[float]) -> tuple[float, ...]:
    """The ratio of both figures in each repetition."""
    return tuple(one / other for one, other in zip(above, below, strict=True))


def machine_noise(when: str) -> Figure:
    """The noise of the machine: the times of identical work."""

    def work() -> float:
        began = time.perf_counter()
        sum(number * number for number in range(300_000))
        return (time.perf_counter() - began) * 1000

    return Figure(f"the machine {when}: a fixed loop", "ms", tuple(work() for _ in range(30)))


def compared(before: Iterable[Figure], now: Iterable[Figure]) -> list[str]:
    """The figures that became worse by more than both spreads, one sentence each; empty if none did.

    Times are first scaled by the machine's speed in each measurement.
    """
    known = {figure.what: figure for figure in before}
    now = list(now)
    machine = [figure for figure in now if figure.what.startswith("the machine") and figure.what in known]
    faster = statistics.fmean(known[one.what].median / one.median for one in machine) if machine else 1.0
    sentences = []
    for figure in now:
        earlier = known.get(figure.what)
        if earlier is None or figure in machine or not earlier.median:
            continue
        scale = {"ms": faster, "s": faster, "per s": 1 / faster}.get(figure.unit, 1.0)
        change = figure.median * scale / earlier.median
        worse = 1 / change if figure.higher_is_better else change
        if worse > 1 + 2 * (figure.spread + earlier.spread) + LEAST_CHANGE:
            sentences.append(
                f"SLOWER: {figure.what}: {shown(earlier.median)} {earlier.unit} before, {shown(figure.median)} now "
                f"({worse:.2f} times as bad on a machine as fast)."
            )
    return sentences


def save(figures: Iterable[Figure], path: Path) -> None:
    """Write the figures as a baseline, one per line, with four significant digits."""
    rows = ({**asdict(figure), "values": [float(f"{value:.4g}") for value in figure.values]} for figure in figures)
    path.write_text("[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]\n")


def load(path: Path) -> list[Figure]:
    """Read a baseline."""
    return [Figure(**{**row, "values": tuple(row["values"])}) for row in json.loads(path.read_text())]
