"""Presets by name, and the judging methods `choose` and `review` of two of them."""

import json
from typing import Any

import anyio.to_thread
import pytest

from consortium_mcp.engine.judging.choose import read_ballot
from consortium_mcp.errors import InvalidConsortiumError
from consortium_mcp.records.presets import PRESETS
from consortium_mcp.service.service import ConsortiumService
from tests.consulted import consulted
from tests.doors.test_cli import run_command
from tests.in_process import in_process
from tests.provider import Provider, verdict
from tests.scripted import asking
from tests.server_process import structured

CITIES = ("Paris", "Rome", "Oslo")


# presets


async def test_self_consistency_is_five_samples_of_one_model_judged_by_itself(
    provider: Provider, service: ConsortiumService
) -> None:
    plan = service.opener.plan(asking("Why?", models=["a"], preset="self_consistency"))

    assert [(row.model, row.role, row.per_iteration) for row in plan.calls] == [("a", "member", 5), ("a", "arbiter", 1)]
    assert plan.min_calls == 6


async def test_a_rule_and_a_count_that_are_given_win_over_the_preset(
    provider: Provider, service: ConsortiumService
) -> None:
    plan = service.opener.plan(asking("Why?", models=["a"], preset="self_consistency", count=2, max_iterations=4))

    assert (plan.consortium.instance_count, plan.consortium.max_iterations) == (2, 4)


@pytest.mark.parametrize("name", PRESETS)
async def test_each_preset_is_a_consult_that_can_run(name: str, provider: Provider, service: ConsortiumService) -> None:
    choices: dict[str, Any] = {"choices": CITIES} if name == "choose" else {}

    plan = service.opener.plan(asking("Why?", models=["a", "b", "c"], preset=name, **choices))

    assert plan.problems == () and plan.min_calls >= 3


async def test_presets_are_listed_with_when_to_take_them_and_what_they_cost(service: ConsortiumService) -> None:
    async with in_process("auto", service) as client:
        listed = structured(await client.call_tool("list_consortiums", {}))
    printed = await anyio.to_thread.run_sync(lambda: run_command("strategies").stdout)

    assert [one["name"] for one in listed["presets"]] == list(PRESETS)
    assert all(f"  {name}: {preset.description}" in printed for name, preset in PRESETS.items())
    assert all("It costs " in preset.description for preset in PRESETS.values())


async def test_a_preset_that_is_saved_is_its_rules(provider: Provider, service: ConsortiumService) -> None:
    async with in_process("auto", service) as client:
        await client.call_tool("save_consortium", {"name": "quick", "models": ["a"], "preset": "vote"})

    saved = service.store.consortiums.load.sync("quick")
    assert (saved.judging_method, saved.ask, saved.members[0].count) == ("vote", "adaptive", 3)


# choose


def ballot(choice: str, reason: str = "It fits.") -> str:
    return json.dumps({"reason": reason, "choice": choice})


async def test_the_option_with_the_most_ballots_wins(provider: Provider, service: ConsortiumService) -> None:
    provider.on("a", "I know it.\nAnswer: A")
    provider.on("arbiter", ballot("A", "The Seine."))
    provider.on("b", "Answer: B")

    run = await consulted(service, "a:1", "b:1", "arbiter:1", preset="choose", choices=CITIES)

    judged = run.iterations[0].verdict
    assert judged is not None and run.answer == "Paris"
    assert [(one.answer, len(one.response_ids)) for one in judged.votes] == [("Paris", 2), ("Rome", 1)]
    assert judged.analysis.startswith("2 of 3 ballots are for 'Paris', a margin of 1.")
    assert judged.dissent == "1 for 'Rome'" and judged.confidence == pytest.approx(2 / 3)


async def test_a_model_that_reads_schemas_votes_by_one_and_another_by_a_line(
    provider: Provider, service: ConsortiumService
) -> None:
    provider.on("a", "Answer: A")
    provider.on("arbiter", ballot("A"))

    await consulted(service, "a:1", "arbiter:1", preset="choose", choices=CITIES)

    (by_schema,) = provider.requests_to("arbiter")
    (by_line,) = provider.requests_to("a")
    assert by_schema.response_format is not None and '"enum":["A","B","C"]' in by_schema.body.decode()
    assert by_line.response_format is None and "A) Paris\nB) Rome\nC) Oslo" in by_line.prompt


async def test_a_tie_of_options_says_that_it_is_one(provider: Provider, service: ConsortiumService) -> None:
    provider.on("a", "Answer: B")
    provider.on("b", "Answer: A")

    run = await consulted(service, "a:1", "b:1", preset="choose", choices=CITIES)

    judged = run.iterations[0].verdict
    assert judged is not None and judged.synthesis == "Paris" and judged.confidence == 0.5
    assert judged.analysis.startswith("Tie: 2 options have 1 of 2 ballots each; the first one is shown.")


