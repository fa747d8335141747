"""What the plugin adds to `llm --version`, which imports every plugin: the ratio of medians, with it and without it.

python -m benchmarks.startup
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time

REPETITIONS = 15

MOST_ADDED_SECONDS = 0.05
"""What may be added on a machine on which nothing else happens."""

ALONE = "import llm.plugins as plugins; plugins.pm.set_blocked('consortium'); "
COMMAND = "import sys; sys.argv = ['llm', '--version']; from llm.cli import cli; cli()"


def main() -> None:
    """Print both medians; exit with 1 where the difference is above its bound."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LLM_USER_PATH"] = folder
        seconds: dict[str, list[float]] = {ALONE: [], "": []}
        for _ in range(REPETITIONS):  # in turn, so that whatever else the machine does hits both
            for preamble, measured in seconds.items():
                measured.append(_seconds(preamble + COMMAND))
    without, with_it = (statistics.median(seconds[preamble]) for preamble in (ALONE, ""))
    added = with_it - without
    mark = "within" if added <= MOST_ADDED_SECONDS else "ABOVE"
    print(
        f"llm --version: {without * 1000:.0f} ms without the plugin, {with_it * 1000:.0f} ms with it, "
        f"{with_it / without:.2f} times as long; {mark} {MOST_ADDED_SECONDS * 1000:.0f} ms more"
    )
    sys.exit(added > MOST_ADDED_SECONDS)


def _seconds(code: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
