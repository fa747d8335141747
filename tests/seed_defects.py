"""The 39 defects of llm-consortium 0.3.2, B1 to B39: the table at the end of a test report, each with its tests."""

import re
from collections import Counter
from collections.abc import Iterator

from _pytest.terminal import TerminalReporter

DEFECTS = {
    1: "the prompt is wrapped zero or one time, the system prompt apart",
    2: "needs_iteration and refinement areas are read as models write them",
    3: "nothing is read out of thinking; the last verdict counts",
    4: "one reader of confidences; what cannot be read is none",
    5: "a run's state belongs to the run",
    6: "failures are known by type and status; Retry-After; no wait after the last attempt",
    7: "a failed arbiter costs no paid answer",
    8: "no arbiter where all members failed",
    9: "the best iteration is the answer",
    10: "needs_iteration counts; an unreadable verdict costs one repair and no iteration",
    11: "history and system prompt reach everybody in every iteration",
    12: "a model id with a colon is a model id",
    13: "counts are from 1 to a limit; of duplicates the sum",
    14: "braces are text; an empty template is refused",
    15: "no call is lost in the logs",
    16: "connections have one owner and are closed",
    17: "importing does nothing, on a fresh machine too",
    18: "a missing text fails clearly",
    19: "a damaged row hides no other",
    20: "options on the model are honoured",
    21: "the answer streams, in chunks",
    22: "a consortium that contains itself is refused",
    23: "nobody hung holds up a run",
    24: "the order of responses is known, shuffled and reproducible",
    25: "a member's text cannot pass for anybody else's",
    26: "the arbiter sees no names",
    27: "the arbiter's question does not grow",
    28: "what failed exits with an error, said once",
    29: "numbers are checked; a percentage is one everywhere",
    30: "an iteration without a verdict is no crash",
    31: "an empty reply is an error",
    32: "a truncated reply is found and said",
    33: "no default names a dead model",
    34: "every iteration and every token is kept",
    35: "times are aware; causes are chained",
    36: "attachments, schemas, tools, fragments are passed on or refused",
    37: "a consortium hides no model",
    38: "`llm consortium` runs by default",
    39: "a consortium that cannot run is listed with its reason",
}
"""The correct behaviour, in a few words."""


def numbers(test: str) -> list[int]:
    """The defects that a test's name says it is about: `test_B31_and_B32_…` is about two."""
    return [int(number) for number in re.findall(r"(?<=_)B(\d+)(?=_)", test)]


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Print a line for each test of a defect that ran, and which defects had none, if there was any."""
    lines = sorted(_lines(terminalreporter))
    if not lines:
        return
    terminalreporter.section("defects of llm-consortium 0.3.2")
    for number, test, outcome in lines:
        terminalreporter.write_line(f"B{number:<3} {outcome:<8} {test}")
    missing = sorted(set(DEFECTS) - {number for number, _, _ in lines})
    if missing:
        terminalreporter.write_line(f"not run: {' '.join(f'B{number}' for number in missing)}")


def _lines(terminalreporter: TerminalReporter) -> Iterator[tuple[int, str, str]]:
    """(defect, test function, outcome) of each that ran; cases of one test that ended alike are one."""
    counted: Counter[tuple[str, str]] = Counter()
    for outcome in ("passed", "failed", "error", "skipped", "xfailed"):
        for report in terminalreporter.stats.get(outcome, ()):
            counted[report.nodeid.partition("[")[0], outcome] += 1
    for (test, outcome), cases in counted.items():
        for number in numbers(test.rpartition("::")[2]):
            yield number, test.removeprefix("tests/") + (f" ({cases} cases)" if cases > 1 else ""), outcome
