"""The tables of the quality report: accuracy, cost and calibration of each side."""

from collections.abc import Sequence

from benchmarks.quality.evaluate import Result
from consortium_mcp.engine.trust import BANDS

_HEADINGS = ("side", "right", "accuracy", "95 % interval", "predicted", "calls", "tokens", "brier", "no answer", "s")


def quality_table(results: Sequence[Result]) -> str:
    """One line for each side; calls and tokens are per question, seconds for all questions."""
    return table(_HEADINGS, [_row(result) for result in results])


def calibration_table(results: Sequence[Result]) -> str:
    """The share of right answers of each side by stated confidence, with the number of answers."""
    bands = [f"{low:.1f}-{min(high, 1.0):.1f}" for low, high in BANDS]
    return table(("right when it stated", *bands), [_bands(result) for result in results])


def _row(result: Result) -> list[str]:
    asked = len(result.answers)
    tokens = [one.tokens for one in result.answers if one.tokens is not None]
    return [
        result.side.name,
        f"{result.right}/{asked}",
        f"{result.accuracy:.3f}",
        f"{result.interval.low:.3f}-{result.interval.high:.3f}",
        _predicted(result),
        f"{sum(one.calls for one in result.answers) / asked:.1f}",
        f"{sum(tokens) / len(tokens):.0f}" if tokens else "unknown",
        "unknown" if result.brier is None else f"{result.brier:.3f}",
        str(sum(not one.answered for one in result.answers)),
        f"{result.seconds:.1f}",
    ]


def _predicted(result: Result) -> str:
    """The prediction, marked if the interval does not contain it."""
    predicted = result.side.predicted
    if predicted is None:
        return "unknown"
    return f"{predicted:.3f}" if result.interval.holds(predicted) else f"{predicted:.3f} (!)"


def _bands(result: Result) -> list[str]:
    cells = [result.side.name]
    for low, high in BANDS:
        right = [right for confidence, right in result.stated if low <= confidence < high]
        cells.append(f"{sum(right) / len(right):.2f} of {len(right)}" if right else "")
    return cells


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with aligned columns, for terminals too."""
    widths = [max(len(row[place]) for row in (headings, *rows)) for place in range(len(headings))]
    lines = [headings, ["-" * width for width in widths], *rows]
    return "\n".join(
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))} |" for line in lines
    )
