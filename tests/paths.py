"""Where the checkout's files are, for tests that read them."""

from pathlib import Path

TESTS = Path(__file__).parent
"""This folder."""

ROOT = TESTS.parent
"""The checkout."""
