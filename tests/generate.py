"""Write every generated file: `python -m tests.generate`. Tests hold each file to what is generated here."""

import subprocess
import sys

STEPS = (
    "tests.doors.test_snapshots",
    "tests.json_schemas",
    "tests.doors.test_readme",
    "tests.doors.test_texts_sent",
    "tests.unit.test_sentences",
    "distribution",
)
"""The modules that write: tool definitions and Python signatures; tables in the docs; sentences; manifests."""

if __name__ == "__main__":
    for step in STEPS:
        subprocess.run([sys.executable, "-m", step], check=True)
