"""What a call and the client that reads its reply know of each other."""

from contextvars import ContextVar

from consortium_mcp.models.reply_reader import ReplyReader


class Watch:
    """What a call and its client know of each other."""

    def __init__(self, adaptations: tuple[str, ...] = ()) -> None:
        self.adaptations = adaptations
        """The parts of a request that the provider rejects."""
        self.reader: ReplyReader | None = None
        """Who reads the reply; None before it begins."""


watching: ContextVar[Watch | None] = ContextVar("watching", default=None)
"""The watch of the call that is under way; None outside of calls."""


def new_reader() -> ReplyReader:
    """A reader that is known to the current call."""
    reader = ReplyReader()
    if (watch := watching.get()) is not None:
        watch.reader = reader
    return reader
