"""The files for catalogues and hosts: valid by their schemas, generated from one place, and of one version."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from consortium_mcp.models.providers import PROVIDERS
from distribution.__main__ import files
from distribution.bundle import pack
from distribution.check import release_problems
from distribution.project import KEYS, PLUGINS, ROOT, load_project
from distribution.repository import write_address
from tests.paths import TESTS

SCHEMAS = TESTS / "fixtures" / "schemas"
PROJECT = load_project()


def read(path: str) -> dict[str, Any]:
    """A manifest of the checkout."""
    return dict(json.loads((ROOT / path).read_text(encoding="utf-8")))


def check(manifest: dict[str, Any], schema: str) -> None:
    """Raise if a manifest violates its schema."""
    jsonschema.validate(manifest, json.loads((SCHEMAS / schema).read_text(encoding="utf-8")))


def test_every_file_is_as_generated() -> None:
    differing = [path for path, text in files().items() if (ROOT / path).read_text(encoding="utf-8") != text]

    assert differing == [], "If meant: make generate"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the files that a release changes."""
    for file in ("pyproject.toml", "README.md", "consortium_mcp/server/tools.json"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, tmp_path / file)
    return tmp_path


def test_no_file_of_the_checkout_names_an_owner_or_an_address_of_this_project() -> None:
    named = re.compile(r"\bOWNER\b|github\.com/[\w-]+/consortium-mcp")
    texts = {path: (ROOT / path).read_text(encoding="utf-8") for path in ("pyproject.toml", "README.md", *files())}

    assert PROJECT.repository is None and PROJECT.mcp_name is None and "server.json" not in files()
    assert [path for path, text in texts.items() if named.search(text)] == []


def test_the_registry_takes_a_releases_server_json_and_finds_its_name_in_the_readme(checkout: Path) -> None:
    write_address("some-team/consortium-mcp", checkout)

    entry = json.loads((checkout / "server.json").read_text())
    check(entry, "mcp-server-2025-12-11.schema.json")
    assert entry["name"] == "io.github.some-team/consortium-mcp"
    assert (checkout / "README.md").read_text().endswith(f"\n<!-- mcp-name: {entry['name']} -->\n")
    assert len(entry["description"]) <= 100 and entry["packages"][0]["version"] == entry["version"] == PROJECT.version


def test_a_release_names_its_repository_in_the_package_and_in_every_manifest(checkout: Path) -> None:
    write_address("some-team/consortium-mcp", checkout)

    url, links = "https://github.com/some-team/consortium-mcp", load_urls(checkout)
    bundle = json.loads((checkout / "distribution/mcpb/manifest.json").read_text())
    check(bundle, "mcpb-manifest-v0.4.schema.json")
    plugin = json.loads((checkout / "distribution/claude-code/.claude-plugin/plugin.json").read_text())
    assert bundle["repository"] == {"type": "git", "url": url} and plugin["repository"] == url
    assert links["Repository"] == url and all(link.startswith(url) for link in links.values())


def load_urls(checkout: Path) -> dict[str, str]:
    """The project's links, as an index shows them."""
    return dict(tomllib.loads((checkout / "pyproject.toml").read_text())["project"]["urls"])


def test_the_readme_of_a_release_leads_to_the_tagged_files(checkout: Path) -> None:
    write_address("some-team/consortium-mcp", checkout)

    readme = re.sub(r"```.*?```", "", (checkout / "README.md").read_text(), flags=re.DOTALL)
    links = re.findall(r"\]\(([^)\s]+)\)", readme) + re.findall(r'\bsrc(?:set)?="([^"]+)"', readme)
    assert [link for link in links if not link.startswith(("https://", "#"))] == []
    assert f"https://github.com/some-team/consortium-mcp/blob/v{PROJECT.version}/docs/hosts.md" in links


@pytest.mark.parametrize("name", ["", "consortium-mcp", "a b/c", "https://github.com/a/b", "a/b/c"])
def test_a_name_that_is_no_repository_changes_nothing(name: str, checkout: Path) -> None:
    with pytest.raises(ValueError, match="Write it as OWNER/NAME"):
        write_address(name, checkout)

    assert (checkout / "pyproject.toml").read_text() == (ROOT / "pyproject.toml").read_text()


def test_an_address_is_written_once(checkout: Path) -> None:
    write_address("some-team/consortium-mcp", checkout)
    readme = (checkout / "README.md").read_text()

    with pytest.raises(ValueError, match="Start from a clean checkout"):
        write_address("other/consortium-mcp", checkout)
    assert (checkout / "README.md").read_text() == readme


def test_the_command_without_a_name_says_what_it_needs() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "distribution.repository"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )

    assert (done.returncode, done.stderr) == (1, "'' is not the name of a repository. Write it as OWNER/NAME.\n")


def test_the_bundle_is_valid_and_holds_what_its_manifest_names(tmp_path: Path) -> None:
    manifest = read("distribution/mcpb/manifest.json")
    check(manifest, "mcpb-manifest-v0.4.schema.json")

    first, again = pack(tmp_path).read_bytes(), pack(tmp_path).read_bytes()

    with zipfile.ZipFile(tmp_path / f"consortium-mcp-{PROJECT.version}.mcpb") as packed:
        names = packed.namelist()
        packages = tomllib.loads(packed.read("pyproject.toml").decode())["project"]["dependencies"]
    assert first == again and manifest["server"]["entry_point"] in names and "manifest.json" in names
    assert packages == [f"consortium-mcp=={PROJECT.version}", *PLUGINS]
    assert manifest["server"]["mcp_config"]["env"] == {name: f"${{user_config.{name.lower()}}}" for name in KEYS}


def test_every_key_and_plugin_of_the_manifests_is_one_that_setup_knows() -> None:
    assert set(KEYS) <= {provider.variable for provider in PROVIDERS}
    assert set(PLUGINS) <= {provider.package for provider in PROVIDERS}


def test_the_skill_names_commands_that_exist() -> None:
    skill = (ROOT / "distribution" / "claude-code" / "skills" / "consortium" / "SKILL.md").read_text(encoding="utf-8")
    _, front, text = skill.split("---\n", 2)

    assert set(yaml.safe_load(front)) == {"name", "description"} and "consult_consortium" in text
    assert all(word in text for word in ("consult --dry-run", "consult --json", "runs show", "models"))


def test_the_workflows_publish_without_a_token_and_run_on_three_systems() -> None:
    release, ci = (yaml.safe_load((ROOT / f".github/workflows/{name}.yml").read_text()) for name in ("release", "ci"))

    assert release["permissions"] == {"contents": "read"} and release["jobs"]["publish"]["needs"] == "build"
    assert release["jobs"]["publish"]["permissions"] == {"id-token": "write"}
    steps = [step.get("run", "") for step in release["jobs"]["build"]["steps"]]
    assert steps.index('python -m distribution.repository "$GITHUB_REPOSITORY"') < steps.index("make dist")
    assert "secrets." not in (ROOT / ".github/workflows/release.yml").read_text()
    assert ci["jobs"]["systems"]["strategy"]["matrix"]["os"] == ["ubuntu-latest", "macos-latest", "windows-latest"]


def test_a_release_needs_its_version_its_changes_and_its_address() -> None:
    assert release_problems("v9.9.9") == [
        f"The tag is v9.9.9, and the version {PROJECT.version}.",
        f"CHANGELOG.md has no heading for {PROJECT.version}.",
        "pyproject.toml names no repository. Run `python -m distribution.repository OWNER/NAME`.",
    ]
