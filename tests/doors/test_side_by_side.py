"""llm-consortium and this package in one llm: `llm consortium` and the saved consortiums are ours."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.plugins import install_plugin
from tests.provider import Provider, verdict
from tests.seed import unpack

THEIRS = """
import click
import llm


class ConsortiumModel(llm.Model):
    model_id = "counted"

    def execute(self, prompt, stream, response, conversation):
        yield "theirs"


@llm.hookimpl
def register_commands(cli):
    @cli.group()
    def consortium():
        "theirs"


@llm.hookimpl
def register_models(register):
    register(ConsortiumModel(), aliases=["counted"])
"""
"""What llm sees of llm-consortium where `counted` is saved."""


def run_llm(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "llm", *arguments], input="", capture_output=True, text=True)


@pytest.fixture(autouse=True)
def both(plugin_folder: Path, llm_home: Path) -> None:
    """Both are installed, and the real llm-consortium has saved its consortiums."""
    install_plugin(plugin_folder, "llm_consortium", THEIRS)
    unpack("seed", llm_home)


def test_the_commands_are_ours_whichever_was_installed_first(provider: Provider) -> None:
    assert "counted: a:2, b:1; arbiter arbiter" in run_llm("consortium", "list").stdout


def test_a_saved_consortium_is_ours_and_says_nothing_of_theirs(provider: Provider) -> None:
    provider.on("arbiter", verdict("ours"))
    run_llm("consortium", "list")

    done = run_llm("-m", "counted", "?")

    assert (done.stdout, done.stderr) == ("ours\n", "")
