"""One request: every door offers every field, with one name, and its value reaches the run."""

import inspect
import json
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import anyio.to_thread
import click
import pytest

from consortium_mcp import Budget, Consortium, Run, consult, consult_sync, create_consortium
from consortium_mcp.api import Terms
from consortium_mcp.cli import main
from consortium_mcp.errors import InvalidConsortiumError
from consortium_mcp.llm_plugin.models import ConsortiumModel, Registered
from consortium_mcp.records.request import ConsultRequest, DefinitionRequest
from consortium_mcp.records.rules import Rules
from consortium_mcp.records.terms import FurtherRules
from consortium_mcp.service.service import ConsortiumService
from tests.doors.test_cli import run_command
from tests.doors.test_plugin import run_llm, save
from tests.doors.test_snapshots import TOOLS
from tests.in_process import in_process
from tests.provider import Provider
from tests.scripted import asking, panel
from tests.server_process import said

pytestmark = pytest.mark.anyio

GIVEN: dict[str, Any] = {
    "system_prompt": "Be brief.",
    "confidence_threshold": 0.4,
    "max_iterations": 2,
    "min_iterations": 2,
    "strategy": "debate",
    "judging_method": "choose",
    "stop_on": "both",
    "quorum": 2,
    "patience_seconds": 33.0,
    "min_responses": 1,
    "on_partial": "fail",
    "ask": "adaptive",
    "choices": ["Paris", "Rome"],
    "llm_options": {"stop": "END"},
}
"""A value of each rule that is not its default; others are not for the judging method choose."""

OF_AN_ARBITER: dict[str, Any] = {"judging_method": "pick", "arbiter": "plain-arbiter", "check_order": False}
"""The same of the rules that only a method with an arbiter reads."""

TERMS: dict[str, Any] = {"max_calls": 50, "max_tokens": 90_000, "own_answer": "Rome", "deadline_seconds": 77.0}


def tool(name: str) -> set[str]:
    (found,) = (one for one in json.loads(TOOLS.read_text()) if one["name"] == name)
    return set(found["inputSchema"]["properties"])


def command(name: str) -> set[str]:
    found = main.get_command(click.Context(main), name)
    assert found is not None
    return {str(param.name) for param in found.params}


OWN_WAY = {
    "history": "follow_up_to names a conversation; llm has one of its own",
    "prompt": "llm gives the prompt",
    "consortium": "it is llm's model",
    "models": "as before",
    "count": "create_consortium calls it default_count, as llm-consortium did; llm's model is a whole consortium",
    "output_schema": "llm gives it as --schema",
    "attachments": "llm gives them as -a and --at",
}
"""Fields that a door offers in its own way."""

CONSULTING: dict[str, tuple[Callable[[], set[str]], set[str]]] = {
    "consult_consortium": (lambda: tool("consult_consortium"), {"history"}),
    "consortium-mcp consult": (lambda: command("consult"), {"history"}),
    "consult()": (lambda: {*inspect.signature(consult).parameters, *inspect.get_annotations(Terms)}, set()),
    "llm -m panel -o": (lambda: set(ConsortiumModel("panel", Registered(None)).Options.model_fields), set(OWN_WAY)),
}
"""How the fields of a consult are found at each door, and which of them it offers in its own way."""

DEFINING: dict[str, tuple[Callable[[], set[str]], set[str]]] = {
    "save_consortium": (lambda: tool("save_consortium"), set()),
    "consortium-mcp save": (lambda: command("save"), set()),
    "create_consortium()": (
        lambda: {*inspect.signature(create_consortium).parameters, *inspect.get_annotations(FurtherRules)},
        {"count"},
    ),
    "a saved definition": (lambda: set(Consortium.model_fields), {"models", "count", "preset"}),
}
"""The same of a definition; a saved one holds its models as members."""


@pytest.mark.parametrize("door", CONSULTING)
def test_every_door_to_a_consult_has_every_field(door: str) -> None:
    offered, own_way = CONSULTING[door]

    assert set(ConsultRequest.model_fields) - offered() == own_way


@pytest.mark.parametrize("door", DEFINING)
def test_every_door_to_a_definition_has_every_field(door: str) -> None:
    offered, own_way = DEFINING[door]

    assert set(DefinitionRequest.model_fields) - offered() == own_way


