"""The session in llm-consortium's README (0.3.2), command for command, in a shell where this package is installed."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.consulted import is_judging, member, own_system, said_before
from tests.provider import Provider, Request, verdict

MODELS = (
    "claude-3-opus-20240229",
    "claude-3-sonnet-20240229",
    "gemini-2",
    "gemini-pro",
    "gpt-4",
    "gpt-4o",
    "o3-mini",
)
"""The models of that README, which here belong to the provider."""

SAVE = """
llm consortium save my-consortium \\
    --model claude-3-opus-20240229 \\
    --model gpt-4 \\
    --arbiter claude-3-opus-20240229 \\
    --confidence-threshold 0.9 \\
    --max-iterations 5 \\
    --min-iterations 1 \\
    --system "Your custom system prompt"
"""

ADVANCED = """
llm consortium "Your complex query" \\
  -m o3-mini:1 \\
  -m gpt-4o:2 \\
  -m gemini-2:3 \\
  --arbiter gemini-2 \\
  --confidence-threshold 1 \\
  --max-iterations 4 \\
  --min-iterations 3 \\
  --output results.json
"""

PYTHON = """
from consortium_mcp import consult_sync, create_consortium

consortium = create_consortium(
    models=["o3-mini:1", "gpt-4o:2", "gemini-2:3"],
    confidence_threshold=1,
    max_iterations=4,
    min_iterations=3,
    arbiter="gemini-2",
    raw=True
)

result = consult_sync("Your prompt here", consortium=consortium)
print(f"Synthesized Response: {result.answer}")
"""
"""The README's Python code, adapted: its orchestrator is a consortium here, and its result a run."""

AGI = "What are the key considerations for AGI safety?"


@pytest.fixture(autouse=True)
def desk(llm_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder of the session; `gpt-4o` is llm's default model."""
    monkeypatch.chdir(tmp_path)
    (llm_home / "default_model.txt").write_text("gpt-4o")
    return tmp_path


@pytest.fixture
def models(provider: Provider, llm_home: Path) -> Provider:
    """The README's models, which answer their name, and what they make of the answers when they judge."""
    provider.write_llm_config(llm_home, MODELS)
    for model in MODELS:
        provider.on(model, member(f"{model} has an answer.", verdict(f"What {model} made of it.", confidence=0.95)))
    return provider


def typed(command: str) -> str:
    """The output of a successful command."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command,
        shell=True,
        env=os.environ | {"PATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr and "Error" not in done.stderr
    return done.stdout


def asked(models: Provider) -> list[Request]:
    """What members were asked."""
    return [request for request in models.requests if not is_judging(request)]


def conversation(request: Request) -> list[str]:
    """What was said by both sides, the system prompt left out."""
    return [message["content"] for message in request.messages if message["role"] != "system"]


def test_B33_a_bare_prompt_asks_llms_default_model(models: Provider) -> None:
    assert typed(f'llm consortium "{AGI}"') == "What gpt-4o made of it.\n"
    assert [(request.model, request.prompt) for request in asked(models)] == [("gpt-4o", AGI)] * 3


def test_a_consortium_is_saved_listed_asked_as_a_model_and_removed(models: Provider) -> None:
    saved = typed(SAVE)
    listed = typed("llm consortium list --long")
    answer = typed(f'llm -m my-consortium "{AGI}"')
    typed("llm consortium remove my-consortium")

    assert "my-consortium" in saved
    for line in (
        "my-consortium",
        "  Models: claude-3-opus-20240229:1, gpt-4:1",
        "  Arbiter: claude-3-opus-20240229",
        "  Confidence Threshold: 0.9",
        "  Max Iterations: 5",
        "  Min Iterations: 1",
        "  System Prompt: Your custom system prompt",
    ):
        assert line in listed
    assert answer == "What claude-3-opus-20240229 made of it.\n"
    assert sorted(request.model for request in asked(models)) == ["claude-3-opus-20240229", "gpt-4"]
    assert {(request.prompt, own_system(request)) for request in asked(models)} == {(AGI, "Your custom system prompt")}
    assert "my-consortium" not in typed("llm models")


def test_B11_conversations_go_on_with_all_that_was_said(models: Provider) -> None:
    typed(SAVE)
    typed('llm -m my-consortium "Tell me about Jupiter."')
    (jupiter,) = json.loads(typed("llm logs --json -m my-consortium"))
    typed('llm -m my-consortium "Tell me about the planet Mars."')
    before = models.count()
    typed('llm -c "How long does it take to get there?"')
    between = models.count()
    typed(f'llm -c --cid {jupiter["conversation_id"]} "What are its major moons?"')

    answer = "What claude-3-opus-20240229 made of it."
    for requests, said in (
        (models.requests[before:between], ["Tell me about the planet Mars.", answer]),
        (models.requests[between:], ["Tell me about Jupiter.", answer]),
    ):
        assert {request.model for request in requests} == {"claude-3-opus-20240229", "gpt-4"}
        assert [said_before(request)[:2] for request in requests] == [said] * len(requests)
    assert conversation(asked(models)[-1])[2:] == ["What are its major moons?"]


def test_the_advanced_example_runs_to_its_minimum_and_writes_its_results(models: Provider, desk: Path) -> None:
    def judged(request: Request) -> str:
        earlier = re.findall(r"Synthesis (\d)", request.prompt)
        return verdict(f"Synthesis {1 + max(map(int, earlier), default=0)}.", confidence=1.0)

    models.on("gemini-2", member("gemini-2 has an answer.", judged))

    assert typed(ADVANCED) == "Synthesis 3.\n"
    first = [request.model for request in asked(models)[:6]]
    assert sorted(first) == ["gemini-2"] * 3 + ["gpt-4o"] * 2 + ["o3-mini"]
    results = json.loads((desk / "results.json").read_text())
    assert (results["prompt"], results["answer"], results["confidence"]) == ("Your complex query", "Synthesis 3.", 1.0)
    assert [len(iteration["responses"]) for iteration in results["iterations"]] == [6, 6, 6]


def test_B38_the_prompt_may_come_from_stdin_and_run_need_not_be_said(models: Provider) -> None:
    typed("echo 'Is it safe?' | llm consortium -m gpt-4:2")

    assert [request.prompt for request in asked(models)] == ["Is it safe?"] * 2


def test_raw_is_what_the_arbiter_wrote(models: Provider) -> None:
    raw = typed("llm consortium 'Is it safe?' -m o3-mini -n 2 --arbiter gemini-pro --system 'Be brief.' --raw")

    assert json.loads(raw)["synthesis"] == "What gemini-pro made of it."
    assert [(request.model, own_system(request)) for request in asked(models)] == [("o3-mini", "Be brief.")] * 2


def test_every_option_of_the_seed_is_explained(models: Provider) -> None:
    options = set(re.findall(r"--[a-z-]+", typed("llm consortium run --help")))

    assert options >= {
        *("--model", "--count", "--arbiter", "--confidence-threshold", "--max-iterations", "--min-iterations"),
        *("--system", "--output", "--stdin", "--no-stdin", "--raw"),
    }


def test_the_python_example_asks_the_same(models: Provider, desk: Path) -> None:
    (desk / "example.py").write_text(PYTHON)

    assert typed("python example.py") == "Synthesized Response: What gemini-2 made of it.\n"
    assert sorted(request.model for request in asked(models)[:6]) == ["gemini-2"] * 3 + ["gpt-4o"] * 2 + ["o3-mini"]
