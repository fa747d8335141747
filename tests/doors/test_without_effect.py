"""A rule that would have no effect is refused at every door, with what would give it one."""

import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import anyio.to_thread
import pytest

from consortium_mcp import create_consortium
from consortium_mcp.engine.judging import judging_methods
from consortium_mcp.errors import InvalidConsortiumError
from consortium_mcp.service.service import ConsortiumService
from tests.doors.test_cli import run_command
from tests.doors.test_plugin import save
from tests.doors.test_request import WAYS, newest, options
from tests.in_process import in_process
from tests.paths import ROOT
from tests.provider import Provider, verdict
from tests.scripted import asking, panel
from tests.server_process import said

pytestmark = pytest.mark.anyio

Way = Callable[[ConsortiumService, dict[str, Any]], Awaitable[None]]

BY_ARBITER = "synthesize, pick, rank or review"

WITHOUT_EFFECT: list[tuple[dict[str, Any], str]] = [
    ({"judging_method": "vote", "arbiter": "b"}, f"arbiter has no effect with the judging method 'vote'.*{BY_ARBITER}"),
    ({"preset": "vote", "arbiter": "b"}, "arbiter has no effect with the judging method 'vote'"),
    (
        {"judging_method": "choose", "choices": ["x", "y"], "check_order": False},
        f"check.order has no effect with the judging method 'choose'.*{BY_ARBITER}",
    ),
    ({"embedding_model": "meaning"}, "embedding.model has no effect with the judging method 'synthesize'.*vote"),
    ({"choices": ["x", "y"]}, "choices has no effect with the judging method 'synthesize'.*choose"),
    ({"strategy": "debate", "max_iterations": 1}, "strategy has no effect in a single iteration.*iterations of 2"),
    ({"arbiter": "b|"}, r"'b\|' has a '\|' without a model beside it"),
]
"""Fields beside the two members, and what is said of them; `.` stands where the command line has another spelling."""


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("fields", "says"), WITHOUT_EFFECT)
async def test_a_rule_without_effect_is_refused_by_each_door_to_a_consult(
    way: Way, fields: dict[str, Any], says: str, provider: Provider, service: ConsortiumService
) -> None:
    save()

    with pytest.raises(Exception, match=says):
        await way(service, fields)

    assert provider.count() == 0


ALONE: list[tuple[list[str], dict[str, Any], str]] = [
    (["a"], {"ask": "adaptive"}, "ask has no effect with a single instance"),
    (["a"], {"patience_seconds": 9.0}, "patience.seconds has no effect with a single instance"),
    (["a"], {"judging_method": "vote", "embedding_model": "meaning"}, "model has no effect with a single instance"),
    (["a as 3"], {}, "The role in 'a as 3' is a number. Write a count as in 'model:3'"),
    (["a|"], {}, r"'a\|' has a '\|' without a model beside it"),
    (["a||b"], {}, r"'a\|\|b' has a '\|' without a model beside it"),
]
"""The same of the models that are named."""


@pytest.mark.parametrize(("models", "rules", "says"), ALONE + [(["a", "b"], *row) for row in WITHOUT_EFFECT])
async def test_a_rule_without_effect_is_refused_by_each_door_to_a_definition(
    models: list[str], rules: dict[str, Any], says: str, provider: Provider, service: ConsortiumService
) -> None:
    typed = [*(word for model in models for word in ("-m", model)), *options(rules)]
    async with in_process("auto", service) as client:
        asked = {"models": models, **rules}
        refused = [
            said(await client.call_tool("save_consortium", {"name": "tool", **asked})),
            said(await client.call_tool("consult_consortium", {"prompt": "?", "dry_run": True, **asked})),
        ]
    for command in (("save", "command"), ("consult", "?", "--dry-run")):
        done = await anyio.to_thread.run_sync(partial(run_command, *command, *typed))
        assert done.returncode == 2
        refused.append(done.stderr)
    with pytest.raises(InvalidConsortiumError, match=says):
        create_consortium(models, **rules)

    for sentence in refused:
        assert re.search(says, " ".join(sentence.split())), sentence
    assert service.store.consortiums.list_names.sync() == []


async def test_a_default_that_is_given_is_no_mistake(provider: Provider, service: ConsortiumService) -> None:
    given: dict[str, Any] = {
        "judging_method": "vote",
        "check_order": True,
        "ask": "all",
        "strategy": "refine",
        "max_iterations": 1,
    }

    run = service.opener.open_run(asking("?", models=["a", "b"], **given))

    assert run.consortium.judging_method == "vote"


async def test_an_arbiter_that_groups_the_answers_of_a_vote_has_an_effect(
    provider: Provider, service: ConsortiumService
) -> None:
    given: dict[str, Any] = {"judging_method": "vote", "group_answers": True, "arbiter": "arbiter"}

    run = service.opener.open_run(asking("?", models=["a", "b"], **given))

    assert run.consortium.arbiter == "arbiter"


async def test_what_was_saved_is_no_mistake_of_a_call_that_changes_its_method(
    provider: Provider, service: ConsortiumService
) -> None:
    saved = panel("a", "b", arbiter="arbiter", check_order=False, strategy="debate", max_iterations=3)

    run = service.opener.open_run(asking("?", consortium=saved, judging_method="vote", max_iterations=1))

    assert (run.consortium.judging_method, run.consortium.strategy) == ("vote", "debate")


async def test_the_options_of_a_vote_by_choice_may_stand_unused(provider: Provider, service: ConsortiumService) -> None:
    saved = panel("a", "b", arbiter="arbiter", judging_method="choose", choices=("x", "y"))

    run = service.opener.open_run(asking("?", consortium=saved, judging_method="vote"))

    assert run.consortium.choices == ("x", "y")


async def test_a_replay_refuses_an_arbiter_that_its_method_does_not_ask(
    provider: Provider, service: ConsortiumService
) -> None:
    save()
    provider.on("arbiter", verdict("Paris"))
    await WAYS[0](service, {})

    replay = ("runs", "replay", newest(service).run_id, "--judging-method", "vote", "--arbiter", "b")
    done = await anyio.to_thread.run_sync(lambda: run_command(*replay))

    assert "arbiter has no effect with the judging method 'vote'" in done.stderr


def test_the_page_says_which_methods_read_a_rule() -> None:
    page = (ROOT / "docs/strategies.md").read_text()
    table = page.partition("## Rules without effect")[2].partition("## Presets")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| (`.*`) \|$", table, re.MULTILINE))
    read = {rule for method in judging_methods().values() for rule in method.reads or ()}

    methods = {rule: [one.name for one in judging_methods().values() if rule in (one.reads or ())] for rule in read}
    assert {rule: re.findall(r"\w+", rows[rule]) for rule in read} == methods