def test_a_rule_is_a_field_of_one_class() -> None:
    for kind in (Consortium, DefinitionRequest, ConsultRequest):
        assert issubclass(kind, Rules) and not set(Rules.model_fields) & set(inspect.get_annotations(kind))


def options(fields: dict[str, Any]) -> list[str]:
    """Fields as a person types them."""
    typed: list[str] = []
    for name, value in fields.items():
        if isinstance(value, list):
            typed += [word for one in value for word in (f"--{name.replace('_', '-')}", one)]
            continue
        if isinstance(value, dict):
            typed += [word for option, given in value.items() for word in ("-o", option, str(given))]
            continue
        flag = name.replace("_", "-")
        typed += [f"--{flag}", str(value)] if not isinstance(value, bool) else [f"--{'' if value else 'no-'}{flag}"]
    return typed


async def by_tool(service: ConsortiumService, fields: dict[str, Any]) -> None:
    async with in_process("auto", service) as client:
        asked = {"prompt": "Capital?", "consortium": "panel", "wait_seconds": 60, **fields}
        result = await client.call_tool("consult_consortium", asked)
    assert not result.is_error, result.content


async def by_command(service: ConsortiumService, fields: dict[str, Any]) -> None:
    asked = ("consult", "Capital?", "--consortium", "panel", *options(fields))
    done = await anyio.to_thread.run_sync(lambda: run_command(*asked))
    assert done.returncode == 0, done.stderr


async def by_llm(service: ConsortiumService, fields: dict[str, Any]) -> None:
    def word(value: Any) -> str:
        return json.dumps(value) if isinstance(value, dict | list) else str(value)

    words = [one for name, value in fields.items() for one in ("-o", name, word(value))]
    done = await anyio.to_thread.run_sync(lambda: run_llm("-m", "panel", "Capital?", *words))
    assert done.returncode == 0, done.stderr


async def by_python(service: ConsortiumService, fields: dict[str, Any]) -> None:
    await consult("Capital?", consortium="panel", settings=service.settings, **fields)


WAYS: list[Callable[[ConsortiumService, dict[str, Any]], Awaitable[None]]] = [by_tool, by_command, by_llm, by_python]


def newest(service: ConsortiumService) -> Run:
    return service.store.runs.load.sync(service.store.runs.find.sync()[0].run_id)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("given", [GIVEN, OF_AN_ARBITER], ids=["given", "of an arbiter"])
async def test_every_rule_and_term_that_is_given_at_a_door_reaches_the_run(
    given: dict[str, Any],
    way: Callable[[ConsortiumService, dict[str, Any]], Awaitable[None]],
    provider: Provider,
    service: ConsortiumService,
) -> None:
    assert {*GIVEN, *OF_AN_ARBITER, "group_answers"} == set(Rules.model_fields) - {"embedding_model"}
    save()
    for model in ("a", "b"):
        provider.on(model, "Answer: Paris")
    provider.on("plain-arbiter", "1\nConfidence: 0.9")

    await way(service, given | TERMS)

    run = newest(service)
    assert {name: getattr(run.consortium, name) for name in given} == given
    assert (run.budget.max_calls, run.budget.max_tokens, run.deadline_seconds) == (50, 90_000, 77)
    assert run.consortium.members[-1].response == "Rome"


@pytest.mark.parametrize("way", WAYS)
async def test_answers_can_be_grouped_at_each_door(
    way: Callable[[ConsortiumService, dict[str, Any]], Awaitable[None]], provider: Provider, service: ConsortiumService
) -> None:
    save()

    await way(service, {"judging_method": "vote", "group_answers": True, "arbiter": "b", "max_iterations": 1})

    assert (newest(service).consortium.group_answers, newest(service).consortium.arbiter) == (True, "b")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"judging_method": "vote", "embedding_model": "no-such"}, "llm knows no embedding model 'no-such'"),
        ({"max_cost_usd": 1}, "the price of a, b, arbiter is unknown"),
        ({"follow_up_to": "01nosuchrun"}, "01nosuchrun"),
        ({"confidence_threshold": 1.5}, "write 0.015 if 1.5 % is meant, or 0.15 if it is not"),
    ],
)
async def test_a_field_that_cannot_hold_is_refused_at_each_door(
    way: Callable[[ConsortiumService, dict[str, Any]], Awaitable[None]],
    fields: dict[str, Any],
    says: str,
    provider: Provider,
    service: ConsortiumService,
) -> None:
    save()

    with pytest.raises(Exception, match=says):
        await way(service, fields)

    assert provider.count() == 0


