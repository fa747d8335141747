"""What catalogues and hosts read of us: valid by their own schemas, generated from one place, and of one version."""

import json
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from consortium_mcp.models.providers import PROVIDERS
from distribution.__main__ import files
from distribution.bundle import pack
from distribution.check import release_problems
from distribution.project import KEYS, PLUGINS, ROOT, load_project
from tests.paths import TESTS

SCHEMAS = TESTS / "fixtures" / "schemas"
PROJECT = load_project()


def read(path: str) -> dict[str, Any]:
    """A manifest of the checkout."""
    return dict(json.loads((ROOT / path).read_text(encoding="utf-8")))


def check(manifest: dict[str, Any], schema: str) -> None:
    """Raise where a manifest is not what its schema asks for."""
    jsonschema.validate(manifest, json.loads((SCHEMAS / schema).read_text(encoding="utf-8")))


def test_every_file_is_as_generated() -> None:
    differing = [path for path, text in files().items() if (ROOT / path).read_text(encoding="utf-8") != text]

    assert differing == [], "If meant: make generate"


def test_the_registry_takes_server_json_and_finds_its_name_in_the_readme() -> None:
    entry = read("server.json")

    check(entry, "mcp-server-2025-12-11.schema.json")
    assert f"<!-- mcp-name: {entry['name']} -->" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(entry["description"]) <= 100 and entry["packages"][0]["version"] == entry["version"] == PROJECT.version


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
    assert "secrets." not in (ROOT / ".github/workflows/release.yml").read_text()
    assert ci["jobs"]["systems"]["strategy"]["matrix"]["os"] == ["ubuntu-latest", "macos-latest", "windows-latest"]


def test_a_release_needs_its_version_its_changes_and_an_owner() -> None:
    assert release_problems("v9.9.9")[0] == f"The tag is v9.9.9, and the version {PROJECT.version}."
    assert any("OWNER" not in problem and "owner" in problem for problem in release_problems("v9.9.9")) == (
        "/OWNER/" in PROJECT.repository
    )
