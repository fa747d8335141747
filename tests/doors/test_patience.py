"""Patience: a member that sends is waited for, one that is silent for too long is not, and the run says so."""

from collections.abc import Callable
from typing import Any

import anyio
import pytest

from consortium_mcp._util.timing import DEFAULT_TIMING
from consortium_mcp.engine.members import ask_all, specs_of
from consortium_mcp.errors import InvalidConsortiumError
from consortium_mcp.records import CallId, CallResult, CallSpec
from consortium_mcp.records.consortium import define
from consortium_mcp.service import patience
from consortium_mcp.service.live_run import LiveCall
from consortium_mcp.service.patience import Patience
from consortium_mcp.service.service import ConsortiumService
from tests.consulted import consulted
from tests.in_process import in_process
from tests.provider import Fault, Provider, verdict
from tests.scripted import new_run, panel
from tests.server_process import structured

OpenService = Callable[..., ConsortiumService]

HOUR = 3600.0


async def asked_by_tool(service: ConsortiumService, **arguments: Any) -> dict[str, Any]:
    """The tool's result of a consult when it has ended."""
    async with in_process("auto", service) as client:
        asked = {"prompt": "Why?", "arbiter": "arbiter", "wait_seconds": 60, **arguments}
        return structured(await client.call_tool("consult_consortium", asked))


# who is sending


async def test_a_member_that_goes_on_sending_is_heard_however_long_after_the_quick_ones(
    provider: Provider, open_service: OpenService
) -> None:
    service = open_service(call_timeout_seconds=HOUR, deadline_seconds=HOUR)
    provider.on("d", Fault.slow(0.001))  # about three seconds for its reply
    provider.on("arbiter", verdict("of all four"))

    result = await asked_by_tool(service, models=["a", "b", "c", "d"], patience_seconds=1)

    assert result["answer"] == "of all four" and result["degraded"] == []
    assert "one two three four five six seven eight nine ten" in provider.requests_to("arbiter")[0].prompt


async def test_a_hung_member_is_waited_for_as_long_as_its_patience_and_the_result_says_so(
    provider: Provider, open_service: OpenService
) -> None:
    service = open_service(call_timeout_seconds=HOUR, deadline_seconds=HOUR)
    provider.on("d", Fault.hang())
    provider.on("arbiter", verdict("of three"))

    result = await asked_by_tool(service, models=["a", "b", "c", "d"], patience_seconds=0.3)

    assert result["answer"] == "of three"
    assert result["degraded"][0] == "Late and not judged, after a long silence: d#1."


async def test_a_member_that_falls_silent_in_the_middle_is_not_waited_for(
    provider: Provider, open_service: OpenService
) -> None:
    service = open_service(call_timeout_seconds=HOUR, deadline_seconds=HOUR)
    provider.on("c", Fault.hang(after_chunks=2))
    provider.on("arbiter", verdict())

    run = await consulted(service, "a", "b", "c", patience_seconds=0.3)

    assert [one.late for one in run.iterations[0].responses] == [False, False, True]


async def test_a_consortium_inside_another_is_alive_while_a_member_of_its_own_sends(
    provider: Provider, open_service: OpenService
) -> None:
    service = open_service(call_timeout_seconds=HOUR, deadline_seconds=HOUR)
    inner = define(members=[{"model": "c"}], arbiter="plain-arbiter", max_iterations=1)
    service.store.consortiums.save.sync("inner", inner)
    provider.on("c", Fault.slow(0.001))
    provider.on("plain-arbiter", "<synthesis>inner</synthesis><confidence>0.9</confidence>")
    provider.on("arbiter", verdict("of all"))

    run = await consulted(service, "a", "b", "inner", patience_seconds=1)

    assert run.answer == "of all" and [one.late for one in run.iterations[0].responses] == [False, False, False]


async def test_a_member_that_waits_for_its_turn_is_not_silent(provider: Provider, open_service: OpenService) -> None:
    service = open_service(max_concurrent_calls=1, call_timeout_seconds=HOUR, deadline_seconds=HOUR)
    provider.on("b", Fault.slow(0.0005))
    provider.on("arbiter", verdict())

    run = await consulted(service, "a", "b", "c", quorum=1, patience_seconds=0.5)

    assert [one.late for one in run.iterations[0].responses] == [False, False, False]


async def test_a_response_that_comes_while_patience_is_looked_up_is_not_missed() -> None:
    coming = anyio.Event()

    async def call(spec: CallSpec) -> CallResult:
        if spec.model == "c":
            await coming.wait()
        return CallResult(text=f"answer of {spec.model}")

    def looks(spec: CallSpec, counted_seconds: float) -> float:
        coming.set()
        return HOUR

    with anyio.fail_after(30):
        responses = await ask_all(specs_of(new_run(consortium=panel("a", "b", "c"))), call, patience=looks)

    assert [one.late for one in responses] == [False, False, False]


