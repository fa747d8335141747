"""One model call of a run, made once: the journal is asked first, and told afterwards."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

import anyio
import anyio.to_thread

from consortium_mcp.catalogue import ModelEntry
from consortium_mcp.model_call import CallLimits, ResponseSink, make_call
from consortium_mcp.run import CallResult, CallSpec
from consortium_mcp.settings import Settings
from consortium_mcp.store import Store

P = ParamSpec("P")
T = TypeVar("T")


async def saved(write: Callable[..., T], *arguments: Any) -> T:
    """Run a method of the store in a thread, to its end even when we are cancelled: what arrived is kept."""
    with anyio.CancelScope(shield=True):
        result = await anyio.to_thread.run_sync(lambda: write(*arguments))
    return result


@dataclass(frozen=True)
class JournaledCalls:
    """Where the calls of one run are made."""

    store: Store
    run_id: str
    models: dict[str, ModelEntry]
    """Every model that the run may call, by the name that its consortium uses; resolved before the first call."""

    limits: CallLimits
    settings: Settings
    log: ResponseSink
    on_change: Callable[[], None]
    """Told after each thing that was written."""

    async def __call__(self, spec: CallSpec) -> CallResult:
        """Make the call, or return the result of the one that was made and paid for before."""
        paid = await saved(self.store.begin_call, self.run_id, spec)
        self.on_change()
        if paid is not None:
            return paid
        entry = self.models[spec.model]
        result = await make_call(entry, spec, self.limits, self.settings.call_timeout_seconds, self.log)
        await saved(self.store.finish_call, self.run_id, spec.call_id, result)
        self.on_change()
        return result
