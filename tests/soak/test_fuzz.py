"""A few seconds of each fuzzer, always the same examples; `python -m tests.soak.fuzz` runs them for as long as you like."""

from pathlib import Path

import pytest

from tests.soak.fuzz import TARGETS, fuzz

EXAMPLES = {"tools": 60, "searches": 60, "uris": 60, "takeovers": 60}
"""Fewer where each example is a request or a file."""


@pytest.mark.parametrize("name", TARGETS)
def test_no_random_input_raises_what_nobody_handles(name: str, tmp_path: Path) -> None:
    fuzz(name, tmp_path, EXAMPLES.get(name, 300), 20)
