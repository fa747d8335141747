"""Asks all instances at once; a failure becomes a response, and the declared order is kept."""

from collections.abc import Awaitable, Callable, Sequence

import anyio

from consortium_mcp.run import Ask, CallResult, CallSpec, MemberResponse, Turn

Caller = Callable[[CallSpec], Awaitable[CallResult]]
"""Makes one model call, or finds that it was made already; never raises for a failure of the model."""


async def ask_all(asks: Sequence[Ask], number: int, history: tuple[Turn, ...], call: Caller) -> list[MemberResponse]:
    """Ask every instance at the same time; the responses stand in the order of the asks.

    Args:
        number: the iteration, from 1.
        call: where the calls are made.
    """
    responses: list[MemberResponse | None] = [None] * len(asks)

    async def ask(place: int) -> None:
        spec = spec_of(asks[place], place, number, history)
        responses[place] = MemberResponse.of(spec.call_id, spec.label, spec.model, await call(spec))

    async with anyio.create_task_group() as group:
        for place in range(len(asks)):
            group.start_soon(ask, place)
    return [response for response in responses if response is not None]


def spec_of(ask: Ask, place: int, number: int, history: tuple[Turn, ...]) -> CallSpec:
    """The call that an ask becomes; `place` is its place in the iteration, from 0."""
    return CallSpec(
        call_id=f"i{number}/m{place + 1}",
        iteration=number,
        label=ask.label,
        model=ask.model,
        prompt=ask.prompt,
        system=ask.system,
        history=history,
        options=ask.options,
    )
