"""Asks all instances at once. A failure becomes a response; silent instances are not waited for without limit."""

import math
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from types import MappingProxyType

import anyio

from consortium_mcp._util.counts import counted
from consortium_mcp.engine.strategies import plan
from consortium_mcp.records import Ask, CallId, CallResult, CallSpec, MemberResponse, Run
from consortium_mcp.records.consortium import OWN_ANSWER

CallModel = Callable[[CallSpec], Awaitable[CallResult]]
"""Makes one model call, or waits for the same call if it was already made or is under way. Failures are in its result.

Cancelling stops the waiting, not the call: the next request for the same call gets its result.
"""

Patience = Callable[[CallSpec, float], float]
"""Gives the further seconds to wait for a silent call, from the seconds of silence that have counted so far."""


async def ask_all(
    specs: Sequence[CallSpec],
    call: CallModel,
    late: Collection[str] | None = None,
    decided: Callable[[Collection[CallResult], int], bool] | None = None,
    quorum: int | None = None,
    patience: Patience | None = None,
) -> list[MemberResponse]:
    """Ask every instance at the same time; the responses stand in the order of the specs.

    The limit of silence applies once a quorum has responded. When every missing instance has exceeded its limit, the
    iteration goes on without them, and their responses are marked late.

    Args:
        late: the call ids that were late when this iteration was asked before a crash; None lets the clock decide.
        decided: whether the results so far decide the outcome; None means never. `late` has priority over it.
        quorum: the number of responses; None means more than half of the instances.
        patience: how long each call may be silent; None waits for all.
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
    counts_from: float | None = None
    async with anyio.create_task_group() as group:
        for spec in awaited:
            group.start_soon(ask, spec)
        # No other task runs between this check of the results and the wait, so that no arrival is missed.
        while missing := [spec for spec in awaited if spec.call_id not in results]:
            if late is None and results and decided and decided(results.values(), len(specs)):
                break
            if counts_from is None and _is_quorum(results, specs, quorum):
                counts_from = anyio.current_time()
            left = math.inf
            if patience and counts_from is not None:
                counted = anyio.current_time() - counts_from
                left = max(patience(spec, counted) for spec in missing)
            if left <= 0:
                break
            with anyio.move_on_after(left):
                await arrived.wait()
        group.cancel_scope.cancel()
    waited_ms = round((anyio.current_time() - began) * 1000)
    return [_response(spec, results.get(spec.call_id), waited_ms) for spec in specs]


def why_too_few(run: Run, responses: Sequence[MemberResponse]) -> str | None:
    """Why an iteration has fewer responses than the run requires; None if it has enough."""
    asked = [response for response in responses if response.model != OWN_ANSWER]
    wanted = min(run.consortium.min_responses or len(asked), len(asked))
    given = sum(response.ok for response in asked)
    if given >= wanted:
        return None
    return f"{given} of {counted(len(asked), 'instance')} gave a response, and min_responses is {wanted}"


def specs_of(run: Run, earlier: Mapping[CallId, CallSpec] = MappingProxyType({})) -> list[CallSpec]:
    """The calls of the iteration that follows `run.iterations`, one for each ask of the strategy.

    An instance whose response was late is not asked again: its earlier call is used again.

    Args:
        earlier: the calls to instances of the earlier iterations.
    """
    number = len(run.iterations) + 1
    before = {response.label: response for response in run.iterations[-1].responses} if run.iterations else {}
    specs = []
    for place, ask in enumerate(plan(run), start=1):
        last = before.get(ask.label)
        specs.append(earlier[last.response_id] if last and last.late else _spec(run, number, place, ask))
    return specs


def _spec(run: Run, number: int, place: int, ask: Ask) -> CallSpec:
    """The call at a place (from 1) in an iteration."""
    return CallSpec(
        call_id=CallId.of_member(number, place),
        iteration=number,
        label=ask.label,
        model=ask.model,
        prompt=ask.prompt,
        system=ask.system,
        history=run.history,
        attachments=run.attachments,
        options=ask.options,
        seed=ask.seed,
        response=ask.response,
    )


def _is_quorum(results: Mapping[str, CallResult], specs: Sequence[CallSpec], quorum: int | None) -> bool:
    asked = [spec.call_id for spec in specs if spec.response is None]
    needed = len(asked) // 2 + 1 if quorum is None else min(quorum, len(asked))
    return sum(results[call_id].ok for call_id in asked if call_id in results) >= needed


def _response(spec: CallSpec, result: CallResult | None, waited_ms: int) -> MemberResponse:
    late = result is None
    response = MemberResponse.of(spec.call_id, spec.label, spec.model, result, late, waited_ms=waited_ms)
    return response.model_copy(update={"options": spec.options})
