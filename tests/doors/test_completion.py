"""The completions of the shell, by the script that `completion` prints, in a real bash."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from click.testing import CliRunner

from consortium_mcp.cli import main
from consortium_mcp.service.service import ConsortiumService
from tests.doors.test_cli import run_command
from tests.provider import Provider
from tests.scripted import new_run
from tests.terminal import Terminal

COMMAND = Path(sys.executable).parent / "consortium-mcp"

pytestmark = pytest.mark.skipif(not COMMAND.exists(), reason="the installed command is what a shell completes")


def offered(*words: str) -> list[str]:
    """What bash offers for the last word, after it has read our script."""
    line = shlex.join(["consortium-mcp", *words[:-1]]) + f" {words[-1]}"
    script = f"""
        eval "$(consortium-mcp completion bash)"
        COMP_LINE={shlex.quote(line)}; COMP_POINT=${{#COMP_LINE}}; COMP_WORDS=({shlex.quote(words[-1])}); COMP_CWORD=0
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


SHELLS = {
    "bash": (
        ("bash", "--norc", "--noprofile", "-i"),
        'PS1="ready> "; eval "$(command consortium-mcp completion bash)"',
        "consortium-mcp() { printf '<%s>' \"$@\"; echo; }",
    ),
    "zsh": (
        ("zsh", "-f", "-i"),
        'PS1="ready> "; autoload -Uz compinit; compinit -D -u; eval "$(command consortium-mcp completion zsh)"',
        "consortium-mcp() { printf '<%s>' \"$@\"; echo; }",
    ),
    "fish": (
        ("fish", "--private", "--no-config", "-i"),
        "function fish_prompt; echo 'ready> '; end; command consortium-mcp completion fish | source",
        "function consortium-mcp; printf '<%s>' $argv; echo; end",
    ),
}
"""How each shell is started, how it reads our script, and what shows the words that it would give to our command."""

shell_of_this_machine = pytest.mark.parametrize(
    "shell",
    [
        pytest.param(one, marks=pytest.mark.skipif(shutil.which(one) is None, reason=f"{one} is missing"))
        for one in SHELLS
    ],
)


@pytest.fixture
def in_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, provider: Provider
) -> Iterator[Callable[[str], Terminal]]:
    """Starts a shell in a terminal, with our script and with names that shells must quote."""
    for name in NAMES:
        run_command("save", name, "-m", "a")
    monkeypatch.setenv("PATH", f"{COMMAND.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TERM", "screen")
    with ExitStack() as stack:

        def start(shell: str) -> Terminal:
            program, *lines = SHELLS[shell]
            terminal = stack.enter_context(Terminal(tmp_path, program=program, columns=150))
            for number, line in enumerate(lines):
                terminal.type(f"{line}; echo line-{number}-is-read")
                terminal.press("Enter")
                terminal.wait_for(f"\nline-{number}-is-read")
            return terminal

        yield start


NAMES = ("my panel: v2", "l'ami", "a,b", 'say "hi"', "50% $off")

TYPED = {
    "show my\\ panel:": "my panel: v2",
    "show 'my pa": "my panel: v2",
    "show l": "l'ami",
    "show \"l'": "l'ami",
    "show a": "a,b",
    "show say": 'say "hi"',
    "consult --consortium 50": "50% $off",
    "consult -m llama3:": "llama3:8b",
}
"""What is typed before the Tab key, and the word that our command gets."""


@shell_of_this_machine
def test_a_name_is_completed_as_the_shell_reads_it(shell: str, in_shell: Callable[[str], Terminal]) -> None:
    terminal = in_shell(shell)
    read = {}

    for number, line in enumerate(TYPED):
        terminal.type(f"consortium-mcp {line}")
        terminal.press("Tab")
        terminal.press("Enter")
        terminal.type(f"echo end-of-{number}")
        terminal.press("Enter")
        screen = terminal.wait_for(f"\nend-of-{number}\n")
        words = re.findall(r"^((?:<.*>)+)", screen, re.MULTILINE)
        read[line] = words[-1].removesuffix(">").rpartition("><")[2] if words else screen

    assert read == TYPED