OF_A_VOTE: dict[str, Any] = {"judging_method": "vote", "embedding_model": "meaning"}


@pytest.mark.parametrize("given", [GIVEN, OF_AN_ARBITER, OF_A_VOTE], ids=["given", "of an arbiter", "of a vote"])
async def test_a_definition_is_the_same_at_each_door(
    given: dict[str, Any], provider: Provider, service: ConsortiumService
) -> None:
    rules = {**given, "description": "For capitals."}
    async with in_process("auto", service) as client:
        await client.call_tool("save_consortium", {"name": "tool", "models": ["a", "b:2"], "count": 3, **rules})
    done = await anyio.to_thread.run_sync(
        lambda: run_command("save", "command", "-m", "a", "-m", "b:2", "-n", "3", *options(rules))
    )
    assert done.returncode == 0, done.stderr

    saved = service.store.consortiums.load.sync("tool")
    assert service.store.consortiums.load.sync("command") == saved
    assert create_consortium(["a", "b:2"], default_count=3, **rules) == saved
    assert {name: getattr(saved, name) for name in rules} == rules
    assert [str(member) for member in saved.members] == ["a:3", "b:2"]


async def test_the_answer_follows_a_schema_that_is_given_at_each_door(
    provider: Provider, service: ConsortiumService
) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    plans = []
    async with in_process("auto", service) as client:
        asked = {"prompt": "?", "models": ["a"], "arbiter": "plain-arbiter", "output_schema": schema}
        plans.append(str((await client.call_tool("consult_consortium", asked)).content))
    typed = ["-m", "a", "--arbiter", "plain-arbiter", "--output-schema", json.dumps(schema)]
    plans.append((await anyio.to_thread.run_sync(lambda: run_command("consult", "?", *typed))).stderr)

    assert all("needs an arbiter that supports schemas, which plain-arbiter does" in plan for plan in plans)


@pytest.mark.parametrize("text", ["[]", "{", "5"])
def test_a_schema_that_is_no_object_is_wrong_usage(text: str) -> None:
    done = run_command("consult", "?", "--output-schema", text)

    assert done.returncode == 2 and f"'{text}' is not a JSON object." in done.stderr


@pytest.mark.parametrize(
    ("old", "new", "value"),
    [
        ("--threshold", "--confidence-threshold", "2000"),
        ("--max-cost", "--max-cost-usd", "-1"),
        ("--deadline", "--deadline-seconds", "-1"),
    ],
)
def test_an_earlier_spelling_of_an_option_is_the_same_option(old: str, new: str, value: str) -> None:
    refused = [run_command("consult", "?", spelling, value) for spelling in (old, new)]

    assert refused[0].returncode == 2 and f"'{new}'" in refused[0].stderr
    assert refused[0].stderr == refused[1].stderr


def test_a_rule_that_is_given_wins_over_the_saved_one_even_where_it_is_the_default(
    provider: Provider, service: ConsortiumService
) -> None:
    saved = panel("a", stop_on="agreement", max_iterations=7, arbiter="arbiter")

    run = service.opener.open_run(asking("?", consortium=saved, stop_on="arbiter"))

    assert (run.consortium.stop_on, run.consortium.max_iterations) == ("arbiter", 7)


def test_an_empty_list_of_models_is_refused_and_asks_no_default(provider: Provider, service: ConsortiumService) -> None:
    service.store.consortiums.save.sync("default", panel("a", arbiter="arbiter"))

    async def refusal() -> str:
        async with in_process("auto", service) as client:
            return said(await client.call_tool("consult_consortium", {"prompt": "?", "models": []}))

    assert anyio.run(refusal).startswith("models is []: it takes a list of one or more")
    assert provider.count() == 0


def test_python_takes_a_budget_whole_and_a_limit_of_its_own_wins(provider: Provider) -> None:
    ask = partial(consult_sync, "?", models=["a", "b"], arbiter="arbiter", budget=Budget(max_calls=1))

    with pytest.raises(InvalidConsortiumError, match="max_calls=1 "):
        ask()
    with pytest.raises(InvalidConsortiumError, match="max_calls=2 "):
        ask(max_calls=2)
