"""llm options of each member and of the arbiter: one syntax at every door, checked first, sent, and stored."""

import json
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest

from consortium_mcp.errors import InvalidConsortiumError, ModelUnavailableError
from consortium_mcp.records.consortium import parse_members, split_options
from consortium_mcp.reports.markdown import transcript
from consortium_mcp.service.service import ConsortiumService
from tests.consulted import consulted
from tests.doors.test_cli import run_command
from tests.in_process import in_process
from tests.provider import Provider, verdict
from tests.scripted import asking, panel
from tests.server_process import structured


def sent(provider: Provider, model: str, name: str) -> list[Any]:
    """A value in the requests to a model, in the order of their arrival; None where a request has none."""
    return [request.options.get(name) for request in provider.requests_to(model)]


# the syntax


@pytest.mark.parametrize(
    ("text", "member"),
    [
        ('a {"temperature": 1}', 'a:1 {"temperature": 1}'),
        ('a:2 {"temperature": 0.5, "stop": "}"} as skeptic', 'a:2 {"temperature": 0.5, "stop": "}"} as skeptic'),
        ('a|b:3 {"max_tokens": 9}', 'a|b:3 {"max_tokens": 9}'),
        ("a as one who writes {braces}", "a:1 as one who writes {braces}"),
        ("a {}", "a:1"),
    ],
)
def test_options_stand_between_the_model_and_its_role(text: str, member: str) -> None:
    assert [str(one) for one in parse_members([text], lambda name: name in "ab")] == [member]


def test_a_member_reads_back_as_it_is_written() -> None:
    (one,) = parse_members(['a:2 {"temperature": 1} as skeptic'], lambda name: name == "a")

    assert parse_members([str(one)], lambda name: name == "a") == [one]


def test_one_model_with_different_options_is_two_members() -> None:
    texts = ['a {"temperature": 0}', 'a {"temperature": 1}', 'a:2 {"temperature": 1}']

    assert [str(one) for one in parse_members(texts, lambda name: name == "a")] == [
        'a:1 {"temperature": 0}',
        'a:3 {"temperature": 1}',
    ]


@pytest.mark.parametrize("text", ["a {temperature: 1}", 'a {"temperature": 1', 'a {"temperature": 1} skeptic'])
def test_options_that_are_no_json_object_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidConsortiumError, match="are not a JSON object. Write them as in 'gpt-5"):
        split_options(text)


def test_options_after_a_role_are_refused_and_not_taken_as_its_words() -> None:
    with pytest.raises(InvalidConsortiumError, match="stand after the role. Write them before it, as in 'gpt-5"):
        split_options('a as skeptic {"temperature": 1}')


# what is sent


async def test_each_member_and_the_arbiter_are_asked_with_their_own_options(
    provider: Provider, service: ConsortiumService
) -> None:
    provider.on("arbiter", verdict())
    async with in_process("auto", service) as client:
        asked = {
            "prompt": "Why?",
            "models": ['a {"temperature": 0.1}', 'b {"max_tokens": 77}'],
            "arbiter": 'arbiter {"temperature": 0}',
            "llm_options": {"temperature": 0.9},
            "wait_seconds": 60,
        }
        result = structured(await client.call_tool("consult_consortium", asked))

    assert (sent(provider, "a", "temperature"), sent(provider, "b", "temperature")) == ([0.1], [0.9])
    assert (sent(provider, "b", "max_tokens"), sent(provider, "arbiter", "temperature")) == ([77], [0])
    run = service.store.runs.load.sync(result["run_id"])
    assert (run.consortium.arbiter, run.consortium.arbiter_options) == ("arbiter", {"temperature": 0})
    assert [one.options for one in run.iterations[0].responses] == [
        {"temperature": 0.1},
        {"temperature": 0.9, "max_tokens": 77},
    ]
    assert 'a#1 {"temperature": 0.1} (' in transcript(run)


async def test_the_command_takes_the_same_syntax_and_options_for_all(
    provider: Provider, service: ConsortiumService
) -> None:
    provider.on("arbiter", verdict())
    typed = ("-m", 'a {"temperature": 0.1}', "-m", "b", "--arbiter", "arbiter", "-o", "temperature", "0.7")
    done = await anyio.to_thread.run_sync(lambda: run_command("consult", "Why?", *typed))

    assert done.returncode == 0, done.stderr
    assert (sent(provider, "a", "temperature"), sent(provider, "b", "temperature")) == ([0.1], [0.7])
    assert sent(provider, "arbiter", "temperature") == [0.7]


