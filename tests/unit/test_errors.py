"""The next step after an error is data of the error; each door has its own words for it."""

import re
from itertools import product

import pytest

import consortium_mcp
from consortium_mcp import errors
from consortium_mcp.cli.groups import main
from consortium_mcp.errors import ConsortiumError, Door, NextStep, RunFailedError, speaking_at, words_for
from consortium_mcp.server.base.toolset import described_tools

ABOUT = {"run_id": "01run", "name": "panel", "model": "gpt-5"}
KINDS = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, ConsortiumError)]


@pytest.mark.parametrize(("step", "door"), list(product(NextStep, Door)), ids=str)
def test_every_door_has_words_for_every_next_step_and_names_only_what_it_has(step: NextStep, door: Door) -> None:
    with speaking_at(door):
        said = str(ConsortiumError("It failed.", step, **ABOUT))
    tools = set(re.findall(r"\b(?:list|get|cancel|save|remove|rate|consult)_[a-z]+\b", said)) - {"get_models"}
    commands = set(re.findall(r"`consortium-mcp ([a-z-]+)", said))
    functions = set(re.findall(r"(?<!\.)\b([a-z_]+)\(", said))

    assert said.startswith("It failed. ") and said.endswith(".") and "{" not in said
    if door is Door.TOOLS:
        assert tools <= set(described_tools()) and commands <= {"local-model"} and not functions
    if door is Door.COMMANDS:
        assert commands <= set(main.list_commands(None)) and not tools and not functions  # type: ignore[arg-type]
    if door is Door.PYTHON:
        assert functions <= set(consortium_mcp.__all__) and tools <= functions and commands <= {"local-model"}


@pytest.mark.parametrize(
    "kind", [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, ConsortiumError)]
)
def test_every_kind_of_error_is_worded_where_it_is_read(kind: type[ConsortiumError]) -> None:
    is_of_run = issubclass(kind, RunFailedError)
    error = kind("It failed.", "01run") if is_of_run else kind("It failed.", NextStep.LIST_RUNS)  # type: ignore[arg-type]
    said = []
    for door in Door:
        with speaking_at(door):
            said.append(str(error))

    assert len(set(said)) == len(Door) and error.next_step is not None
    assert str(error) == said[list(Door).index(Door.PYTHON)]


def test_an_error_without_a_next_step_is_its_sentence_at_every_door() -> None:
    with speaking_at(Door.TOOLS):
        assert str(ConsortiumError("The prompt is empty.")) == "The prompt is empty."
        assert words_for(NextStep.LIST_RUNS) == "Call list_runs to see more."
