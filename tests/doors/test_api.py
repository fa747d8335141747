"""The Python API, from wherever it is called."""

import asyncio
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import aclosing
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, get_args, get_type_hints

import anyio
import pytest
import trio
from pydantic import BaseModel

import consortium_mcp
from consortium_mcp import (
    CallModel,
    ConsortiumError,
    InvalidConsortiumError,
    Iteration,
    JudgingMethod,
    NotFoundError,
    Progress,
    Run,
    RunFailedError,
    Settings,
    Strategy,
    consult,
    consult_events,
    consult_sync,
    create_consortium,
    errors,
    export,
    list_runs,
    load_run,
)
from tests.paths import ROOT
from tests.provider import Fault, Provider, verdict


class Dog(BaseModel):
    name: str


class Kennel(BaseModel):
    dogs: list[Dog]


def statuses() -> list[str]:
    """How the stored runs stand, newest first."""
    return [run.status for run in list_runs()]


def test_every_name_of_the_contents_is_there() -> None:
    for name in consortium_mcp.__all__:
        assert getattr(consortium_mcp, name) is not None
    assert sorted(consortium_mcp.__all__) == consortium_mcp.__all__ == dir(consortium_mcp)


def test_every_error_that_can_be_raised_is_there() -> None:
    assert {
        one.__name__ for one in vars(errors).values() if isinstance(one, type) and issubclass(one, Exception)
    } <= set(consortium_mcp.__all__)


def parts(annotation: Any) -> Iterator[Any]:
    """What an annotation is made of."""
    inner = annotation if isinstance(annotation, list) else get_args(annotation)
    if not inner:
        yield annotation
    for one in inner:
        yield from parts(one)


def test_every_type_that_an_extension_or_a_result_is_made_of_is_there() -> None:
    waiting: list[Any] = [Strategy, JudgingMethod, CallModel, Run, Progress]
    ours: dict[str, Any] = {}
    while waiting:
        for one in parts(waiting.pop()):
            if isinstance(one, type) and one.__module__.startswith("consortium_mcp") and one.__name__ not in ours:
                ours[one.__name__] = one
                waiting += get_type_hints(one).values()

    assert {"Ask", "CallSpec", "CallResult", "Verdict", "Member"} <= set(ours) <= set(consortium_mcp.__all__)


def test_the_package_says_that_it_is_typed() -> None:
    assert resources.files("consortium_mcp").joinpath("py.typed").is_file()


@pytest.mark.timeout(300)
def test_the_script_in_the_documentation_runs_without_a_key_from_asyncio_a_thread_and_a_running_loop(
    local_weights: Path,
) -> None:
    script = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(), re.DOTALL)
    assert script is not None and len([line for line in script[1].splitlines() if line]) <= 15

    done = subprocess.run([sys.executable, "-c", script[1]], capture_output=True, text=True, timeout=300)

    assert (done.returncode, done.stderr) == (0, "")
    for begin in ("asyncio: ", "event: ", "in a running loop: ", "thread: "):
        assert re.search(rf"^{begin}\S", done.stdout, re.MULTILINE)
    assert len(statuses()) == 4