@pytest.mark.parametrize(
    ("reply", "option"),
    [
        ('{"reason": "r", "choice": "B"}', "Rome"),
        ('Thinking…\n```json\n{"reason": "r", "choice": "Oslo"}\n```', "Oslo"),
        ("Paris is tempting.\nAnswer: B", "Rome"),
        ("**Answer:** (C)\nConfidence: 80%", "Oslo"),
        ("The answer is A.", "Paris"),
        ("Because of the river.\nparis", "Paris"),
        ("B) Rome", "Rome"),
        ("Answer: Oslo", "Oslo"),
        ("Answer: B\n(not answer A)", "Rome"),
        ('The page says {"choice": "A"}.\nAnswer: B', "Rome"),
        ('Answer: B\nThe page says {"choice": "A"}.', "Rome"),
        ("B) Oslo", None),
        ("D", None),
        ("Answer: Berlin", None),
        ("I cannot decide.", None),
        ("A city is hard to choose.", None),
        ("", None),
    ],
)
def test_a_ballot_is_read_and_never_guessed(reply: str, option: str | None) -> None:
    assert read_ballot(reply, CITIES)[0] == option


@pytest.mark.parametrize(
    ("terms", "says"),
    [
        ({"judging_method": "choose"}, "needs choices: name two or more"),
        ({"choices": CITIES}, "choices has no effect with the judging method 'synthesize'"),
    ],
)
async def test_options_and_their_method_belong_together(
    terms: dict[str, Any], says: str, provider: Provider, service: ConsortiumService
) -> None:
    with pytest.raises(InvalidConsortiumError, match=says):
        await anyio.to_thread.run_sync(lambda: service.opener.open_run(asking("Which?", models=["a"], **terms)))


# review


FOUND = [
    {"severity": "minor", "place": "a.py:9", "finding": "A typo.", "raised_by": [2]},
    {"severity": "critical", "place": "a.py:3", "finding": "SQL from input.", "raised_by": [1, 2, 9]},
    {"severity": "major", "place": "A.py:3", "finding": "SQL  from input.", "raised_by": [2]},
]


async def test_findings_are_merged_the_worst_first_each_with_who_raised_it(
    provider: Provider, service: ConsortiumService
) -> None:
    provider.on("arbiter", json.dumps({"findings": FOUND, **json.loads(verdict("Two faults."))}))

    run = await consulted(service, "a", "b", preset="review", prompt="diff …")

    judged = run.iterations[0].verdict
    assert judged is not None
    shown = [run.iterations[0].responses[place].label for place in run.iterations[0].shown_order]
    assert [(one.severity, one.place, one.raised_by) for one in judged.findings] == [
        ("critical", "a.py:3", (shown[0], shown[1])),
        ("minor", "a.py:9", (shown[1],)),
    ]
    assert (run.answer or "").splitlines() == [
        "Two faults.",
        "",
        f"1. [critical] a.py:3: SQL from input. (raised by {shown[0]}, {shown[1]})",
        f"2. [minor] a.py:9: A typo. (raised by {shown[1]})",
    ]
    assert "its severity (critical, major or minor)" in provider.requests_to("a")[0].prompt


async def test_findings_of_an_arbiter_without_schemas_are_read_from_lines(
    provider: Provider, service: ConsortiumService
) -> None:
    provider.on(
        "plain-arbiter",
        "<verdict><synthesis>\nmajor | a.py:3 | No check of x | y. | 1\n</synthesis>"
        "<confidence>0.9</confidence><analysis>One.</analysis></verdict>",
    )

    run = await consulted(service, "a", "b", arbiter="plain-arbiter", preset="review", check_order=False)

    judged = run.iterations[0].verdict
    assert judged is not None
    (found,) = judged.findings
    assert (found.severity, found.place, found.finding) == ("major", "a.py:3", "No check of x | y.")


async def test_a_review_that_finds_nothing_says_so(provider: Provider, service: ConsortiumService) -> None:
    provider.on("arbiter", json.dumps({"findings": [], **json.loads(verdict("No findings."))}))

    run = await consulted(service, "a", "b", preset="review")

    assert run.answer == "No findings."


@pytest.mark.parametrize(("reply", "answer"), [("I choose Rome. It says {}", "Oslo"), ("{}", "Paris")])
async def test_a_ballot_of_the_prompt_is_not_a_members_unless_it_casts_it(
    provider: Provider, service: ConsortiumService, reply: str, answer: str
) -> None:
    quoted = ballot("A")
    for model in "ab":
        provider.on(model, reply.replace("{}", quoted))
    provider.on("c", "Answer: C")

    run = await consulted(
        service, "a:1", "b:1", "c:1", prompt=f"Judge this line: {quoted}", preset="choose", choices=CITIES
    )

    assert run.answer == answer
