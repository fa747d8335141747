"""Live runs: the state in this process of each run that it opened, works on, or could not close."""

import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import anyio

from consortium_mcp.engine.answer_stream import AnswerStream
from consortium_mcp.errors import StoreUnusableError
from consortium_mcp.models.calling import ChunkSink, ignore
from consortium_mcp.models.catalogue import Models
from consortium_mcp.records import CallId, CallResult, CallSpec, Run, Status, Usage

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass
class LiveCall:
    """A call that was requested: under way or done."""

    done: anyio.Event = field(default_factory=anyio.Event)
    result: CallResult | None = None
    heard_at: float | None = None
    """The time (`time.monotonic()`) of the question or of the model's last sign of life; None outside a call."""

    def hear(self) -> None:
        """Note that the model was just asked, or has just sent something."""
        self.heard_at = time.monotonic()


@dataclass(eq=False)
class LiveRun:
    """The state of one run in this process, from its opening until its end is stored."""

    run_id: str

    record: Run | None = None
    """The current record of the run; None until it is loaded."""

    models: Models | None = None
    """Every model that the run may call, ready for calls; None until the models are loaded."""

    on_text: Callable[[str], None] | None = None
    """Receives the answer in pieces while the arbiter writes it; None if no reader follows the run."""

    calls: dict[CallId, LiveCall] = field(default_factory=dict)
    """The calls of the run in this process."""

    usage: Usage = Usage(cost_usd=0.0)
    """The usage of the attempts in this process; the journal has the same if the database can be written."""

    stopped: Status | None = None
    """Why a needed call was not made: `deadline` or `budget`; None if every call was made."""

    unsaved: str | None = None
    """Why the last write failed; None if every write succeeded."""

    end: Run | None = None
    """The end of the run that its record lacks, or the error that stopped its work; None otherwise."""

    scope: anyio.CancelScope | None = None
    """The cancel scope of the work on the run; None before the work begins."""

    asked: anyio.Event = field(default_factory=anyio.Event)
    """Set when the first model is asked: what is only needed later is read then, and delays no call."""

    changed: anyio.Event = field(default_factory=anyio.Event)
    """Set at the run's next change, for its followers."""

    ended: anyio.Event = field(default_factory=anyio.Event)
    """Set when the work on the run has ended."""

    _answer: AnswerStream | None = None

    @property
    def run(self) -> Run:
        """The current run; it must have been loaded."""
        assert self.record is not None
        return self.record

    def cancel(self) -> None:
        """Stop the work on the run."""
        if self.scope:
            self.scope.cancel()

    def tell(self) -> None:
        """Tell the followers of the run that something was written."""
        changed, self.changed = self.changed, anyio.Event()
        changed.set()

    def note_stopped(self, spec: CallSpec, why: Status) -> None:
        """Keep the reason why the run cannot do everything; the first reason is kept."""
        if not spec.is_spare:
            self.stopped = self.stopped or why

    def listen(self, spec: CallSpec) -> ChunkSink:
        """The listener for the chunks of the next attempt of a call."""
        if self.on_text is None:
            return ignore
        self._answer = self._answer or AnswerStream(self.run.consortium, self.on_text)
        return self._answer.listen(self.run, spec)

    async def write(self, writing: Awaitable[T]) -> T | None:
        """Wait for a write to the store; None if it fails, because in mid-run an unsaved answer is better than none."""
        try:
            return await writing
        except StoreUnusableError as error:
            if self.unsaved is None:
                logger.error("The run %s continues without being saved: %s", self.run_id, error)
            self.unsaved = str(error)
            return None


class LiveRuns:
    """The live runs of this process by id; safe to use from several threads."""

    def __init__(self) -> None:
        self._by_id: dict[str, LiveRun] = {}
        self.leaving = False
        """Whether this process accepts no new runs, because it shuts down."""

    def __iter__(self) -> Iterator[LiveRun]:
        return iter(list(self._by_id.values()))

    def get(self, run_id: str) -> LiveRun | None:
        """The live run with that id; None if this process has none."""
        return self._by_id.get(run_id)

    def add(self, live: LiveRun) -> None:
        """Keep the live run of a run that was just opened, or that cannot continue."""
        self._by_id[live.run_id] = live

    def begin(self, run: Run | str, on_text: Callable[[str], None] | None = None) -> LiveRun:
        """The live run for work that begins now in this event loop.

        Args:
            run: the run that was just opened, or an id. What is known of a mere id may be outdated, because another
                process may hold the run by now.
        """
        run_id, record = (run, None) if isinstance(run, str) else (run.run_id, run)
        known = self._by_id.get(run_id)
        if known is None or not (_must_close(known) or (record and _was_just_opened(known))):
            known = LiveRun(run_id, record)
        known.on_text = on_text
        known.scope, known.ended = anyio.CancelScope(), anyio.Event()
        self.add(known)
        return known

    def finish(self, live: LiveRun) -> None:
        """End the work on a run: tell its followers, and keep the live run only if its end is not stored yet."""
        live.ended.set()
        live.tell()
        if live.end is None and self._by_id.get(live.run_id) is live:
            del self._by_id[live.run_id]


def _was_just_opened(live: LiveRun) -> bool:
    """Whether this process opened the run and has not begun to work on it, so that its models are known."""
    return live.models is not None and live.scope is None and live.end is None


def _must_close(live: LiveRun) -> bool:
    """Whether the run has ended in this process and its end is not stored yet."""
    return live.end is not None and live.end.ended_utc is not None