def test_the_other_examples_in_the_documentation_run(provider: Provider, tmp_path: Path) -> None:
    examples = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(), re.DOTALL)[1:]

    for example in examples:
        done = subprocess.run([sys.executable, "-c", example], capture_output=True, text=True, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
    assert len(examples) == 2 and (tmp_path / "team.db").exists()


async def test_events_tell_progress_each_iteration_and_the_run(provider: Provider) -> None:
    provider.on("arbiter", [verdict("first", confidence=0.2), verdict("second", confidence=0.9)])

    gate = provider.gate("arbiter")
    events = []
    async for event in consult_events("?", models=["a"], arbiter="arbiter"):
        events.append(event)
        if isinstance(event, Progress) and "arbiter" in event.message:
            gate.open()

    iterations = [event for event in events if isinstance(event, Iteration)]
    assert [one.verdict.synthesis for one in iterations if one.verdict] == ["first", "second"]
    assert any(isinstance(event, Progress) and "arbiter" in event.message for event in events)
    assert isinstance(events[-1], Run) and events[-1].answer == "second"


async def test_an_answer_follows_a_schema_whose_parts_refer_to_each_other(provider: Provider) -> None:
    answer = {"dogs": [{"name": "Rex"}]}
    provider.on("arbiter", json.dumps({"synthesis": answer, "confidence": 0.9}))

    run = await consult("Invent", models=["a"], arbiter="arbiter", output_schema=Kennel.model_json_schema())

    asked = json.dumps(provider.requests_to("arbiter")[0].response_format)
    assert json.loads(run.answer or "") == answer
    assert load_run(run.run_id).output_schema == Kennel.model_json_schema()
    assert '"$ref": "#/$defs/Dog"' in asked and asked.count('"$defs"') == 1 and '"synthesis": {"properties"' in asked


async def test_leaving_the_events_early_interrupts_the_run(provider: Provider) -> None:
    provider.on("a", Fault.hang())

    async with aclosing(consult_events("?", models=["a"])) as events:
        async for _ in events:
            await provider.wait_until_async(lambda: provider.count("a") == 1)
            break

    assert statuses() == ["interrupted"]


async def test_events_may_be_closed_from_another_task(provider: Provider) -> None:
    provider.on("a", Fault.hang())
    events = consult_events("?", models=["a"])
    await anext(events)

    await asyncio.create_task(events.aclose())

    assert statuses() == ["interrupted"]


async def test_cancelling_a_consult_interrupts_the_run(provider: Provider) -> None:
    provider.on("a", Fault.hang())

    async with anyio.create_task_group() as group:
        group.start_soon(partial(consult, "?", models=["a"]))
        await provider.wait_until_async(lambda: provider.count("a") == 1)
        group.cancel_scope.cancel()

    assert statuses() == ["interrupted"]


async def test_what_goes_wrong_is_raised_by_each_way(provider: Provider) -> None:
    provider.on("a", Fault.wrong_key())

    with pytest.raises(RunFailedError, match="a#1: auth"):
        await consult("?", models=["a"])
    with pytest.raises(RunFailedError, match="a#1: auth"):
        [event async for event in consult_events("?", models=["a"])]
    with pytest.raises(RunFailedError, match="a#1: auth"):
        consult_sync("?", models=["a"])


async def test_a_running_loop_can_wait_for_consult_sync(provider: Provider) -> None:
    provider.on("arbiter", verdict("yes"))

    assert consult_sync("?", models=["a"], arbiter="arbiter").answer == "yes"


def test_many_threads_can_consult_at_once(provider: Provider) -> None:
    provider.on("arbiter", verdict("yes"))
    gate = provider.gate("a")
    answers: list[str | None] = []
    work = lambda: answers.append(consult_sync("?", models=["a"], arbiter="arbiter").answer)  # noqa: E731 - one use

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    gate.wait_for(4)
    gate.open()
    for thread in threads:
        thread.join()

    assert answers == ["yes"] * 4


def test_under_trio_a_thread_consults(provider: Provider) -> None:
    provider.on("arbiter", verdict("yes"))
    ask = partial(consult_sync, "?", models=["a"], arbiter="arbiter")

    assert trio.run(trio.to_thread.run_sync, ask).answer == "yes"


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_trio_itself_is_refused_with_what_to_do(provider: Provider) -> None:
    with pytest.raises(ConsortiumError, match=r"trio\.to_thread\.run_sync\(consult_sync"):
        await consult("?", models=["a"])
    with pytest.raises(ConsortiumError, match=r"trio\.to_thread\.run_sync\(consult_sync"):
        await anext(consult_events("?", models=["a"]))

    assert provider.count() == 0


@pytest.mark.parametrize(
    ("prompt", "terms", "sentence"),
    [
        (5, {}, "prompt is 5: it takes a text."),
        ("?", {"models": "a"}, "models is 'a': it takes a list of one or more, as in"),
        ("?", {"models": []}, r"models is \[\]: it takes a list of one or more, as in"),
        ("?", {"history": "x"}, "history is 'x': it takes a list of turns, as in"),
        ("?", {"budget": 3}, "budget is 3: give a Budget, as in"),
        ("?", {"deadline_seconds": -1}, "deadline_seconds is -1: give a number above 0 and at most 86400."),
        ("?", {"deadline_seconds": 1e300}, r"is 1e\+300: give a number above 0 and at most 86400."),
        ("?", {"arbitre": "a"}, "arbitre is 'a': Extra inputs are not permitted."),
    ],
)
async def test_what_a_call_cannot_take_is_one_sentence_before_anything_is_opened(
    provider: Provider, llm_home: Path, prompt: Any, terms: Any, sentence: str
) -> None:
    with pytest.raises(InvalidConsortiumError, match=sentence):
        await consult(prompt, **terms)
    with pytest.raises(InvalidConsortiumError, match=sentence):
        consult_sync(prompt, **terms)
    with pytest.raises(InvalidConsortiumError, match=sentence):
        await anext(consult_events(prompt, **terms))

    assert provider.count() == 0 and not (llm_home / "consortium.db").exists()


def test_create_consortium_refuses_a_text_where_a_list_belongs(provider: Provider) -> None:
    with pytest.raises(InvalidConsortiumError, match="models is 'a': it takes a list"):
        create_consortium("a")


def test_create_consortium_takes_what_llm_consortium_took(provider: Provider) -> None:
    panel = create_consortium(
        ["a:2", "llama3:8b", "b"], 0.9, 2, 1, "arbiter", "Be brief.", default_count=3, raw=True, strategy="debate"
    )

    assert [str(one) for one in panel.members] == ["a:2", "llama3:8b:3", "b:3"]
    assert (panel.confidence_threshold, panel.max_iterations, panel.arbiter) == (0.9, 2, "arbiter")
    assert (panel.system_prompt, panel.strategy) == ("Be brief.", "debate")


def test_B29_a_percentage_is_a_fraction_and_a_broken_rule_one_sentence(provider: Provider) -> None:
    assert create_consortium(["a"], confidence_threshold=80).confidence_threshold == 0.8
    with pytest.raises(InvalidConsortiumError, match="max_iterations is 0"):
        create_consortium(["a"], max_iterations=0, min_iterations=0)


def test_an_empty_list_of_models_is_refused() -> None:
    with pytest.raises(InvalidConsortiumError, match=r"models is \[\]: it takes a list of one or more"):
        create_consortium([])


def test_B33_no_model_is_named_by_default_but_llms_own(provider: Provider, llm_home: Path) -> None:
    (llm_home / "default_model.txt").write_text("b")
    panel = create_consortium()

    assert [one.model for one in panel.members] == ["b"] and panel.arbiter is None
    sources = "".join(path.read_text() for path in (ROOT / "consortium_mcp").rglob("*.py"))
    for dead in ("gemini-2.0-flash", "claude-3-opus", "gemini-pro", '"gpt-4"'):
        assert dead not in sources


# the runs of before


async def test_history_is_found_loaded_and_exported(provider: Provider) -> None:
    provider.on("arbiter", [verdict("Paris"), verdict("Berlin")])
    first = await consult("Capital of France?", models=["a"], arbiter="arbiter")
    second = await consult("Capital of Germany?", models=["a"], arbiter="arbiter")

    assert [run.run_id for run in list_runs()] == [second.run_id, first.run_id]
    assert [run.answer for run in list_runs("France", status="converged")] == ["Paris"]
    assert list_runs(limit=1)[0].run_id == second.run_id
    assert load_run(first.run_id).iterations[0].responses == first.iterations[0].responses
    assert [json.loads(line)["answer"] for line in export().splitlines()] == ["Berlin", "Paris"]
    assert "Capital of France?" in export([first.run_id], "md")
    assert export([first.run_id], "html").startswith("<!DOCTYPE html>")


async def test_history_is_that_of_the_settings(provider: Provider, tmp_path: Path) -> None:
    elsewhere = Settings(database=tmp_path / "elsewhere.db")
    provider.on("arbiter", verdict("Paris"))
    run = await consult("Capital?", models=["a"], arbiter="arbiter", settings=elsewhere)

    assert [one.run_id for one in list_runs(settings=elsewhere)] == [run.run_id] and list_runs() == []
    assert load_run(run.run_id, settings=elsewhere).answer == "Paris" and "Paris" in export(settings=elsewhere)
    with pytest.raises(NotFoundError, match=f"No run '{run.run_id}'"):
        load_run(run.run_id)
