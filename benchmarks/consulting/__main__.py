"""python -m benchmarks.consulting [SIDE …] [--repetitions N]"""

import argparse

from benchmarks.consulting.measure import figures
from benchmarks.figures import report

parser = argparse.ArgumentParser(prog="python -m benchmarks.consulting")
parser.add_argument("--repetitions", type=int, default=5)
parser.add_argument("--sides", nargs="*", help="which are measured beside ours; all unless named")
options = parser.parse_args()
report(figures(options.repetitions, options.sides))
