"""The state that a call shares with the client that reads its reply."""

from contextvars import ContextVar
from typing import TypeVar

from consortium_mcp.models.reply_reader import ReplyReader
from consortium_mcp.models.responses_reader import ResponsesReader

Reader = ReplyReader | ResponsesReader
"""The readers of the two APIs of OpenAI's kind."""


class Watch:
    """The state that a call shares with its client."""

    def __init__(self, adaptations: tuple[str, ...] = ()) -> None:
        self.adaptations = adaptations
        """The parts of a request that the provider rejects."""
        self.reader: Reader | None = None
        """The reader of the reply; None before the reply begins."""


T = TypeVar("T", ReplyReader, ResponsesReader)

watching: ContextVar[Watch | None] = ContextVar("watching", default=None)
"""The watch of the current call; None outside calls."""


def new_reader() -> ReplyReader:
    """A new reader of a chat completion, registered in the current call."""
    return _registered(ReplyReader())


def new_responses_reader(streams: bool) -> ResponsesReader:
    """A new reader of a reply of the Responses API, registered in the current call."""
    return _registered(ResponsesReader(streams))


def _registered(reader: T) -> T:
    if (watch := watching.get()) is not None:
        watch.reader = reader
    return reader
