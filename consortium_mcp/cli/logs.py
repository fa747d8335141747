"""Logging of an entry point: to stderr, as much as the settings say, without secrets."""

import logging
import sys
from typing import Any

from consortium_mcp.errors import ConsortiumError
from consortium_mcp.settings import Settings, load_settings
from consortium_mcp.text.masking import masked
from consortium_mcp.text.templates import plain


class MaskingFormatter(logging.Formatter):
    """Masks the whole record, its traceback included: what an exception says is only known once it is written out.

    A text from outside never begins a line: line breaks in a message are spelled out, and a traceback is indented.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The record without secrets and without what a terminal would obey."""
        return plain(masked(super().format(record)))

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The first line."""
        return "\\n".join(super().formatMessage(record).splitlines())

    def formatException(self, ei: Any) -> str:
        """The traceback."""
        return "\n".join(f"  {line}" for line in super().formatException(ei).splitlines())


def configure_logging() -> None:
    """Send the log of our own modules to stderr, as much as the environment says.

    A wrong setting does not end the command here: not every command reads the settings, and `doctor` examines them.
    """
    try:
        level = load_settings().log_level
    except ConsortiumError:
        level = Settings().log_level
    logging.getLogger("consortium_mcp.audit").setLevel(logging.INFO)  # whatever the level is of the rest
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(MaskingFormatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])
