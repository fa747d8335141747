"""Arguments as real clients send them, through a connected client, are understood."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from consortium_mcp.service.service import ConsortiumService
from tests.consulted import consulted
from tests.in_process import in_process
from tests.provider import Provider, verdict
from tests.scripted import panel
from tests.server_process import said, structured


@pytest.mark.parametrize(
    "models", ["a:2", "a, a", '["a:2"]', [{"model": "a", "count": 2}], {"model": "a", "count": 2}], ids=repr
)
async def test_models_are_taken_in_every_form(models: Any, provider: Provider, service: ConsortiumService) -> None:
    asked = {"prompt": "?", "models": models, "arbiter": "arbiter", "dry_run": True}
    async with in_process("auto", service) as client:
        planned = structured(await client.call_tool("consult_consortium", asked))

    (member,) = planned["plan"]["consortium"]["members"]
    assert (member["model"], member["count"]) == ("a", 2)


async def test_null_and_empty_arguments_and_those_of_the_client_are_left_out(
    provider: Provider, service: ConsortiumService
) -> None:
    provider.on("arbiter", verdict("Paris"))
    asked = {"prompt": "?", "models": ["a"], "arbiter": "arbiter", "consortium": "", "strategy": None}
    async with in_process("auto", service) as client:
        result = await client.call_tool("consult_consortium", {**asked, "task_progress": "- [ ] consult"})

    assert structured(result)["answer"] == "Paris"


@pytest.mark.parametrize("who", [{}, {"consortium": "panel"}], ids=repr)
async def test_a_count_that_has_no_effect_is_refused(who: dict[str, str], service: ConsortiumService) -> None:
    service.store.consortiums.save.sync("panel", panel("a"))
    async with in_process("auto", service) as client:
        refused = await client.call_tool("consult_consortium", {"prompt": "?", "count": 3, **who})

    assert refused.is_error and said(refused).startswith("count is for models, and none is named")


@pytest.fixture(params=[lambda run_id: run_id.upper(), lambda run_id: run_id[:20], "consortium://runs/{}".format])
def named(request: pytest.FixtureRequest) -> Iterator[Callable[[str], str]]:
    """How a client names a run."""
    yield request.param


async def test_a_run_is_found_by_its_beginning_and_by_its_uri(
    named: Callable[[str], str], provider: Provider, service: ConsortiumService
) -> None:
    provider.on("arbiter", verdict("Paris"))
    run = await consulted(service, "a")
    async with in_process("auto", service) as client:
        found = structured(await client.call_tool("get_run", {"run_id": named(run.run_id)}))
        rated = await client.call_tool("rate_run", {"run_id": named(run.run_id), "verdict": "correct"})
        follow_up = {"prompt": "And now?", "follow_up_to": named(run.run_id), "dry_run": True}
        followed = await client.call_tool("consult_consortium", follow_up)

    assert found["run_id"] == run.run_id and f"Rated {run.run_id}" in said(rated)
    assert not followed.is_error


async def test_a_beginning_of_several_runs_is_refused_with_two_of_them(
    provider: Provider, service: ConsortiumService
) -> None:
    provider.on("arbiter", verdict("Paris"))
    runs = [await consulted(service, "a", prompt=prompt) for prompt in ("?", "??")]
    common = next(runs[0].run_id[:at] for at in range(26, 0, -1) if runs[1].run_id.startswith(runs[0].run_id[:at]))
    async with in_process("auto", service) as client:
        refused = await client.call_tool("get_run", {"run_id": common})

    assert refused.is_error and said(refused).startswith(f"Several runs begin with {common!r}, as ")


@pytest.mark.parametrize("saved", ["caf\u00e9", "cafe\u0301"], ids=["composed", "decomposed"])
async def test_a_consortium_is_found_in_each_unicode_form_of_its_name(saved: str, service: ConsortiumService) -> None:
    async with in_process("auto", service) as client:
        await client.call_tool("save_consortium", {"name": saved, "models": ["a"]})
        asked = {"prompt": "?", "dry_run": True}
        found = [
            await client.call_tool("consult_consortium", {**asked, "consortium": name})
            for name in ("caf\u00e9", "cafe\u0301")
        ]
        removed = await client.call_tool("remove_consortium", {"name": "cafe\u0301"})

    assert not any(result.is_error for result in [*found, removed])
    assert service.store.consortiums.list_names.sync() == []


async def test_a_consortium_in_another_letter_case_is_suggested(service: ConsortiumService) -> None:
    service.store.consortiums.save.sync("Panel", panel("a"))
    async with in_process("auto", service) as client:
        refused = await client.call_tool("consult_consortium", {"prompt": "?", "consortium": "panel"})

    assert refused.is_error and said(refused).startswith("No consortium named 'panel'. Did you mean 'Panel'?")


@pytest.mark.parametrize("name", ["a|b", "x as y", " panel", "|"])
async def test_a_name_that_is_read_as_something_else_in_a_list_of_members_is_not_saved(
    name: str, service: ConsortiumService
) -> None:
    async with in_process("auto", service) as client:
        refused = await client.call_tool("save_consortium", {"name": name, "models": ["a"]})

    assert refused.is_error and "cannot be a member of another consortium" in said(refused)
    assert service.store.consortiums.list_names.sync() == []
