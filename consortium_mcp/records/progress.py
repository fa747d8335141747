"""The progress of a run while it is under way."""

from typing import Literal

from consortium_mcp._util.counts import counted
from consortium_mcp._util.frozen_model import FrozenModel
from consortium_mcp.records.call import ErrorKind
from consortium_mcp.records.run import Status


class CallProgress(FrozenModel):
    """The progress of one call of the current iteration."""

    label: str
    """The shown name: an instance, as in `gpt-5#2`, or the arbiter, as in `gpt-5 (arbiter)`."""

    asks_member: bool
    """Whether the call asks an instance, not the arbiter."""

    state: Literal["thinking", "waiting", "answered", "failed", "late"]
    """`waiting` is between two attempts; `late` means that the iteration continued without the call."""

    error_kind: ErrorKind | None = None
    """Why the last attempt failed; None if it did not fail."""

    began_utc: str | None = None
    """The start of the last attempt, ISO 8601 in UTC; None before the first."""

    duration_ms: int | None = None
    """How long the last attempt took, or was waited for; None while it is active."""

    tokens: int | None = None
    """Tokens of the question and the reply; None if they are not counted yet."""

    @property
    def is_open(self) -> bool:
        """Whether its result is still awaited."""
        return self.state in ("thinking", "waiting")


class Progress(FrozenModel):
    """The progress of a run."""

    run_id: str
    """The run."""

    status: Status
    """The status of the run."""

    iteration: int
    """The current iteration, from 1; 0 before the first."""

    calls_done: int
    """The finished calls of the whole run."""

    calls: tuple[CallProgress, ...] = ()
    """The calls of this iteration: the instances in the order of the consortium, then the judges."""

    @property
    def responses_expected(self) -> int:
        """The number of responses that this iteration expects."""
        return sum(call.asks_member for call in self.calls)

    @property
    def responses_done(self) -> int:
        """The number of responses that have arrived."""
        return sum(call.asks_member and not call.is_open and call.state != "late" for call in self.calls)

    @property
    def waiting_for(self) -> tuple[str, ...]:
        """The instances whose responses are missing, as in `gpt-5#2`."""
        return tuple(call.label for call in self.calls if call.asks_member and call.is_open)

    @property
    def arbiter_asked(self) -> bool:
        """Whether the arbiter has been asked in this iteration."""
        return not all(call.asks_member for call in self.calls)

    @property
    def message(self) -> str:
        """The progress in one line: `2 of 3 responses; waiting for gpt-5#2`."""
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
    """The next piece of the answer, sent while its arbiter writes it."""

    text: str
    """The pieces are the beginning of the answer, unless the arbiter's reply breaks off or cannot be read."""
