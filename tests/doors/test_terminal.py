"""Sessions in a real terminal: the screen during a consult, at its end, and after Ctrl-C."""

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from consortium_mcp.records import Rating
from consortium_mcp.records.consortium import Consortium, Member
from consortium_mcp.service.service import ConsortiumService
from tests.plugins import install_plugin
from tests.provider import Fault, Provider, verdict
from tests.scripted import new_run
from tests.terminal import Terminal

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is the terminal of these tests")

PANEL = ("-m", "a:2", "-m", "b", "--arbiter", "arbiter")


@pytest.fixture
def in_terminal(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """Starts commands of ours in terminals, which end with the test."""
    with ExitStack() as stack:
        yield lambda *arguments: stack.enter_context(Terminal(tmp_path, *arguments))


def row(screen: str, who: str) -> list[str]:
    """The cells of the table's row for an instance or the arbiter."""
    (line,) = [line for line in screen.splitlines() if who in line and "│" in line]
    return [cell.strip() for cell in line.strip("│ ").split("│")]


def test_a_consult_shows_who_is_thinking_then_the_answer_as_markdown_with_dissent_and_cost(
    provider: Provider, in_terminal: Callable[..., Terminal]
) -> None:
    provider.on("arbiter", verdict("Use **retries**:\n\n- one\n- two", confidence=0.9, dissent="a#2 would not."))
    slow, judging = provider.gate("b"), provider.gate("arbiter")

    terminal = in_terminal("consult", "Is it safe?", *PANEL)
    slow.wait_for(1)
    thinking = terminal.wait_until(lambda screen: screen.count("answered") == 2)
    later = terminal.wait_until(lambda screen: row(screen, "b#1")[2] > row(thinking, "b#1")[2])
    slow.open()
    judging.wait_for(1)
    judged = terminal.wait_until(lambda screen: "arbiter (arbiter)" in screen)
    judging.open()
    status = terminal.wait_for_exit()
    ended = terminal.screen

    assert row(thinking, "a#1")[1] == "answered" and row(later, "b#1")[1] == "thinking"
    assert re.fullmatch(r"[\d.]+ [\d,]+", " ".join(row(thinking, "a#1")[2:]))
    assert row(judged, "b#1")[1] == "answered" and row(judged, "arbiter (arbiter)")[1] == "thinking"
    assert status == 0 and row(ended, "arbiter (arbiter)")[1] == "answered"
    assert "Use retries:" in ended and " • one" in ended
    assert ended.index("Use retries:") < ended.index("Dissent: a#2 would not.") < ended.index("Used: calls: 4")
    assert "cost: unknown" in ended


def test_an_instance_that_failed_says_how(provider: Provider, in_terminal: Callable[..., Terminal]) -> None:
    provider.on("b", Fault.wrong_key())
    provider.on("arbiter", verdict("Paris"))

    terminal = in_terminal("consult", "Capital?", *PANEL)

    assert terminal.wait_for_exit() == 0
    assert row(terminal.screen, "b#1")[1] == "failed: auth"


def test_what_an_answer_lacks_is_a_paragraph_of_sentences_of_its_own(
    provider: Provider, in_terminal: Callable[..., Terminal]
) -> None:
    provider.on("a", Fault.wrong_key())
    provider.on("arbiter", verdict("Paris"))

    terminal = in_terminal("consult", "Capital?", "-m", "a", "-m", "b", "--arbiter", "arbiter")
    assert terminal.wait_for_exit() == 0

    screen = terminal.screen
    assert re.search(r"Incomplete: 1 of 2[^\n]*(\n[^\n]+)*\n *\n *Paris", screen)
    assert ".)" not in screen and ".;" not in screen


def test_an_instance_between_two_attempts_waits(provider: Provider, in_terminal: Callable[..., Terminal]) -> None:
    provider.on("b", Fault.rate_limit(retry_after=50))

    terminal = in_terminal("consult", "Capital?", *PANEL)

    terminal.wait_until(lambda screen: "waiting: rate_limit" in screen)
    terminal.press("C-c")
    assert terminal.wait_for_exit() == 130


def test_ctrl_c_exits_130_and_says_how_the_run_is_resumed(
    provider: Provider, in_terminal: Callable[..., Terminal], service: ConsortiumService
) -> None:
    slow = provider.gate("b")

    terminal = in_terminal("consult", "Is it safe?", *PANEL)
    slow.wait_for(1)
    terminal.wait_until(lambda screen: screen.count("answered") == 2)
    terminal.press("C-c")

    assert terminal.wait_for_exit() == 130
    (run,) = service.store.runs.find.sync()
    assert run.status == "interrupted"
    said = " ".join(terminal.screen.split())
    assert "Interrupted. The run is kept with every response that arrived. " in said
    assert f"`consortium-mcp runs resume {run.run_id}` continues it" in said
    assert "Traceback" not in said


def test_a_models_control_characters_do_not_reach_the_terminal(
    provider: Provider, in_terminal: Callable[..., Terminal]
) -> None:
    provider.on("arbiter", verdict("red \x1b[2Jalert\x1b]0;owned\x07", dissent="\x1b[2Jnone"))

    terminal = in_terminal("consult", "?", *PANEL)

    assert terminal.wait_for_exit() == 0
    assert "red alert" in terminal.screen and "Dissent: none" in terminal.screen
    assert row(terminal.screen, "a#1")[1] == "answered"


def test_a_run_as_json_does_not_steer_the_terminal(provider: Provider, in_terminal: Callable[..., Terminal]) -> None:
    provider.on("arbiter", verdict("turned \u202e around", confidence=0.9))

    terminal = in_terminal("consult", "?", *PANEL, "--json")

    assert terminal.wait_for_exit() == 0
    assert '"answer": "turned  around"' in terminal.screen


def test_prune_shows_how_far_it_is(in_terminal: Callable[..., Terminal], service: ConsortiumService) -> None:
    for run_id in ("01a", "01b"):
        run = new_run(run_id=run_id)
        service.store.runs.open.sync(run, "me")
        service.store.runs.close.sync(run.model_copy(update={"status": "failed", "ended_utc": "2026"}), "me")

    terminal = in_terminal("runs", "prune", "--keep", "0", "--yes")

    assert terminal.wait_for_exit() == 0
    assert re.search(r"Removing +\[#+\] +100%\nRemoved 2 runs", terminal.screen)


@pytest.mark.parametrize(
    "words", [("list",), ("show", "panel"), ("stats",), ("runs", "export", "--format", "md")], ids=" ".join
)
def test_what_models_saved_does_not_steer_the_terminal(
    in_terminal: Callable[..., Terminal], service: ConsortiumService, words: tuple[str, ...]
) -> None:
    hostile = "red \x1b[2Jalert\x1b]0;owned\x07"
    members = (Member(model=hostile, role=hostile),)
    definition = Consortium(members=members, arbiter=hostile, system_prompt=hostile, description=hostile)
    service.store.consortiums.save.sync("panel", definition)
    run = new_run(hostile, consortium_name="panel", consortium=definition)
    service.store.runs.open.sync(run, "somebody")
    ended = {"status": "converged", "answer": hostile, "confidence": 0.9, "ended_utc": "2026"}
    service.store.runs.close.sync(run.model_copy(update=ended), "somebody")
    service.store.ratings.save.sync(Rating(run_id=run.run_id, score=1))

    terminal = in_terminal(*words)

    assert terminal.wait_for_exit() == 0
    assert "panel" in terminal.screen and "red alert" in terminal.screen


def test_a_broken_plugins_control_characters_do_not_reach_the_terminal(
    plugin_folder: Path, in_terminal: Callable[..., Terminal]
) -> None:
    install_plugin(plugin_folder, "broken", r"raise RuntimeError('red \x1b[2Jalert')")

    terminal = in_terminal("models", "nothing-of-that-name")

    assert terminal.wait_for_exit() == 0
    assert "No model's id or alias" in terminal.screen
    assert "The llm plugin broken is broken: RuntimeError: red alert" in terminal.screen


def test_ctrl_c_at_the_question_of_prune_removes_nothing_and_exits_130(
    in_terminal: Callable[..., Terminal], service: ConsortiumService
) -> None:
    service.store.runs.open.sync(new_run(), "somebody")
    service.store.database.write(lambda c: c.execute("UPDATE runs SET lease_until = 0") and None)

    terminal = in_terminal("runs", "prune", "--keep", "0")
    terminal.wait_until(lambda screen: "Remove 1 run" in screen)
    terminal.press("C-c")

    assert terminal.wait_for_exit() == 130 and len(service.store.runs.find.sync()) == 1
    assert "\nInterrupted.\n" in terminal.screen


def test_prune_asks_on_the_terminal(in_terminal: Callable[..., Terminal], service: ConsortiumService) -> None:
    service.store.runs.open.sync(new_run(), "somebody")
    service.store.database.write(lambda c: c.execute("UPDATE runs SET lease_until = 0") and None)

    terminal = in_terminal("runs", "prune", "--keep", "0")
    terminal.wait_until(lambda screen: "Remove 1 run, opened from 2026-11-23T00:00" in screen)
    terminal.press("y", "Enter")

    assert terminal.wait_for_exit() == 0 and service.store.runs.find.sync() == []
