"""Logging of an entry point: to stderr, as much as the settings say, without secrets."""

import logging
import sys

from consortium_mcp.masking import masked


class MaskingFormatter(logging.Formatter):
    """Masks the whole line, its traceback included: what an exception says is only known once it is written out."""

    def format(self, record: logging.LogRecord) -> str:
        """The line without secrets."""
        return masked(super().format(record))


def configure_logging(level: str) -> None:
    """Send the log of our own modules to stderr."""
    logging.getLogger("stamina").setLevel(logging.ERROR)  # each attempt is in the journal
    logging.getLogger("consortium_mcp.audit").setLevel(logging.INFO)  # whatever the level is of the rest
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(MaskingFormatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])
