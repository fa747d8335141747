"""The completions of the shell, by the script that `completion` prints, in a real bash."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from consortium_mcp.cli import main
from consortium_mcp.service.service import ConsortiumService
from tests.doors.test_cli import run_command
from tests.provider import Provider
from tests.scripted import new_run

COMMAND = Path(sys.executable).parent / "consortium-mcp"

pytestmark = pytest.mark.skipif(not COMMAND.exists(), reason="the installed command is what a shell completes")


def offered(*words: str) -> list[str]:
    """What bash offers for the last word, after it has read our script."""
    command_line = " ".join(f"'{word}'" for word in ("consortium-mcp", *words))
    script = f"""
        eval "$(consortium-mcp completion bash)"
        COMP_WORDS=({command_line}); COMP_CWORD={len(words)}
        _consortium_mcp_completion consortium-mcp
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    environment = {**os.environ, "PATH": f"{COMMAND.parent}:{os.environ['PATH']}"}
    bash = ["bash", "--norc", "--noprofile", "-c", script]
    done = subprocess.run(bash, capture_output=True, text=True, check=True, env=environment)
    assert done.stderr == ""
    return done.stdout.split()


bash_only = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is the shell of this test")


@bash_only
def test_commands_are_offered() -> None:
    assert offered("con") == ["consult"]
    assert set(offered("runs", "re")) == {"resume", "replay"}


@bash_only
def test_saved_consortiums_are_offered(provider: Provider) -> None:
    for name in ("panel", "pair", "other"):
        run_command("save", name, "-m", "a")

    for words in (["consult", "--consortium"], ["show"], ["remove"], ["runs", "--consortium"]):
        assert offered(*words, "pa") == ["pair", "panel"]


@bash_only
def test_a_name_with_blanks_or_quotes_is_offered_as_bash_reads_it(provider: Provider) -> None:
    for name in ("my panel: v2", "my l'ami"):
        run_command("save", name, "-m", "a")

    assert offered("show", "my") == ["my\\", "l\\'ami", "my\\", "panel:\\", "v2"]


@bash_only
def test_the_newest_runs_are_offered(service: ConsortiumService) -> None:
    for number in range(25):
        service.store.runs.open.sync(new_run(run_id=f"01run{number:02}"), "somebody")

    newest = [f"01run{number:02}" for number in reversed(range(5, 25))]
    assert offered("runs", "show", "") == newest
    assert offered("runs", "export", "01run24", "01run23")[0] == "01run23"
    assert offered("consult", "--follow-up-to", "01run2")[0] == "01run24"


@bash_only
def test_models_strategies_and_judging_methods_are_offered(provider: Provider) -> None:
    assert offered("consult", "-m", "arb") == offered("save", "panel", "--arbiter", "arb") == ["arbiter"]
    assert "gpt-4o" not in offered("consult", "-m", "")  # it has no key here
    assert offered("consult", "--strategy", "d") == ["debate"]
    assert set(offered("runs", "replay", "01", "--judging-method", "p")) == {"pick", "peer_rank"}


@bash_only
def test_where_there_is_no_database_none_is_made_and_nothing_is_offered(llm_home: Path) -> None:
    assert offered("show", "") == offered("runs", "show", "") == []
    assert list(llm_home.iterdir()) == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shells_script_is_clicks_own_and_says_how_to_use_it(shell: str) -> None:
    script = CliRunner().invoke(main, ["completion", shell]).stdout

    assert script.startswith("# ") and f"consortium-mcp completion {shell}" in script.splitlines()[0]
    assert f"_CONSORTIUM_MCP_COMPLETE={shell}_complete" in script
