"""How far a run is, while it is under way."""

from typing import Literal

from consortium_mcp._util.counts import counted
from consortium_mcp._util.frozen_model import FrozenModel
from consortium_mcp.records.call import ErrorKind
from consortium_mcp.records.run import Status


class CallProgress(FrozenModel):
    """How far one call of the iteration under way is."""

    label: str
    """Who is asked, for people: an instance, as in `gpt-5#2`, or the arbiter, as in `gpt-5 (arbiter)`."""

    asks_member: bool
    """Whether an instance is asked, and not the arbiter."""

    state: Literal["thinking", "waiting", "answered", "failed", "late"]
    """`waiting` is between two attempts; the iteration went on without one that is `late`."""

    error_kind: ErrorKind | None = None
    """Why it failed, or why it is tried again; None when it did not."""

    began_utc: str | None = None
    """When its last attempt began, ISO 8601 in UTC; None when it was not asked."""

    duration_ms: int | None = None
    """How long its last attempt took, or was waited for; None while that is under way."""

    tokens: int | None = None
    """Of its question and its reply; None when they are not counted, or not yet."""

    @property
    def is_open(self) -> bool:
        """Whether its result is still awaited."""
        return self.state in ("thinking", "waiting")


class Progress(FrozenModel):
    """How far a run is."""

    status: Status
    """How the run stands."""

    iteration: int
    """The iteration that is under way, from 1; 0 before the first."""

    calls_done: int
    """Calls of the whole run that gave their result."""

    calls: tuple[CallProgress, ...] = ()
    """Those of this iteration: the instances in the order of the consortium, then the judges."""

    @property
    def responses_expected(self) -> int:
        """How many responses this iteration will have."""
        return sum(call.asks_member for call in self.calls)

    @property
    def responses_done(self) -> int:
        """How many of them are there."""
        return sum(call.asks_member and not call.is_open and call.state != "late" for call in self.calls)

    @property
    def waiting_for(self) -> tuple[str, ...]:
        """The instances that are still awaited, as in `gpt-5#2`."""
        return tuple(call.label for call in self.calls if call.asks_member and call.is_open)

    @property
    def arbiter_asked(self) -> bool:
        """Whether the arbiter is reading this iteration's responses."""
        return not all(call.asks_member for call in self.calls)

    @property
    def message(self) -> str:
        """One line for a person: `2 of 3 responses; waiting for gpt-5#2`."""
        if self.status != "running":
            return f"ended: {self.status}"
        if self.iteration == 0:
            return "starting"
        prefix = f"iteration {self.iteration}: " if self.iteration > 1 else ""
        message = f"{prefix}{self.responses_done} of {counted(self.responses_expected, 'response')}"
        if self.arbiter_asked:
            return f"{message}; the arbiter reads them"
        if self.waiting_for:
            shown = ", ".join(self.waiting_for[:3]) + (" …" if len(self.waiting_for) > 3 else "")
            message += f"; waiting for {shown}"
        return message


class AnswerPiece(FrozenModel):
    """A further piece of the answer, told while its arbiter writes it."""

    text: str
    """The pieces together are the beginning of the answer, unless the arbiter's reply breaks off or cannot be read."""
