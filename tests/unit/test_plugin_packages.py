"""The command that adds a plugin, for each kind of installation."""

import os
import re
import sys
from pathlib import Path

import pytest

from consortium_mcp.models.plugin_packages import IMAGE_PREFIX, package_command, plugin_sentence
from consortium_mcp.models.providers import PROVIDERS, provider_of_model
from tests.paths import ROOT
from tests.plugins import install_plugin


@pytest.fixture(autouse=True)
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder with programs."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def said(prefix: Path | str, *packages: str) -> str:
    """The sentence about an installation."""
    return str(package_command(packages or ["llm-x"], str(prefix)))


def test_an_image_is_built_with_its_plugins() -> None:
    assert said(IMAGE_PREFIX) == "`docker build --build-arg PLUGINS=llm-x .` builds the image with it"
    assert "--build-arg 'PLUGINS=llm-x llm-y' ." in said(IMAGE_PREFIX, "llm-x", "llm-y")
    assert f"python -m venv {IMAGE_PREFIX}" in (ROOT / "Dockerfile").read_text()


def test_uvx_starts_the_server_with_a_plugin_beside_those_that_are_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_plugin(tmp_path, "llm_here", "")
    monkeypatch.syspath_prepend(tmp_path)
    prefix = tmp_path / "cache" / "uv" / "archive-v0" / "Ab3"

    assert said(prefix) == "`uvx --with llm-here --with llm-x consortium-mcp` starts the server with it"
    assert not package_command(["llm-x"], str(prefix)).changes_this


def test_a_tool_of_uv_and_an_application_of_pipx_keep_their_plugins(tmp_path: Path) -> None:
    tool, application = tmp_path / "tools" / "consortium-mcp", tmp_path / "venvs" / "consortium-mcp"
    for folder, file in ((tool, "uv-receipt.toml"), (application, "pipx_metadata.json")):
        folder.mkdir(parents=True)
        (folder / file).touch()

    assert said(tool) == "`uv tool install consortium-mcp --with llm-x` installs it"
    assert said(application) == "`pipx inject consortium-mcp llm-x` installs it"


def test_where_the_command_llm_is_of_the_same_installation_it_installs_plugins(tmp_path: Path, path: Path) -> None:
    prefix = tmp_path / "pipx" / "venvs" / "llm"
    (prefix / "bin").mkdir(parents=True)
    (prefix / "pipx_metadata.json").touch()
    (prefix / "bin" / "llm").touch(mode=0o755)
    os.symlink(prefix / "bin" / "llm", path / "llm")

    assert said(prefix) == "`llm install llm-x` installs it"
    assert said(tmp_path / "other") == f"`{sys.executable} -m pip install llm-x` installs it"


@pytest.mark.parametrize(
    ("model", "package"),
    [
        ("claude-opus-5", "llm-anthropic"),
        ("gemini-3.8-flash", "llm-gemini"),
        ("mistral/mistral-small-latest", "llm-mistral"),
        ("openrouter/qwen/qwen3", "llm-openrouter"),
        ("qwen3:8b", "llm-ollama"),
    ],
)
def test_an_unknown_model_of_a_known_provider_names_its_plugin(model: str, package: str) -> None:
    sentence = plugin_sentence(model)

    assert sentence.startswith(f" The plugin {package} has such models: `") and f"install {package}`" in sentence


def test_no_plugin_is_named_that_is_here_or_that_llm_has_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_plugin(tmp_path, "llm_anthropic", "")
    monkeypatch.syspath_prepend(tmp_path)

    assert plugin_sentence("claude-opus-99") == plugin_sentence("gpt-99") == ""
    assert "Another llm plugin may have it: `" in plugin_sentence("zzz")


def test_each_provider_is_found_by_its_first_models_and_has_a_plugin_of_its_own() -> None:
    packages = [one.package for one in PROVIDERS]

    assert len(set(packages)) == len(packages)
    for provider in PROVIDERS:
        for pattern in provider.first:
            assert provider_of_model(re.sub(r"[*?]", "5", pattern).lstrip("5")) in (provider, None)
