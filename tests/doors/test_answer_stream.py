"""The streamed answer: what is shown while the arbiter writes, and that nothing else is."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import anyio
import anyio.to_thread
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from consortium_mcp import AnswerPiece, Run, consult, consult_events
from consortium_mcp.engine.judging import judging_methods
from consortium_mcp.engine.judging.partial_reader import beginning_of_synthesis
from consortium_mcp.llm_plugin.replies import WITHDRAWN
from consortium_mcp.models.catalogue import Catalogue, load_catalogue
from consortium_mcp.service.service import ConsortiumService
from consortium_mcp.settings import Settings
from tests.consulted import arbiter_for, interrupt
from tests.doors.test_plugin import run_llm, save
from tests.provider import Answer, Fault, Provider, Reply, completions, tagged_verdict, verdict
from tests.scripted import asking, read_verdict

LONG = " ".join(f"word{number}" for number in range(40))


async def told(prompt: str = "?", **terms: Any) -> tuple[list[str], Run]:
    """The pieces that a consult of `a` and `b` tells, and its run."""
    pieces: list[str] = []
    arbiter = arbiter_for(terms.get("judging_method", "synthesize"))
    wanted: dict[str, Any] = {"models": ["a", "b"], "max_iterations": 1, **arbiter, **terms}
    async for event in consult_events(prompt, **wanted):
        if isinstance(event, AnswerPiece):
            pieces.append(event.text)
    assert isinstance(event, Run)
    return pieces, event


def begins_only_with(reply: str) -> None:
    """Assert that everything shown of a reply's beginnings is the beginning of the final text."""
    final = read_verdict(reply)
    shown = ""
    for end in range(len(reply) + 1):
        now = beginning_of_synthesis(reply[:end])
        assert now.startswith(shown) and final is not None and final.synthesis.startswith(now)
        shown = now


@given(st.text(min_size=1).filter(str.strip), st.sampled_from([verdict, tagged_verdict]))
@example("a formula \\[", verdict)
@example("a folder C:\\temp, or C:\n", verdict)
def test_what_is_shown_is_the_beginning_of_what_is_read(synthesis: str, write: Callable[[str], str]) -> None:
    reply = write(synthesis)
    if read_verdict(reply) is not None:
        begins_only_with(reply)


@pytest.mark.parametrize(
    "reply",
    [
        verdict(
            'a quote " a backslash \\ an emoji 😀 é\n\n<think>no thought</think> <synthesis>no tag</synthesis> end'
        ),
        f"<think>{verdict('a draft')}</think>{verdict('the answer')}",
        f"<think>\n<synthesis>a draft</synthesis></think>\n{tagged_verdict('the answer')}",
        tagged_verdict("List<String> is it\n\nand so on  "),
        tagged_verdict("one <think>a thought</think> two"),
        f"Here it is:\n{verdict('the answer')}",
        verdict("the answer\n<confidence>0.9</confidence>"),
        verdict("the answer</confidence>"),
        verdict("Open a <confidence> tag, and <conf"),
        f"First <synthesis>a draft</synthesis>, then:\n{tagged_verdict('the answer')}",
    ],
)
def test_no_thought_no_draft_and_no_tag_is_shown(reply: str) -> None:
    begins_only_with(reply)


@pytest.mark.parametrize("write", [verdict, tagged_verdict])
def test_most_of_an_answer_is_shown_before_it_is_whole(write: Callable[[str], str]) -> None:
    reply = write(LONG)

    assert beginning_of_synthesis(reply[: reply.index("word39")]) == LONG.removesuffix(" word39")


@pytest.mark.parametrize(("arbiter", "write"), [("arbiter", verdict), ("plain-arbiter", tagged_verdict)])
async def test_B21_a_single_iterations_answer_comes_in_chunks(
    provider: Provider, arbiter: str, write: Callable[[str], str]
) -> None:
    provider.on(arbiter, write(LONG))

    pieces, run = await told(arbiter=arbiter)

    assert "".join(pieces) == run.answer == LONG
    assert 10 < len(pieces) <= 40


