"""Given settings apply to the whole consult, and none of them is written to the environment."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llm
import pytest

from consortium_mcp import ModelUnavailableError, Settings, consult, create_consortium
from consortium_mcp.llm_plugin import models as llm_models
from consortium_mcp.service.service import ConsortiumService
from consortium_mcp.settings import settings_in_use, using
from consortium_mcp.text.masking import masked
from tests.doors.test_cli import run_command
from tests.in_process import in_process
from tests.provider import Provider, verdict

OTHER_TOKEN = "words that nobody knows"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Settings:
    """Settings whose database is not the environment's."""
    return Settings(database=tmp_path / "elsewhere.db")


def is_unused(database: Path) -> bool:
    """Whether there is no such database."""
    return not database.exists()


async def save(service: ConsortiumService, name: str, *models: str, arbiter: str = "arbiter") -> None:
    """Save a consortium as a client does."""
    async with in_process("auto", service) as client:
        asked = {"name": name, "models": list(models), "arbiter": arbiter, "max_iterations": 1}
        assert not (await client.call_tool("save_consortium", asked)).is_error


@pytest.fixture
async def nested(provider: Provider, elsewhere: Settings) -> None:
    """`outer`, of which `inner` is a member, saved there and nowhere else."""
    provider.on("arbiter", verdict("inner says Paris"))
    provider.on("plain-arbiter", verdict("Paris"))
    with ConsortiumService(elsewhere) as service:
        await save(service, "inner", "b")
        await save(service, "outer", "a", "inner", arbiter="plain-arbiter")


async def test_a_consortium_inside_a_consortium_is_looked_up_in_the_database_of_the_settings(
    provider: Provider, nested: None, elsewhere: Settings, path: Path
) -> None:
    run = await consult("Capital?", consortium="outer", settings=elsewhere)

    assert (run.answer, run.degraded, provider.count("b")) == ("Paris", (), 1)
    assert is_unused(path)


async def test_a_server_looks_members_up_in_its_own_database(
    provider: Provider, nested: None, elsewhere: Settings, path: Path
) -> None:
    with ConsortiumService(elsewhere) as service:
        async with in_process("auto", service) as client:
            listed = (await client.call_tool("list_models", {"query": "inner"})).structured_content
            asked = {"prompt": "Capital?", "models": ["inner"], "arbiter": "plain-arbiter"}
            done = (await client.call_tool("consult_consortium", asked)).structured_content

    assert listed and [one["model"] for one in listed["models"]] == ["inner"]
    assert done and (done["answer"], done["degraded"]) == ("Paris", [])
    assert is_unused(path)


async def test_what_is_saved_in_the_environments_database_is_no_member_under_other_settings(
    provider: Provider, elsewhere: Settings, service: ConsortiumService
) -> None:
    await save(service, "at-home", "a")

    with pytest.raises(ModelUnavailableError, match="llm knows no model 'at-home'"):
        await consult("?", models=["at-home"], settings=elsewhere)


async def test_a_definition_takes_a_name_with_a_colon_for_a_consortium_that_is_saved_there(
    provider: Provider, elsewhere: Settings
) -> None:
    with ConsortiumService(elsewhere) as service:
        await save(service, "team:2", "a")

    given, not_given = (create_consortium(["team:2"], settings=settings) for settings in (elsewhere, None))

    assert (given.members[0].model, not_given.members[0].model) == ("team:2", "team")


async def test_a_consult_inside_a_call_has_the_settings_of_the_run_that_asks(
    provider: Provider, elsewhere: Settings, add_model: Callable[..., None], path: Path
) -> None:
    provider.on("arbiter", verdict("Paris"))

    class Asking(llm.AsyncModel):
        model_id = "asking"

        async def execute(self, *_: Any, **__: Any) -> Any:
            yield (await consult("Capital?", models=["a"], arbiter="arbiter", max_iterations=1)).answer

    add_model(None, Asking())
    run = await consult("Capital?", models=["asking"], arbiter="arbiter", settings=elsewhere, max_iterations=1)

    assert (run.answer, run.degraded) == ("Paris", ()) and is_unused(path)


@pytest.mark.local
@pytest.mark.parametrize("is_given", [True, False])
async def test_the_weights_are_those_of_the_settings_and_not_the_environments(
    is_given: bool, elsewhere: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONSORTIUM_LOCAL_MODEL", str(tmp_path / "environment.gguf"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    weights = tmp_path / "given.gguf" if is_given else None

    with pytest.raises(ModelUnavailableError) as raised:
        await consult("?", models=["local"], settings=elsewhere.model_copy(update={"local_model": weights}))

    assert ("given.gguf" if is_given else f"not in {tmp_path / 'cache'}") in str(raised.value)


async def test_the_embedded_model_answers_from_the_weights_of_the_settings(
    local_weights: Path, elsewhere: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "mine.gguf"
    weights.symlink_to(local_weights)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    run = await consult(
        "What is the capital of France?",
        models=["local"],
        judging_method="vote",
        settings=elsewhere.model_copy(update={"local_model": weights}),
    )

    assert run.iterations[0].responses[0].ok


def test_a_problem_that_llm_shows_is_one_under_the_settings_of_its_listing(
    elsewhere: Settings, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ConsortiumService(elsewhere):
        pass

    assert llm_models.Registered(elsewhere).problems == {}
    assert not path.exists()


def test_a_flag_of_serve_reaches_what_it_serves_and_is_not_written_to_the_environment(
    provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag = str(tmp_path / "flag.db")
    before = dict(os.environ)

    done = run_command("serve", "--database", flag, "--local-model", "none.gguf")

    assert done.returncode == 0 and Path(flag).exists() and dict(os.environ) == before


def test_settings_in_use_end_with_what_is_done_with_them(elsewhere: Settings) -> None:
    with using(elsewhere), using(None):
        inside = settings_in_use()

    assert (inside, settings_in_use()) == (elsewhere, None)


def test_the_token_of_the_settings_in_use_is_masked() -> None:
    with using(Settings.model_validate({"token": OTHER_TOKEN})):
        inside = masked(f"no {OTHER_TOKEN}")

    assert (inside, masked(OTHER_TOKEN)) == ("no …", OTHER_TOKEN)