async def test_a_saved_consortium_keeps_its_options_and_another_arbiter_drops_the_first_ones(
    provider: Provider, service: ConsortiumService
) -> None:
    saved = panel("a", arbiter='arbiter {"temperature": 0}')
    service.store.consortiums.save.sync("panel", saved)

    kept = service.store.consortiums.load.sync("panel")

    assert kept == saved and kept.with_rules({"max_iterations": 2}).arbiter_options == {"temperature": 0}
    assert kept.with_rules({"arbiter": "b"}).arbiter_options == {}


# defaults and seeds


async def test_what_llm_models_options_set_says_holds_unless_an_option_is_named(
    provider: Provider, service: ConsortiumService, llm_home: Path
) -> None:
    (llm_home / "model_options.json").write_text(json.dumps({"a": {"temperature": "0.3", "max_tokens": "50"}}))
    provider.on("arbiter", verdict())

    run = await consulted(service, 'a {"max_tokens": 60}', "b")

    assert (sent(provider, "a", "temperature"), sent(provider, "a", "max_tokens")) == ([0.3], [60])
    assert sent(provider, "b", "temperature") == [None]
    assert run.iterations[0].responses[0].options == {"temperature": 0.3, "max_tokens": 60}


async def test_a_default_of_llm_that_the_model_does_not_take_names_the_command_that_removes_it(
    provider: Provider, service: ConsortiumService, llm_home: Path
) -> None:
    (llm_home / "model_options.json").write_text(json.dumps({"a": {"temperature": "hot"}}))

    with pytest.raises(ModelUnavailableError, match=r"`llm models options clear a temperature` removes it\.$"):
        await anyio.to_thread.run_sync(lambda: service.opener.open_run(asking("Why?", models=["a"])))

    assert provider.count() == 0


async def test_the_instances_of_one_member_have_different_seeds_the_same_in_each_iteration(
    provider: Provider, service: ConsortiumService
) -> None:
    provider.on("arbiter", [verdict(confidence=0.1), verdict("another", confidence=0.1)])

    run = await consulted(service, "a:3", "b", max_iterations=2)

    seeds: list[Any] = [one.options["seed"] for one in run.iterations[0].responses[:3]]
    assert len(set(seeds)) == 3 and sent(provider, "b", "seed") == [None, None]
    assert sorted(sent(provider, "a", "seed")) == sorted(seeds * 2)


async def test_a_seed_that_is_named_is_the_seed_of_all(provider: Provider, service: ConsortiumService) -> None:
    provider.on("arbiter", verdict())

    await consulted(service, 'a:2 {"seed": 5}')

    assert sent(provider, "a", "seed") == [5, 5]


# checked first, and planned


@pytest.mark.parametrize(
    "terms",
    [
        {"models": ['a {"temprature": 1}']},
        {"models": ['b|a {"temprature": 1}']},
        {"models": ["b"], "arbiter": 'a {"temprature": 1}'},
        {"models": ["a"], "llm_options": {"temprature": 1}},
    ],
)
async def test_an_option_that_the_model_does_not_take_is_refused_before_the_first_call(
    terms: dict[str, Any], provider: Provider, service: ConsortiumService
) -> None:
    with pytest.raises(ModelUnavailableError, match="does not take the option 'temprature'"):
        await anyio.to_thread.run_sync(lambda: service.opener.open_run(asking("Why?", **terms)))

    assert provider.count() == 0


async def test_the_plan_has_the_options_of_each(provider: Provider, service: ConsortiumService) -> None:
    terms: dict[str, Any] = {"models": ['a {"temperature": 0.1}', 'a:2 {"temperature": 1}'], "arbiter": "arbiter"}

    plan = service.opener.plan(asking("Why?", **terms, llm_options={"max_tokens": "9"}))

    assert [(row.model, row.per_iteration, row.options) for row in plan.calls] == [
        ("a", 1, {"max_tokens": 9, "temperature": 0.1}),
        ("a", 2, {"max_tokens": 9, "temperature": 1.0}),
        ("arbiter", 1, {"max_tokens": 9}),
    ]
