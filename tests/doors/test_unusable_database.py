"""A database that cannot be used when a server starts: the server answers, and every tool says why and what to do."""

import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, closing, contextmanager
from pathlib import Path

import httpx2
import pytest
from mcp import Client

from consortium_mcp.store import Store
from tests.doors.test_disk import SmallDisk, newer
from tests.provider import Provider, verdict
from tests.server_process import connected, http_client, http_server, said, structured

pytestmark = pytest.mark.anyio

Make = Callable[[Path], AbstractContextManager[Path]]

CALLS: dict[str, dict[str, object]] = {
    "consult_consortium": {"prompt": "?", "models": ["a"]},
    "list_consortiums": {},
    "list_models": {},
    "list_runs": {},
    "get_run": {"run_id": "01aaaa"},
    "save_consortium": {"name": "panel", "models": ["a"]},
    "remove_consortium": {"name": "panel"},
    "cancel_run": {"run_id": "01aaaa"},
    "rate_run": {"run_id": "01aaaa", "verdict": "correct"},
}
"""A call of each tool."""


@contextmanager
def a_folder(path: Path) -> Iterator[Path]:
    path.mkdir()
    yield path


@contextmanager
def no_sqlite_file(path: Path) -> Iterator[Path]:
    path.write_text("a shopping list\n" * 1000)
    yield path


@contextmanager
def a_newer_release(path: Path) -> Iterator[Path]:
    newer(path)
    yield path


@contextmanager
def without_rights(path: Path) -> Iterator[Path]:
    yield Path("/sys/consortium.db")  # root may not write there either


@contextmanager
def in_no_folder(path: Path) -> Iterator[Path]:
    path.write_text("a file")
    yield path / "consortium.db"


@contextmanager
def locked(path: Path) -> Iterator[Path]:
    Store(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("BEGIN EXCLUSIVE")
        yield path


@contextmanager
def a_full_disk(path: Path) -> Iterator[Path]:
    path.mkdir()
    disk = SmallDisk(path)
    disk.fill()
    yield disk.path
    disk.close()


UNUSABLE: dict[Make, str] = {
    a_folder: "name another",
    no_sqlite_file: "move it away or name another one with CONSORTIUM_DATABASE.",
    a_newer_release: "Update with `pip install -U consortium-mcp`, or name another file with CONSORTIUM_DATABASE.",
    without_rights: "check the permissions of the file and its folder",
    in_no_folder: "name another file with CONSORTIUM_DATABASE",
    locked: "another process has held it for too long: end that process or try again",
    a_full_disk: "the disk is full: free some space",
}
"""What makes a database unusable, and the next step that every tool names."""


@asynccontextmanager
async def served(transport: str, path: Path, tmp_path: Path) -> AsyncIterator[Client]:
    """A client of a server of its own with this database."""
    if transport == "stdio":
        async with connected("auto", tmp_path / "stderr", CONSORTIUM_DATABASE=str(path)) as client:
            yield client
        return
    with http_server(tmp_path / "stderr", CONSORTIUM_DATABASE=str(path)) as (_, url):
        async with http_client(url, "auto") as client:
            yield client


@pytest.mark.parametrize(
    ("make", "transport"),
    [(make, "stdio") for make in UNUSABLE] + [(make, "http") for make in UNUSABLE if make is not locked],
)
async def test_every_tool_says_why_the_database_cannot_be_used(
    make: Make, transport: str, provider: Provider, tmp_path: Path
) -> None:
    calls = dict(list(CALLS.items())[:1]) if make is locked else CALLS  # each waits half a minute for the lock
    with make(tmp_path / "broken") as path:
        async with served(transport, path, tmp_path) as client:
            tools = {tool.name for tool in (await client.list_tools()).tools}
            refused = [await client.call_tool(tool, arguments) for tool, arguments in calls.items()]

    assert tools == set(CALLS)
    for result in refused:
        assert result.is_error and "database" in said(result) and UNUSABLE[make] in said(result)
    assert provider.count() == 0


@pytest.mark.parametrize("transport", ["stdio", "http"])
async def test_a_database_that_is_mended_is_used_without_a_new_start(
    transport: str, provider: Provider, tmp_path: Path
) -> None:
    provider.on("arbiter", verdict("Paris"))
    path, ask = tmp_path / "broken.db", {"prompt": "?", "models": ["a"], "arbiter": "arbiter"}
    path.write_text("a shopping list\n" * 1000)
    async with served(transport, path, tmp_path) as client:
        refused = await client.call_tool("consult_consortium", ask)
        path.unlink()
        answered = await client.call_tool("consult_consortium", ask)
        assert answered.is_error is (transport == "http")
        while said(answered).startswith("The database can be used again."):
            answered = await client.call_tool("consult_consortium", ask)

    assert refused.is_error and structured(answered)["answer"] == "Paris"


async def test_a_server_without_its_database_is_alive_and_not_ready(tmp_path: Path) -> None:
    path = tmp_path / "broken.db"
    path.write_text("a shopping list\n" * 1000)
    with http_server(tmp_path / "stderr", CONSORTIUM_DATABASE=str(path)) as (_, url):
        async with httpx2.AsyncClient(base_url=url.removesuffix("/mcp")) as client:
            health, ready = await client.get("/healthz"), await client.get("/readyz")

    assert (health.status_code, ready.status_code) == (200, 503)
    assert json.loads(ready.text) == {"ready": False, "why": "the database cannot be opened; the log has the reason"}
    assert f"The database {path} cannot be used" in (tmp_path / "stderr").read_text()
