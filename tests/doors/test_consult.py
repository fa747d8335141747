"""Consults from prompt to answer, through the Python API, with models behind real HTTP."""

import anyio
import pytest

from consortium_mcp import consult
from consortium_mcp.errors import RunFailedError
from tests.provider import Fault, Provider, verdict


async def test_an_answer_comes_with_confidence_and_dissent(provider: Provider) -> None:
    provider.on("arbiter", verdict("Paris", confidence=0.9, dissent="one said Lyon"))

    run = await consult("Capital of France?", models=["a:2", "b"], arbiter="arbiter")

    assert (run.answer, run.confidence, run.dissent, run.status) == ("Paris", 0.9, "one said Lyon", "converged")


async def test_five_members_are_in_flight_at_once_and_keep_their_declared_order(provider: Provider) -> None:
    provider.on("arbiter", verdict("x"))
    gate = provider.gate("a", "b", "c", "d", "e")

    async def open_when_all_wait() -> None:
        await gate.wait_for_async(5)
        gate.open()

    async with anyio.create_task_group() as group:
        group.start_soon(open_when_all_wait)
        run = await consult("?", models=["e", "d", "c", "b", "a"], arbiter="arbiter")

    assert [response.label for response in run.iterations[0].responses] == ["e#1", "d#1", "c#1", "b#1", "a#1"]


async def test_B8_when_every_member_fails_the_arbiter_is_not_asked(provider: Provider) -> None:
    provider.on("a", Fault.wrong_key())
    provider.on("b", Fault.unknown_model())

    with pytest.raises(RunFailedError, match=r"a#1: auth.*b#1: model_unavailable"):
        await consult("?", models=["a", "b"], arbiter="arbiter")

    assert provider.count("arbiter") == 0