async def test_the_last_who_may_still_answer_decides_how_long_all_are_waited_for() -> None:
    left = {"b": -5.0, "c": 0.05}

    async def call(spec: CallSpec) -> CallResult:
        if spec.model != "a":
            await anyio.sleep_forever()
        return CallResult(text="answer")

    def allowed(spec: CallSpec, counted_seconds: float) -> float:
        return left[spec.model] - counted_seconds

    began = anyio.current_time()
    responses = await ask_all(specs_of(new_run(consortium=panel("a", "b", "c"))), call, None, None, 1, allowed)

    assert [one.late for one in responses] == [False, True, True] and anyio.current_time() - began >= 0.05


# what a model's history says


def allowed(first_pieces: list[int], **rules: Any) -> float:
    """The limit of silence of a call that has just begun, for a model with these times to the first piece."""
    run = new_run(consortium=panel("a", **rules))
    measured = Patience(run, {CallId("i1/m1"): LiveCall()}, DEFAULT_TIMING)
    measured._first_pieces = {"a": first_pieces}
    return measured(specs_of(run)[0], 0.0)


@pytest.mark.parametrize(
    ("first_pieces", "rules", "seconds"),
    [
        ([], {}, 60.0),
        ([500, 700, 900], {}, 20.0),  # three times 0.7 s is less than the least
        ([10_000, 90_000, 40_000], {}, 120.0),  # three times 40 s
        ([10_000, 90_000, 40_000], {"patience_seconds": 5}, 5.0),
    ],
)
def test_a_model_may_be_silent_for_three_times_as_long_as_usual(
    first_pieces: list[int], rules: dict[str, Any], seconds: float
) -> None:
    assert allowed(first_pieces, **rules) == seconds


async def test_how_soon_a_reply_began_is_kept_with_its_call_and_read_in_the_next_run(
    provider: Provider, service: ConsortiumService
) -> None:
    provider.on("arbiter", verdict())
    run = await consulted(service, "a", "b")
    await consulted(service, "a", prompt="And then?")

    responses = run.iterations[0].responses
    began = [one.first_piece_ms for one in responses]
    assert all(one.first_piece_ms is not None and one.first_piece_ms <= one.duration_ms for one in responses)
    known = await service.store.journal.load_first_pieces(["a", "b", "c"], patience.MOST_REPLIES)
    assert {model: len(pieces) for model, pieces in known.items()} == {"a": 2, "b": 1, "c": 0}
    assert known["a"][1] == began[0]


# quorum, and the fewest responses


async def test_silence_counts_from_the_quorum_that_a_rule_says(provider: Provider, open_service: OpenService) -> None:
    service = open_service(call_timeout_seconds=HOUR, deadline_seconds=HOUR)
    for model in ("b", "c"):
        provider.on(model, Fault.hang())
    provider.on("arbiter", verdict("of a alone"))

    run = await consulted(service, "a", "b", "c", quorum=1, patience_seconds=0.1)

    assert run.answer == "of a alone" and [one.late for one in run.iterations[0].responses] == [False, True, True]


async def test_with_too_few_responses_a_run_fails_before_its_arbiter_is_paid(
    provider: Provider, service: ConsortiumService
) -> None:
    provider.on("c", Fault.wrong_key())

    run = await consulted(service, "a", "b", "c", on_partial="fail")

    assert (run.status, run.answer, provider.count("arbiter")) == ("failed", None, 0)
    assert (run.error or "").startswith(
        "2 of 3 instances gave a response, and min_responses is 3, so the run failed, as on_partial requires (c#1: "
        "auth, "
    )


async def test_as_many_responses_as_the_rule_wants_are_enough(provider: Provider, service: ConsortiumService) -> None:
    provider.on("c", Fault.wrong_key())
    provider.on("arbiter", verdict("of two"))

    run = await consulted(service, "a", "b", "c", on_partial="fail", min_responses=2)

    assert (run.status, run.answer) == ("converged", "of two")


async def test_a_later_iteration_with_too_few_responses_leaves_the_answer_of_the_one_before(
    provider: Provider, service: ConsortiumService
) -> None:
    provider.on("b", ["Blue.", Fault.wrong_key()])
    provider.on("arbiter", verdict("of both", confidence=0.3))

    run = await consulted(service, "a", "b", on_partial="fail")

    assert (run.status, run.answer, provider.count("arbiter")) == ("exhausted", "of both", 1)
    assert run.degraded == ("Iteration 2 gave no verdict (1 of 2 instances gave a response, and min_responses is 2).",)


async def test_an_answer_of_too_few_responses_says_so_where_the_rule_lets_it_answer(
    provider: Provider, service: ConsortiumService
) -> None:
    provider.on("b", Fault.wrong_key())
    provider.on("arbiter", verdict("of a"))

    run = await consulted(service, "a", "b", min_responses=2)

    assert run.answer == "of a"
    assert run.degraded[1] == "Only 1 of 2 instances gave a response, and min_responses is 2."


@pytest.mark.parametrize("rule", ["quorum", "min_responses"])
async def test_more_responses_than_instances_are_refused_before_anything_is_paid(
    rule: str, provider: Provider, service: ConsortiumService
) -> None:
    with pytest.raises(InvalidConsortiumError, match=f"{rule} is 3; at most 2 instances can answer."):
        await consulted(service, "a", "b", **dict[str, Any]({rule: 3}))

    assert provider.count() == 0
