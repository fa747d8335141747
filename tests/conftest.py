"""Common fixtures: an own llm folder, models behind real HTTP, a store in a temporary folder."""

import importlib.util
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import llm
import pytest
from llm.plugins import pm

from consortium_mcp._util.timing import DEFAULT_TIMING, Timing
from consortium_mcp.models.local.weights import fetch_weights
from consortium_mcp.service.service import ConsortiumService
from consortium_mcp.settings import load_settings
from consortium_mcp.store import Store
from tests import ready
from tests.provider import Provider
from tests.seed_defects import pytest_terminal_summary as pytest_terminal_summary

if TYPE_CHECKING:
    from playwright.sync_api import Browser

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as in a background job of a shell
    signal.signal(signal.SIGINT, signal.default_int_handler)  # otherwise no command could be interrupted

hypothesis.settings.register_profile("same", derandomize=True, deadline=None)
hypothesis.settings.register_profile("random", deadline=None)
hypothesis.settings.load_profile("same")  # so that a run can be repeated; --hypothesis-profile=random has new examples

FOLDERS = ("unit", "doors", "clients", "soak")
"""Folders of tests, each with the marker of its name."""

HAS_LOCAL_EXTRA = importlib.util.find_spec("xllamacpp") is not None

MODELS = ("a", "b", "c", "d", "e", "arbiter", "plain-arbiter", "llama3:8b", "vendor/model:free")
"""The models of every test's llm; `arbiter` supports schemas, `plain-arbiter` and the members do not."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with its folder, skip tests whose extra is missing, and sort the slow ones first."""
    for item in items:
        if item.path.parent.name in FOLDERS:
            item.add_marker(item.path.parent.name)
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")
        if "local_weights" in getattr(item, "fixturenames", ()):
            item.add_marker("local")
        if item.get_closest_marker("local") and not HAS_LOCAL_EXTRA:
            item.add_marker(pytest.mark.skip(reason="needs the extra [local]"))
    items.sort(key=lambda item: item.path.name != "test_soak.py")


@pytest.fixture
def browser() -> "Iterator[Browser]":
    """A headless Chromium: the one that CHROMIUM names, or the system's; with REQUIRE_BROWSER no test is skipped.

    One for each test: the driver's event loop runs for as long as it is open, and tests after it have their own.
    """
    from playwright.sync_api import sync_playwright

    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        reason = "No Chromium is installed: `apt-get install chromium`, or name one with CHROMIUM."
        pytest.fail(reason) if os.environ.get("REQUIRE_BROWSER") else pytest.skip(reason)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])  # as root it needs that
        yield started
        started.close()


@pytest.fixture
def anyio_backend() -> str:
    """llm's own asynchronous models need asyncio."""
    return "asyncio"


@pytest.fixture(autouse=True)
def llm_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """llm's user folder for this test only; no key and no setting of ours comes from outside."""
    for name in list(os.environ):
        if name.startswith("CONSORTIUM_") or name.endswith("_API_KEY"):
            monkeypatch.delenv(name)
    home = tmp_path / "llm"
    home.mkdir()
    monkeypatch.setenv("LLM_USER_PATH", str(home))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    return home


@pytest.fixture
def cold_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands and servers of this test import everything first, as for users, and their pids are their own."""
    monkeypatch.setattr(ready, "is_used", False)


@pytest.fixture(scope="session")
def local_weights() -> Path:
    """The embedded model's real weights, fetched once into the user's cache."""
    return fetch_weights()


@pytest.fixture
def provider(llm_home: Path) -> Iterator[Provider]:
    """The models of MODELS behind a real endpoint on loopback, named in llm's configuration."""
    with Provider() as started:
        started.write_llm_config(llm_home, MODELS, schema=["arbiter"])
        yield started


@pytest.fixture
def path(llm_home: Path) -> Path:
    """Where the test's database is, or will be."""
    return llm_home / "consortium.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    """The test's store."""
    opened = Store(path)
    yield opened
    opened.close()


@pytest.fixture
def timing() -> Timing:
    """The waiting times of the services that a test opens; a module with others has a fixture of its own."""
    return DEFAULT_TIMING


@pytest.fixture
def open_service(timing: Timing) -> Iterator[Callable[..., ConsortiumService]]:
    """Opens services on the test's database, and closes them afterwards; takes settings as keywords."""
    opened: list[ConsortiumService] = []

    def open_one(**flags: object) -> ConsortiumService:
        opened.append(ConsortiumService(load_settings(None, **flags), timing))
        return opened[-1]

    yield open_one
    for service in opened:
        service.close()


@pytest.fixture
def service(open_service: Callable[..., ConsortiumService]) -> ConsortiumService:
    """A service with the default settings."""
    return open_service()


@pytest.fixture
def add_model() -> Iterator[Callable[..., None]]:
    """Registers models with llm for one test, as a plugin does."""
    added: list[object] = []

    def add(model: llm.Model | None, async_model: llm.AsyncModel | None = None) -> None:
        class Plugin:
            @llm.hookimpl
            def register_models(self, register: Callable[..., None]) -> None:
                register(model, async_model)

        added.append(Plugin())
        pm.register(added[-1], name=f"plugin-{len(added)}-of-the-test")

    yield add
    for plugin in added:
        pm.unregister(plugin)


@pytest.fixture
def plugin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path of subprocesses, where a plugin can be installed."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder
