"""The command line as people type it: common forms are read, and a mistake gives one sentence."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from consortium_mcp.cli.groups import main
from tests.provider import Provider, verdict


def typed(*words: str) -> Result:
    """The result of a command in this process."""
    return CliRunner().invoke(main, list(words))


def error_of(result: Result) -> str:
    """The last line of stderr, where the mistake is said."""
    return click.unstyle(result.stderr).strip().splitlines()[-1]


@pytest.fixture(autouse=True)
def models(provider: Provider) -> None:
    """Models that answer at once."""
    provider.on("arbiter", verdict("Paris"))


@pytest.mark.parametrize(
    ("given", "read"), [("80%", 0.8), ("0.5%", 0.005), ("100 %", 1.0), ("80", 0.8), ("0.8", 0.8), ("1", 1.0)]
)
def test_a_threshold_is_read_as_people_write_it(given: str, read: float) -> None:
    saved = typed("save", "panel", "-m", "a", "--threshold", given, "--json")

    assert json.loads(saved.stdout)["definition"]["confidence_threshold"] == pytest.approx(read)


@pytest.mark.parametrize("given", ["abc", "%", "101%", "nan", "-1"])
def test_what_is_no_threshold_is_wrong_usage(given: str) -> None:
    done = typed("save", "panel", "-m", "a", f"--threshold={given}")

    assert done.exit_code == 2 and error_of(done).startswith("Error: Invalid value for '--confidence-threshold'")


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (["yes,no"], ["yes", "no"]),
        (["yes, no, both"], ["yes", "no", "both"]),
        (["Paris, France", "Rome, Italy"], ["Paris, France", "Rome, Italy"]),
    ],
)
def test_choices_are_named_one_by_one_or_with_commas(given: list[str], read: list[str]) -> None:
    options = [word for choice in given for word in ("--choices", choice)]
    saved = typed("save", "panel", "-m", "a:3", "--judging-method", "choose", *options, "--json")

    assert json.loads(saved.stdout)["definition"]["choices"] == read


MISTAKES: list[tuple[list[str], str]] = [
    (["consult", "?", "-m", "a", "--system", "/no/such/file"], "the file '/no/such/file' does not exist."),
    (["consult", "?", "-m", "a", "--system", "prompts/brief.txt"], "the file 'prompts/brief.txt' does not exist."),
    (["consult", "?", "-m", "a", "--own-answer", "./answer.md"], "the file './answer.md' does not exist."),
    (["consult", "?", "-m", "a", "--output-schema", "schema.json"], "the file 'schema.json' does not exist."),
    (["consult", "-what now?"], "No such option '-w'. Write '--' before a prompt that begins with '-'."),
    (["consult", "?", "-m", "a", "--chois", "b"], "No such option '--chois'. Did you mean '--choices'?"),
    (["consult", "?", "-m", "a", "--choices", "one"], "--choices is ('one',): "),
    (["consult", "?", "-m", "a", "--min-iterations", "5", "--max-iterations", "2"], "--min-iterations is 5 and --max"),
    (["consult", "?", "-m", "a:2", "--quorum", "3"], "--quorum is 3; at most 2 instances can answer."),
    (["save", "x", "-m", "a", "--min-responses", "2"], "--min-responses is 2; at most 1 instance can answer."),
    (["consult", "?", "-m", "a:0"], "The count in 'a:0' is 0; "),
]
"""A command, and the sentence about its wrong usage."""


@pytest.mark.parametrize(("words", "said"), MISTAKES, ids=[" ".join(words)[:60] for words, _ in MISTAKES])
def test_a_mistake_is_one_sentence_about_what_was_typed(words: list[str], said: str) -> None:
    done = typed(*words)

    assert done.exit_code == 2 and said in error_of(done)


def test_a_limit_of_a_consult_is_named_as_its_option() -> None:
    done = typed("consult", "?", "-m", "a:2", "--arbiter", "arbiter", "--max-calls", "2")

    assert error_of(done).startswith("Error: --max-calls=2 (the run's budget) cannot pay for one iteration: ")


def test_a_list_says_of_each_consortium_what_differs_from_the_defaults() -> None:
    typed("save", "usual", "-m", "a:2")
    typed("save", "panel", "-m", "a", "-m", "b", "--arbiter", "arbiter", "--threshold", "70%", "--no-check-order")
    typed("save", "later", "-m", "nosuch", "--description", "For hard ones.")

    lines = typed("list").stdout.splitlines()

    assert lines[0].startswith("later: nosuch:1; For hard ones.; cannot run: llm knows no model 'nosuch'.")
    assert lines[1:] == ["panel: a:1, b:1; arbiter arbiter; confidence threshold 0.7; check order no", "usual: a:2"]
    assert "  Max Iterations: 3" in typed("list", "--long").stdout.splitlines()


def test_a_rating_is_shown_with_its_run() -> None:
    typed("consult", "Capital?", "-m", "a", "--arbiter", "arbiter")
    (run,) = json.loads(typed("runs", "--json").stdout)["runs"]
    typed("runs", "rate", run["run_id"], "--score", "0.5", "--note", "In part.")

    (rated,) = json.loads(typed("runs", "--json").stdout)["runs"]
    shown = json.loads(typed("runs", "show", run["run_id"], "--json").stdout)

    rating = {"run_id": run["run_id"], "score": 0.5, "note": "In part."}
    assert run["rating"] is None and rated["rating"] == shown["rating"] == rating
    assert " rated 0.5  Capital?" in typed("runs").stdout
    assert "- rated: 0.5, In part.\n" in typed("runs", "show", run["run_id"]).stdout


@pytest.mark.parametrize("words", [["-m", "a|nosuch", "--arbiter", "b"], ["-m", "b", "--arbiter", "a|nosuch"]])
def test_a_backup_that_cannot_be_asked_is_called_one(words: list[str]) -> None:
    done = typed("consult", "?", *words)

    assert done.exit_code == 1
    assert error_of(done).startswith("Error: The backup of 'a' cannot be asked: llm knows no model 'nosuch'.")


def test_an_answer_has_no_tag_of_confidence_at_its_end(provider: Provider) -> None:
    provider.on("arbiter", "Paris.\n\n<confidence>0.9</confidence>")
    provider.on("b", "no verdict")
    taken = typed("consult", "1?", "-m", "a", "--arbiter", "arbiter").stdout
    provider.on("a", "Paris. <confidence>0.9</confidence>")
    alone = typed("consult", "2?", "-m", "a", "--judging-method", "pick", "--arbiter", "b").stdout

    assert taken.splitlines()[-1] == alone.splitlines()[-1] == "Paris."


@pytest.mark.parametrize("text", ["Be brief.", "and/or", "3.5", "a / b", "A.txt is a file"])
def test_a_text_that_is_no_path_is_a_text(text: str) -> None:
    saved = typed("save", "panel", "-m", "a", "--system", text, "--json")

    assert json.loads(saved.stdout)["definition"]["system_prompt"] == text


def test_output_to_a_dash_is_the_run_on_stdout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    asked = typed("consult", "?", "-m", "a", "--arbiter", "arbiter", "--output", "-")
    run: dict[str, Any] = json.loads(asked.stdout)
    exported = typed("runs", "export", "--output", "-")

    assert run["answer"] == json.loads(exported.stdout)["answer"] == "Paris" and not (tmp_path / "-").exists()


def test_a_prompt_that_begins_with_a_dash_stands_after_two(provider: Provider) -> None:
    done = typed("consult", "-m", "a", "--arbiter", "arbiter", "--", "-1 or 1?")

    assert done.stdout == "Paris\n" and provider.requests_to("a")[0].prompt == "-1 or 1?"


def options(command: click.Command = main, path: str = "") -> Iterator[tuple[str, click.Option]]:
    """Every option of every command."""
    yield from ((path, one) for one in command.params if isinstance(one, click.Option))
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from options(below, f"{path} {name}")


def test_the_help_of_every_option_shows_its_default() -> None:
    silent = [
        (path, one.opts[0])
        for path, one in options()
        if (default := one.to_info_dict()["default"]) not in (None, False, (), [])
        and f"[{'yes' if default is True else default}]" not in (one.help or "")
    ]

    assert silent == []


def test_the_help_of_serve_shows_types_and_defaults() -> None:
    shown = " ".join(typed("serve", "--help").stdout.split())

    for part in (
        "--max-concurrent-calls INTEGER ",
        "[CONSORTIUM_MAX_CONCURRENT_CALLS; default: 64]",
        "--wait-seconds NUMBER ",
        "--database FILE ",
        "--llm-log [on|off] ",
        "--log-level [DEBUG|INFO|WARNING|ERROR] ",
        "[CONSORTIUM_LOG_LEVEL; default: WARNING]",
        "--transport LIST ",
        "[CONSORTIUM_TRANSPORT; default: stdio]",
        "[CONSORTIUM_SHARED; default: no]",
        "--token TEXT ",
        "[CONSORTIUM_MAX_CALLS]",
    ):
        assert part in shown


@pytest.mark.parametrize("option", ["--max-cost", "--max-cost-usd"])
def test_a_limit_is_named_as_it_was_typed(option: str) -> None:
    for line in ([option, "0.5"], [f"{option}=0.5"]):
        said = error_of(typed("consult", "?", "-m", "a", *line))
        assert f" {option} (the run's budget) cannot be enforced" in said


def test_a_token_limit_below_one_call_is_said_before_anything_is_opened(provider: Provider) -> None:
    done = typed("consult", "?", "-m", "a", "--max-tokens", "4145")

    assert error_of(done) == (
        "Error: --max-tokens=4145 (the run's budget) cannot pay for one response: a call reserves at least 4,146 "
        "tokens. Raise it, or bound the replies with an llm option."
    )
    assert "cannot pay for one response" in typed("consult", "?", "-m", "a", "--max-tokens", "9", "--dry-run").stdout
    assert (provider.count("a"), json.loads(typed("runs", "--json").stdout)["runs"]) == (0, [])
