"""What users and agents read: all of it in one snapshot."""

import difflib
import sys
from pathlib import Path

from tests.sentences import sentences

SNAPSHOT = Path(__file__).parent / "snapshots" / "sentences.txt"


def as_text(found: dict[str, list[str]]) -> str:
    """The snapshot: each file's name, then its sentences, a line each."""
    return "\n".join("\n".join([f"# {name}", *lines, ""]) for name, lines in found.items())


def test_every_sentence_that_is_shown_stands_in_the_snapshot() -> None:
    kept, now = SNAPSHOT.read_text().splitlines(), as_text(sentences()).splitlines()

    assert "\n".join(difflib.unified_diff(kept, now, lineterm="")) == "", "If meant: python -m tests.test_sentences"


if __name__ == "__main__":
    SNAPSHOT.write_text(as_text(sentences()))
    sys.stdout.write(f"{SNAPSHOT}\n")
