"""Asks all instances at once; a failure becomes a response, a late one holds up nobody, the order is as declared."""

import math
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from types import MappingProxyType

import anyio

from consortium_mcp.engine.strategies import plan
from consortium_mcp.records import Ask, CallId, CallResult, CallSpec, MemberResponse, Run

CallModel = Callable[[CallSpec], Awaitable[CallResult]]
"""Makes one model call, or finds that it was made or is under way; never raises for a failure of the model.

Cancelling it stops the waiting, not the call: the next one who asks for the same call gets its result.
"""

GRACE_FACTOR = 4
"""How much longer than the quorum's own time the rest may take: a model that thinks is slow, not hung."""

MIN_GRACE_SECONDS = 5
"""The least that the rest gets, however fast the quorum was."""


async def ask_all(
    specs: Sequence[CallSpec],
    call: CallModel,
    late: Collection[str] | None = None,
    decided: Callable[[Collection[CallResult], int], bool] | None = None,
) -> list[MemberResponse]:
    """Ask every instance at the same time; the responses stand in the order of the specs.

    Once more than half have given a response, the others get `GRACE_FACTOR` times as long as that took; then the
    iteration goes on without them, and their responses are marked late.

    Args:
        late: the call ids that were late when this iteration was asked before a crash; None lets the clock decide.
        decided: tells from the results so far that the rest cannot matter; None never. What `late` says wins.
    """
    results: dict[str, CallResult] = {}
    arrived = anyio.Event()

    async def ask(spec: CallSpec) -> None:
        nonlocal arrived
        results[spec.call_id] = await call(spec)
        arrived.set()
        arrived = anyio.Event()

    awaited = [spec for spec in specs if late is None or spec.call_id not in late]
    began = anyio.current_time()
    ends = math.inf
    async with anyio.create_task_group() as group:
        for spec in awaited:
            group.start_soon(ask, spec)
        while len(results) < len(awaited):
            with anyio.move_on_at(ends) as patience:
                await arrived.wait()
            if patience.cancelled_caught or (late is None and decided and decided(results.values(), len(specs))):
                break
            if ends == math.inf and _is_quorum(results, specs):
                now = anyio.current_time()
                ends = now + max(MIN_GRACE_SECONDS, GRACE_FACTOR * (now - began))
        if len(results) < len(awaited):
            group.cancel_scope.cancel()
    waited_ms = round((anyio.current_time() - began) * 1000)
    return [_response(spec, results.get(spec.call_id), waited_ms) for spec in specs]


def specs_of(run: Run, earlier: Mapping[CallId, CallSpec] = MappingProxyType({})) -> list[CallSpec]:
    """The calls of the iteration that follows `run.iterations`, one for each ask of the strategy.

    An instance whose response was late is not asked again: that call stands for it once more.

    Args:
        earlier: the calls to instances of the iterations before.
    """
    number = len(run.iterations) + 1
    before = {response.label: response for response in run.iterations[-1].responses} if run.iterations else {}
    specs = []
    for place, ask in enumerate(plan(run), start=1):
        last = before.get(ask.label)
        specs.append(earlier[last.response_id] if last and last.late else _spec(run, number, place, ask))
    return specs


def _spec(run: Run, number: int, place: int, ask: Ask) -> CallSpec:
    """The call at a place (from 1) of an iteration."""
    return CallSpec(
        call_id=CallId.of_member(number, place),
        iteration=number,
        label=ask.label,
        model=ask.model,
        prompt=ask.prompt,
        system=ask.system,
        history=run.history,
        options=ask.options,
        response=ask.response,
    )


def _is_quorum(results: Mapping[str, CallResult], specs: Sequence[CallSpec]) -> bool:
    asked = [spec.call_id for spec in specs if spec.response is None]
    return sum(results[call_id].ok for call_id in asked if call_id in results) * 2 > len(asked)


def _response(spec: CallSpec, result: CallResult | None, waited_ms: int) -> MemberResponse:
    late = result is None
    return MemberResponse.of(spec.call_id, spec.label, spec.model, result, late, waited_ms=waited_ms)