async def test_B21_a_synchronous_arbiter_streams_too(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_async_models(settings: Settings) -> Catalogue:
        found = load_catalogue(settings)
        return replace(found, entries=tuple(replace(entry, async_model=None) for entry in found.entries))

    monkeypatch.setattr("consortium_mcp.models.catalogue.load_catalogue", without_async_models)
    provider.on("arbiter", verdict(LONG))

    pieces, run = await told()

    assert "".join(pieces) == run.answer == LONG


async def test_a_long_reply_is_parsed_in_linear_time_and_only_with_a_listener(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []

    def counted(reply: str) -> str:
        read.append(len(reply))
        return beginning_of_synthesis(reply)

    synthesize = replace(judging_methods()["synthesize"], beginning=counted)
    monkeypatch.setattr("consortium_mcp.engine.answer_stream.judging_methods", lambda: {"synthesize": synthesize})
    long = " ".join(f"word{number}" for number in range(2_000))
    provider.on("arbiter", verdict(long))
    monkeypatch.setattr(completions, "_chunks", lambda text: [text[at : at + 5] for at in range(0, len(text), 5)])

    pieces, run = await told()
    read_along, read[:] = sum(read), []
    await consult("?", models=["a", "b"], arbiter="arbiter", max_iterations=1)

    assert run.answer == long and long.startswith("".join(pieces)) and len(pieces) > 100
    assert read_along < 100 * len(long)
    assert read == []


@pytest.mark.parametrize(
    "terms",
    [
        {"max_iterations": 2},  # the run can go on, and another iteration be the answer
        {"judging_method": "pick"},
        {"judging_method": "vote"},
    ],
)
async def test_an_answer_that_is_not_certain_is_not_shown_in_pieces(provider: Provider, terms: dict[str, Any]) -> None:
    provider.on("arbiter", verdict(LONG) if "max_iterations" in terms else '{"best": 1, "confidence": 0.9}')

    pieces, run = await told(**terms)

    assert pieces == [] and run.answer


async def test_the_last_iteration_is_not_shown_where_an_earlier_one_may_be_the_answer(provider: Provider) -> None:
    provider.on("arbiter", [verdict("good", confidence=0.7), verdict("worse", confidence=0.2)])

    pieces, run = await told(max_iterations=2)

    assert (pieces, run.answer) == ([], "good")


@pytest.mark.parametrize(
    "first",
    [
        Fault("reset", Reply(verdict("another answer, it seems")), ending="reset", after_chunks=4),
        Reply(verdict("another answer, cut in the")[:40], finish_reason="length"),
    ],
    ids=["reset", "cut"],
)
def test_text_that_turns_out_not_to_be_the_answer_is_withdrawn(provider: Provider, first: Answer) -> None:
    save()
    provider.on("arbiter", [first, verdict("Paris it is")])

    done = run_llm("-m", "panel", "?", "-o", "max_iterations", "1")

    shown, _, rest = done.stdout.partition(WITHDRAWN)
    assert shown.startswith("another answer") and rest.strip() == "Paris it is"


def test_llm_shows_the_answer_while_the_arbiter_writes_it(provider: Provider) -> None:
    save()
    provider.on("arbiter", Fault(name="hang", reply=Reply(verdict(LONG)), ending="hang", after_chunks=10))
    command = [sys.executable, "-m", "llm", "-m", "panel", "?", "-o", "max_iterations", "1"]

    with subprocess.Popen(command, stdout=subprocess.PIPE, env=dict(os.environ)) as process:
        assert process.stdout is not None
        shown = process.stdout.read(len("word0 word1"))
        process.terminate()
        process.communicate(timeout=30)

    assert shown == b"word0 word1"


async def test_a_run_that_is_gone_on_with_tells_nothing_of_an_iteration_that_is_not_its_last(
    provider: Provider, service: ConsortiumService
) -> None:
    provider.on("arbiter", [verdict("first", confidence=0.1), verdict("second", confidence=0.2)])
    gate = provider.gate("arbiter")
    run = service.opener.open_run(asking("?", models=["a", "b"], arbiter="arbiter", max_iterations=2))
    async with anyio.create_task_group() as group:
        group.start_soon(service.perform, run)
        await anyio.to_thread.run_sync(gate.wait_for, 1)
        group.cancel_scope.cancel()
    gate.open()
    interrupt(service, run)
    pieces: list[str] = []

    await service.perform(run.run_id, on_text=pieces.append)
    again = await service.load(run.run_id)
    await service.clients.aclose()

    assert (again.answer, pieces) == ("second", [])
