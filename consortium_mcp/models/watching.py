"""The state that a call shares with the client that reads its reply."""

from contextvars import ContextVar

from consortium_mcp.models.reply_reader import ReplyReader


class Watch:
    """The state that a call shares with its client."""

    def __init__(self, adaptations: tuple[str, ...] = ()) -> None:
        self.adaptations = adaptations
        """The parts of a request that the provider rejects."""
        self.reader: ReplyReader | None = None
        """The reader of the reply; None before the reply begins."""


watching: ContextVar[Watch | None] = ContextVar("watching", default=None)
"""The watch of the current call; None outside calls."""


def new_reader() -> ReplyReader:
    """A new reader, registered in the current call."""
    reader = ReplyReader()
    if (watch := watching.get()) is not None:
        watch.reader = reader
    return reader
