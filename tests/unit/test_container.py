"""The container's files set what there is: settings, flags, paths."""

import re

import yaml
from click.testing import CliRunner

from consortium_mcp.cli import main
from consortium_mcp.cli.install import install
from consortium_mcp.settings import PREFIX, Settings
from tests.paths import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVING = (ROOT / "docs" / "serving.md").read_text()


def test_every_setting_in_the_containers_files_and_in_the_docs_exists() -> None:
    files = (DOCKERFILE, (ROOT / "compose.yaml").read_text(), SERVING)
    named = {name for text in files for name in re.findall(rf"{PREFIX}([A-Z_]+)", text)}
    ours = re.sub(r"<!-- image: .*?<!-- /image -->", "", SERVING, flags=re.DOTALL)  # the rest is of podman
    flags = set(re.findall(r"--([a-z][a-z-]+)", ours)) - {"detach"}
    of_install = {name.lstrip("-") for option in install.params for name in option.opts}
    known = {name.replace("_", "-") for name in Settings.model_fields} | of_install

    assert {name.lower() for name in named} - set(Settings.model_fields) == set()
    assert flags - known == set()


def test_the_image_serves_with_flags_that_are_known() -> None:
    command = re.findall(r'"([^"]+)"', DOCKERFILE.splitlines()[-1])

    shown = CliRunner().invoke(main, ["serve", "--help"]).output

    assert command[0] == "serve" and all(flag in shown for flag in command if flag.startswith("--"))


def test_the_process_is_not_root_and_writes_to_its_volume_alone() -> None:
    service = COMPOSE["services"]["consortium"]

    assert "\nUSER consortium\n" in DOCKERFILE and "\nVOLUME /data\n" in DOCKERFILE and "\nHEALTHCHECK" in DOCKERFILE
    assert (
        "\nARG PLUGINS=" in DOCKERFILE
        and "install --no-cache-dir --disable-pip-version-check . ${PLUGINS}" in DOCKERFILE
    )
    assert service["build"]["args"] == {"PLUGINS": "${PLUGINS:-}"}
    assert service["read_only"] is True and service["volumes"] == ["data:/data"] and service["cap_drop"] == ["ALL"]
