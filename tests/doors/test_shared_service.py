"""Consults of one process and settings share one set of limits, and in an event loop one service with its clients."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import llm
import pytest

from consortium_mcp import Progress, Run, RunFailedError, Settings, consult, consult_events, consult_sync
from consortium_mcp._util.caller import calling
from consortium_mcp._util.places import Places
from consortium_mcp.models.calling import limits_of
from tests.provider import Fault, Provider, verdict

ONE_CALL = Settings(max_concurrent_calls=1)
ASKED: dict[str, Any] = {"models": ["a"], "arbiter": "arbiter", "max_iterations": 1}


@pytest.fixture
def kept_alive(llm_home: Path) -> Iterator[Provider]:
    """A provider that keeps connections open, as real ones do."""
    with Provider(keep_alive=True) as started:
        started.write_llm_config(llm_home, ["a"], schema=["arbiter"])
        started.on("arbiter", verdict("Paris"))
        yield started


async def test_five_consults_at_once_with_a_limit_of_one_call_make_one_call_at_a_time(provider: Provider) -> None:
    provider.on("arbiter", verdict("Paris"))
    gate, asking, all_ask = provider.gate(), set[int](), anyio.Event()

    async def ask(number: int) -> None:
        async for event in consult_events(f"Capital {number}?", settings=ONE_CALL, **ASKED):
            if isinstance(event, Progress) and event.calls:
                asking.add(number)
            if len(asking) == 5:
                all_ask.set()

    async with anyio.create_task_group() as group:
        for number in range(5):
            group.start_soon(ask, number)
        await all_ask.wait()
        await gate.wait_for_async(1)
        assert provider.in_flight == 1
        gate.open()

    assert (provider.peak_in_flight, provider.count("a"), provider.count("arbiter")) == (1, 5, 5)


def test_consults_in_threads_with_event_loops_of_their_own_share_the_limit(provider: Provider) -> None:
    provider.on("arbiter", verdict("Paris"))
    gate = provider.gate()
    ask = partial(consult_sync, "Capital?", settings=ONE_CALL, **ASKED)
    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    gate.wait_for(1)
    gate.open()
    for thread in threads:
        thread.join()

    assert (provider.peak_in_flight, provider.count("arbiter")) == (1, 3)


async def test_more_consults_than_runs_may_be_worked_on_wait_and_none_is_refused(provider: Provider) -> None:
    provider.on("arbiter", verdict("Paris"))
    settings = Settings(max_concurrent_runs=1, max_waiting_runs=0)

    runs = await asyncio.gather(*(consult(f"{number}?", settings=settings, **ASKED) for number in range(4)))

    assert [run.answer for run in runs] == ["Paris"] * 4 and provider.peak_in_flight == 1


async def test_a_consortium_inside_another_needs_no_second_place(provider: Provider, tmp_path: Path) -> None:
    provider.on("arbiter", verdict("Paris"))
    settings = Settings(database=tmp_path / "nested.db", max_concurrent_calls=1, max_concurrent_runs=1)
    await anyio.to_thread.run_sync(_save_inner, settings)

    run = await consult("Capital?", models=["inner"], arbiter="arbiter", max_iterations=1, settings=settings)

    assert (run.answer, run.degraded, provider.count("a")) == ("Paris", (), 1)


def _save_inner(settings: Settings) -> None:
    words = ["save", "inner", "-m", "a", "--arbiter", "arbiter", "--max-iterations", "1"]
    environment = {**os.environ, "CONSORTIUM_DATABASE": str(settings.database)}
    subprocess.run([sys.executable, "-m", "consortium_mcp", *words], check=True, env=environment, capture_output=True)


async def test_a_question_that_one_call_asks_twice_at_once_is_worked_on_once(
    provider: Provider, add_model: Callable[..., None]
) -> None:
    provider.on("arbiter", verdict("Paris"))

    class AskingTwice(llm.AsyncModel):
        model_id = "asking-twice"

        async def execute(self, *_: Any, **__: Any) -> Any:
            runs = await asyncio.gather(consult("Capital?", **ASKED), consult("Capital?", **ASKED))
            yield ", ".join(str(run.answer) for run in runs)

    add_model(None, AskingTwice())
    run = await consult("Capital?", models=["asking-twice"], judging_method="vote", max_iterations=1)

    assert (run.answer, provider.count("a")) == ("Paris, Paris", 1)


async def test_one_of_several_consults_can_be_cancelled_and_the_others_go_on(provider: Provider) -> None:
    provider.on("a", [Fault.hang(), "Paris", "Paris"])
    provider.on("arbiter", verdict("Paris"))
    ended: list[Run] = []

    async def ask() -> None:
        ended.append(await consult("Capital?", settings=ONE_CALL, **ASKED))

    async with anyio.create_task_group() as group:
        hanging = asyncio.create_task(consult("Hang", settings=ONE_CALL, **ASKED))
        await provider.wait_until_async(lambda: provider.count("a") == 1)
        group.start_soon(ask)
        group.start_soon(ask)
        hanging.cancel()

    assert hanging.cancelled() and [run.answer for run in ended] == ["Paris", "Paris"]


def test_consults_of_one_event_loop_use_the_same_connections(kept_alive: Provider) -> None:
    async def ask_three_times() -> None:
        for number in range(3):
            await consult(f"{number}?", **ASKED)

    asyncio.run(ask_three_times())

    assert (kept_alive.count(), kept_alive.connections) == (6, 1)


SCRIPTS = {
    "run": "asyncio.run(ask())",
    "threads": (
        "threads = [threading.Thread(target=lambda: consult_sync('?', **ASKED)) for _ in range(2)]\n"
        "[thread.start() for thread in threads], [thread.join() for thread in threads]"
    ),
    "a loop run by hand": (
        "loop = asyncio.new_event_loop()\n"
        "loop.run_until_complete(ask()), loop.run_until_complete(loop.shutdown_asyncgens()), loop.close()"
    ),
    "a loop that never ends": "loop = asyncio.new_event_loop(); loop.run_until_complete(ask())",
    "cancelled": (
        "async def main():\n"
        "    asking = asyncio.create_task(ask())\n"
        "    await asyncio.sleep(0)\n"
        "    asking.cancel()\n"
        "    await asyncio.wait([asking])\n"
        "asyncio.run(main())"
    ),
    "failed": "try:\n    asyncio.run(consult('?', models=['c'], arbiter='c'))\nexcept RunFailedError: pass",
    "forked": (
        "async def main():\n"
        "    await ask()\n"
        "    if (child := os.fork()) == 0:\n"
        "        os.execv(sys.executable, [sys.executable, '-c', ''])\n"
        "    os.waitpid(child, 0)\n"
        "    await ask()\n"
        "asyncio.run(main())"
    ),
    "consulted in a fork": (
        "loop = asyncio.new_event_loop(); loop.run_until_complete(ask())\n"
        "if (child := os.fork()) == 0:\n"
        "    try:\n"
        "        asyncio.run(ask())\n"
        "    except BaseException: traceback.print_exc(); os._exit(1)\n"
        "    os._exit(0)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "loop.run_until_complete(ask())"
    ),
}


def said_by(script: str, provider: Provider, *options: str) -> str:
    """The stderr of an interpreter that runs a script to its end."""
    provider.on("c", Fault.wrong_key())
    home = provider.write_llm_config(Path(os.environ["LLM_USER_PATH"]), ["a", "c"], schema=["arbiter"])
    (home / "logs-off").touch()  # a slow disk would be told of
    code = (
        "import asyncio, gc, os, sys, threading, traceback\n"
        "from consortium_mcp import RunFailedError, consult, consult_sync\n"
        "ASKED = {'models': ['a'], 'arbiter': 'arbiter', 'max_iterations': 1}\n"
        "async def ask():\n"
        "    return await consult('Capital?', **ASKED)\n"
        f"{script}\n"
        "gc.collect()\n"
    )
    done = subprocess.run([sys.executable, *options, "-c", code], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_everything_is_closed_when_the_event_loop_or_the_process_ends(script: str, kept_alive: Provider) -> None:
    assert said_by(script, kept_alive, "-W", "error::ResourceWarning") == ""


def test_a_service_whose_loop_was_closed_before_its_end_is_closed_by_the_next_consult(kept_alive: Provider) -> None:
    script = (
        "loop = asyncio.new_event_loop(); loop.run_until_complete(ask()); loop.close(); del loop\n"
        "asyncio.run(ask()); gc.collect()\n"
        "assert not [one for one in threading.enumerate() if one.name == 'consortium-store']"
    )

    assert said_by(script, kept_alive) == ""


async def test_a_run_that_fails_leaves_the_service_for_the_next(provider: Provider) -> None:
    provider.on("a", [Fault.wrong_key(), "Paris"])
    provider.on("arbiter", verdict("Paris"))

    with pytest.raises(RunFailedError):
        await consult("?", **ASKED)

    assert (await consult("?", **ASKED)).answer == "Paris"


def test_limits_are_one_for_the_same_settings() -> None:
    one, same, other = (limits_of(Settings(max_concurrent_calls=number)) for number in (7, 7, 8))

    assert one is same and one is not other


async def test_callers_that_wait_for_places_take_turns_and_none_takes_all() -> None:
    places, order, done = Places(4), list[str](), anyio.Event()

    async def work(caller: str) -> None:
        with calling(caller):
            async with places:
                order.append(caller)
                await done.wait()

    async with anyio.create_task_group() as group:
        for caller in (*["mallory"] * 6, *["ann"] * 2, "bob"):
            group.start_soon(work, caller)
        await anyio.wait_all_tasks_blocked()
        begun = list(order)
        done.set()

    assert begun == ["mallory", "mallory", "mallory", "ann"]
    assert order[4:] == ["mallory", "ann", "bob", "mallory", "mallory"]


async def test_a_place_that_is_given_to_one_that_was_cancelled_goes_on_to_the_next() -> None:
    places, order = Places(1), list[str]()
    await places.take()

    async def wait(name: str) -> None:
        async with places:
            order.append(name)

    first, second = asyncio.create_task(wait("first")), asyncio.create_task(wait("second"))
    await asyncio.sleep(0)
    places.release()
    first.cancel()
    await asyncio.wait([first, second])

    assert (first.cancelled(), order) == (True, ["second"])
