"""Prints all speed measurements in one table.

python -m benchmarks [--quick] [--save FILE] [--compare FILE]
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from benchmarks import consulting, history, local_model, startup
from benchmarks.figures import Figure, compared, load, machine_noise, save, table

BASELINE = Path(__file__).parent / "baseline.json"
"""The saved baseline. Between machines, only ratios within one run can be compared."""


def measured(quick: bool) -> list[Figure]:
    """Every figure; the machine's noise is measured first and last.

    Args:
        quick: fewer repetitions and a shorter history.
    """
    parts: dict[str, Callable[[], Sequence[Figure]]] = {
        "startup": partial(startup.figures, 5 if quick else startup.REPETITIONS),
        "consulting": partial(consulting.figures, 1 if quick else 5),
        "history": partial(history.figures, 10_000 if quick else history.RUNS),
        "the local model": partial(local_model.figures, 2 if quick else 5),
    }
    found = [machine_noise("before")]
    for name, figures in parts.items():
        print(f"Measuring {name} …", file=sys.stderr)
        found += figures()
    return [*found, machine_noise("after")]


def main() -> None:
    """Print the table; exit with 1 if a bound is broken, or if a figure became worse by more than the noise."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--quick", action="store_true", help="in a few minutes, and less exactly")
    parser.add_argument("--save", type=Path, nargs="?", const=BASELINE, help="write what was measured to a file")
    parser.add_argument("--compare", type=Path, nargs="?", const=BASELINE, help="say what got slower than it was there")
    options = parser.parse_args()
    if options.compare and not options.compare.exists():
        parser.error(f"there is no {options.compare} to compare with; write one on this machine with --save")
    figures = measured(options.quick)
    print(*table(figures), sep="\n")
    slower = compared(load(options.compare), figures) if options.compare else []
    print(*slower, sep="\n")
    if options.save:
        save(figures, options.save)
    sys.exit(bool(slower) or not all(figure.holds for figure in figures))


if __name__ == "__main__":
    main()
