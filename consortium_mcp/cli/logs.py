"""Logging of an entry point: to stderr, as much as the settings say."""

import logging
import sys


def configure_logging(level: str) -> None:
    """Send the log of our own modules to stderr."""
    logging.getLogger("stamina").setLevel(logging.ERROR)  # each attempt is in the journal
    logging.basicConfig(stream=sys.stderr, level=level, format="%(asctime)s %(name)s %(levelname)s %(message)s")
