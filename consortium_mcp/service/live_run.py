"""Live runs: what this process knows of a run that it opened, works on or could not close; one object for each."""

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
    """A call that was asked for: under way, or done."""

    done: anyio.Event = field(default_factory=anyio.Event)
    result: CallResult | None = None
    heard_at: float | None = None
    """The time of the question or of the model's last sign (`time.monotonic()`); None outside a call."""

    def hear(self) -> None:
        """Note that its model was just asked, or sent something."""
        self.heard_at = time.monotonic()


@dataclass(eq=False)
class LiveRun:
    """What this process knows of one run, from its opening until its end is written."""

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
        """The run as it stands; it must have been loaded."""
        assert self.record is not None
        return self.record

    def cancel(self) -> None:
        """Stop the work on it."""
        if self.scope:
            self.scope.cancel()

    def tell(self) -> None:
        """Let those who follow the run know that something was written."""
        changed, self.changed = self.changed, anyio.Event()
        changed.set()

    def note_stopped(self, spec: CallSpec, why: Status) -> None:
        """Keep why the run cannot do all it should; the first reason stands."""
        if not spec.is_spare:
            self.stopped = self.stopped or why

    def listen(self, spec: CallSpec) -> ChunkSink:
        """Who reads along the next attempt of a call."""
        if self.on_text is None:
            return ignore
        self._answer = self._answer or AnswerStream(self.run.consortium, self.on_text)
        return self._answer.listen(self.run, spec)

    async def write(self, writing: Awaitable[T]) -> T | None:
        """Wait for a write to the store; in the middle of a run an answer that is not saved is better than none."""
        try:
            return await writing
        except StoreUnusableError as error:
            if self.unsaved is None:
                logger.error("The run %s goes on without being saved: %s", self.run_id, error)
            self.unsaved = str(error)
            return None


class LiveRuns:
    """The live runs of this process, by their ids; safe to use from several threads."""

    def __init__(self) -> None:
        self._by_id: dict[str, LiveRun] = {}
        self.leaving = False
        """Whether this process has stopped taking new runs."""

    def __iter__(self) -> Iterator[LiveRun]:
        return iter(list(self._by_id.values()))

    def get(self, run_id: str) -> LiveRun | None:
        """What is known of a run here; None when nothing is."""
        return self._by_id.get(run_id)

    def add(self, live: LiveRun) -> None:
        """Keep what is known of a run that was just opened, or that cannot go on."""
        self._by_id[live.run_id] = live

    def begin(self, run: Run | str, on_text: Callable[[str], None] | None = None) -> LiveRun:
        """The live run of what is worked on from now on, in this event loop.

        Args:
            run: as it was just opened, or its id: what is known by its id alone may be another process's by now.
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
        """A run is not worked on any more: those who follow it are told, and it is kept only with an unwritten end."""
        live.ended.set()
        live.tell()
        if live.end is None and self._by_id.get(live.run_id) is live:
            del self._by_id[live.run_id]


def _was_just_opened(live: LiveRun) -> bool:
    """Whether a run was opened here and not begun yet, so that it is ours, and its models are known."""
    return live.models is not None and live.scope is None and live.end is None


def _must_close(live: LiveRun) -> bool:
    """Whether a run has ended here and its end is yet to be written."""
    return live.end is not None and live.end.ended_utc is not None
