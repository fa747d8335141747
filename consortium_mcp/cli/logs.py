"""Logging of an entry point: to stderr, at the level of the settings, without secrets."""

import logging
import sys
from typing import Any

from consortium_mcp.errors import ConsortiumError
from consortium_mcp.settings import Settings, load_settings
from consortium_mcp.text.masking import masked
from consortium_mcp.text.templates import plain


class MaskingFormatter(logging.Formatter):
    """Masks secrets in the whole record and its traceback: an exception's text is known only when it is formatted.

    Foreign text never begins a line: line breaks in a message are escaped, and a traceback is indented.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The record without secrets and terminal control sequences."""
        return plain(masked(super().format(record)))

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The first line."""
        return "\\n".join(super().formatMessage(record).splitlines())

    def formatException(self, ei: Any) -> str:
        """The traceback."""
        return "\n".join(f"  {line}" for line in super().formatException(ei).splitlines())


def configure_logging() -> None:
    """Send the log of our own modules to stderr, at the level of the environment.

    A wrong setting does not end the command here: not every command reads the settings, and `doctor` checks them.
    """
    try:
        level = load_settings().log_level
    except ConsortiumError:
        level = Settings().log_level
    logging.getLogger("consortium_mcp.audit").setLevel(logging.INFO)  # at any level of other loggers
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(MaskingFormatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])
