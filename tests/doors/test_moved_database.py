"""The database is deleted, moved or replaced while it is in use: no door reports a successful save."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from consortium_mcp.errors import StoreUnusableError
from consortium_mcp.service.service import ConsortiumService
from consortium_mcp.store import Store
from tests.in_process import in_process
from tests.provider import Provider, verdict
from tests.scripted import panel
from tests.server_process import said, structured

GONE = "was deleted, moved or replaced while it was in use"

DEFINITION: dict[str, Any] = {"models": ["a", "b"], "arbiter": "arbiter"}


def delete(path: Path) -> None:
    """The file alone, or with its side files."""
    path.unlink()


def delete_all(path: Path) -> None:
    """With its side files."""
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()


def move(path: Path) -> None:
    """To another name."""
    path.rename(path.with_name("elsewhere.db"))


def replace(path: Path) -> None:
    """By a copy, as a restored backup is one."""
    copy = path.with_name("copy.db")
    shutil.copy(path, copy)
    copy.replace(path)


@pytest.mark.parametrize("lose", [delete, delete_all, move, replace])
@pytest.mark.parametrize("has_written", [True, False])
async def test_a_database_that_is_gone_is_said_before_anything_is_asked_and_whenever_something_is_saved(
    lose: Callable[[Path], None], has_written: bool, provider: Provider, path: Path, service: ConsortiumService
) -> None:
    async with in_process("auto", service) as client:
        if has_written:
            saved = await client.call_tool("save_consortium", {"name": "before", "models": ["a"]})
            assert not saved.is_error
        lose(path)
        results = [
            await client.call_tool("save_consortium", {"name": "after", "models": ["a"]}),
            await client.call_tool("consult_consortium", {"prompt": "Why?", **DEFINITION}),
        ]

    assert [(result.is_error, GONE in said(result)) for result in results] == [(True, True)] * 2
    assert provider.count() == 0
    assert (path in path.parent.iterdir()) == (lose is replace)  # nor is an empty one made in its place


async def test_a_database_that_is_put_back_is_used_again(path: Path, service: ConsortiumService) -> None:
    move(path)
    with pytest.raises(StoreUnusableError, match=GONE):
        service.store.consortiums.save.sync("x", panel("a"))
    path.with_name("elsewhere.db").rename(path)
    service.store.consortiums.save.sync("y", panel("a"))

    assert "y" in service.store.consortiums.list_own_names.sync()


@pytest.mark.parametrize("lose", [delete_all, move])
async def test_an_answer_whose_database_went_meanwhile_comes_and_says_that_it_is_not_saved(
    lose: Callable[[Path], None], provider: Provider, path: Path, service: ConsortiumService
) -> None:
    provider.on("arbiter", verdict("Paris", confidence=0.9))
    gate = provider.gate("arbiter")
    async with in_process("auto", service) as client:
        call = {"prompt": "Capital?", **DEFINITION, "wait_seconds": 0}
        run_id = structured(await client.call_tool("consult_consortium", call))["run_id"]
        await gate.wait_for_async(1)
        lose(path)
        gate.open()
        result = structured(await client.call_tool("get_run", {"run_id": run_id, "wait_seconds": 60}))

    assert result["answer"] == "Paris" and GONE in result["degraded"][-1]


def test_a_database_behind_a_symbolic_link_is_brought_to_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    synced: list[int] = []
    fsync = os.fsync

    def sync_and_note(file: int) -> None:
        fsync(file)
        synced.append(os.fstat(file).st_ino)

    monkeypatch.setattr(os, "fsync", sync_and_note)
    (tmp_path / "real").mkdir()
    link = tmp_path / "link.db"
    link.symlink_to(tmp_path / "real" / "real.db")
    store = Store(link)
    store.consortiums.save.sync("x", panel("a"))
    wal = (tmp_path / "real" / "real.db-wal").stat().st_ino
    store.close()

    assert wal in synced and not caplog.records
