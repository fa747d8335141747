"""The texts for users and agents: all in one snapshot, in sentences of at most 20 words."""

import difflib
import re
import sys

from tests.paths import TESTS
from tests.sentences import sentences, words

SNAPSHOT = TESTS / "snapshots" / "sentences.txt"

PRIVATE = re.compile(r"\b(nobody|whoever|foresaw|foreseen|does not do|do not do)\b", re.IGNORECASE)
"""Words of our own that have a standard term."""

MOST_WORDS = 20


def as_text(found: dict[str, list[str]]) -> str:
    """The snapshot: each file's name, then its sentences, a line each."""
    return "\n".join("\n".join([f"# {name}", *lines, ""]) for name, lines in found.items())


def test_every_sentence_that_is_shown_stands_in_the_snapshot() -> None:
    kept, now = SNAPSHOT.read_text().splitlines(), as_text(sentences()).splitlines()

    assert "\n".join(difflib.unified_diff(kept, now, lineterm="")) == "", "If meant: make generate"


def test_no_sentence_is_too_long_or_uses_a_private_word() -> None:
    shown = {one for lines in sentences().values() for one in lines}

    assert sorted(one for one in shown if words(one) > MOST_WORDS or PRIVATE.search(one)) == []


if __name__ == "__main__":
    SNAPSHOT.write_text(as_text(sentences()))
    sys.stdout.write(f"{SNAPSHOT}\n")
