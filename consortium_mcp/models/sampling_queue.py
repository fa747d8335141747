"""Queues the calls of runs to the calling client's own model until a follower of the run makes them.

A client gets only calls of its own caller's runs, and answers only these.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import anyio

from consortium_mcp._util.caller import current_caller
from consortium_mcp.records import CallResult, CallSpec, now_utc


@dataclass
class ClientCall:
    """A call that waits for the client."""

    spec: CallSpec
    result: CallResult | None = None
    answered: anyio.Event = field(default_factory=anyio.Event)
    over: anyio.Event = field(default_factory=anyio.Event)
    """Set when the run no longer waits for the call."""

    is_taken: bool = False
    """Whether a follower is asking the client now."""


_Key = tuple[str | None, str]


def _key(run_id: str) -> _Key:
    """A run's id, and the caller that opened or follows it."""
    return current_caller(), run_id


class SamplingQueue:
    """The waiting calls of all runs; it does not know the protocol."""

    def __init__(self) -> None:
        self._waiting: dict[_Key, list[ClientCall]] = {}
        self._arrived: dict[_Key, anyio.Event] = {}

    @contextmanager
    def asking(self, run_id: str, spec: CallSpec) -> Iterator[ClientCall]:
        """Keep a call in the queue while this context is entered."""
        call, key = ClientCall(spec), _key(run_id)
        self._waiting.setdefault(key, []).append(call)
        self._tell(key)
        try:
            yield call
        finally:
            call.over.set()
            self._waiting[key].remove(call)
            if not self._waiting[key]:
                del self._waiting[key]

    def waiting(self, run_id: str) -> list[ClientCall]:
        """The run's calls that no follower is asking the client now."""
        return [call for call in self._waiting.get(_key(run_id), []) if not call.is_taken]

    async def wait(self, run_id: str) -> list[ClientCall]:
        """The same, after waiting for at least one."""
        key = _key(run_id)
        while not (calls := self.waiting(run_id)):
            arrived = self._arrived.setdefault(key, anyio.Event())
            try:
                await arrived.wait()
            finally:
                if not arrived.is_set() and not arrived.statistics().tasks_waiting:
                    self._arrived.pop(key, None)
        return calls

    @contextmanager
    def taken(self, run_id: str, call: ClientCall) -> Iterator[None]:
        """Reserve the call for one follower; on exit an unanswered call is free for the next one."""
        call.is_taken = True
        try:
            yield
        finally:
            call.is_taken = False
            self._tell(_key(run_id))

    def answer(self, run_id: str, call_id: str, result: CallResult) -> None:
        """Deliver the client's result; the first one counts, later ones are ignored."""
        for call in self._waiting.get(_key(run_id), []):
            if call.spec.call_id == call_id and call.result is None:
                call.result = result
                call.answered.set()

    def _tell(self, key: _Key) -> None:
        if arrived := self._arrived.pop(key, None):
            arrived.set()


async def call_client(calls: SamplingQueue, run_id: str, spec: CallSpec, timeout_seconds: float) -> CallResult:
    """The result from the client's model; an error if no client that follows the run has answered in time."""
    started, began = anyio.current_time(), now_utc()
    with calls.asking(run_id, spec) as call, anyio.move_on_after(timeout_seconds):
        await call.answered.wait()
    within = f"{round(timeout_seconds, 2):g} seconds"
    silence = CallResult(error_kind="timeout", error=f"No client that follows the run lent its model within {within}.")
    duration_ms = round((anyio.current_time() - started) * 1000)
    return (call.result or silence).model_copy(update={"duration_ms": duration_ms, "datetime_utc": began})
