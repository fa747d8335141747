"""The real command in a process of its own: its stdout, its stderr, and its exit status."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from sqlite_utils import Database

from tests.consulted import own_system
from tests.provider import Fault, Provider, Reply, verdict
from tests.ready import python


def run_command(
    *arguments: str, stdin: str | None = None, program: tuple[str, ...] = ("-m", "consortium_mcp")
) -> subprocess.CompletedProcess[str]:
    """`consortium-mcp …`, with this test's environment; stdin None is a closed one."""
    return subprocess.run(
        python(*program, *arguments),
        input=stdin if stdin is not None else "",
        capture_output=True,
        text=True,
        timeout=60,
        env=dict(os.environ),
    )


def test_consult_prints_only_the_answer_on_stdout(provider: Provider) -> None:
    provider.on("arbiter", verdict("Paris", confidence=0.9))

    done = run_command("consult", "Capital?", "-m", "a:2", "--arbiter", "arbiter")

    assert (done.returncode, done.stdout) == (0, "Paris\n")
    assert "Confidence: 0.90" in done.stderr and "consortium://runs/" in done.stderr


def test_the_prompt_comes_from_stdin_when_none_is_given(provider: Provider) -> None:
    provider.on("arbiter", verdict("Paris"))

    run_command("consult", "-m", "a", "--arbiter", "arbiter", stdin="Capital of France?\n")

    assert provider.requests_to("a")[0].prompt == "Capital of France?"


@pytest.mark.parametrize(
    ("command", "program"), [("consult", "consortium_mcp"), ("consortium", "llm")], ids=["consortium-mcp", "llm"]
)
@pytest.mark.parametrize(
    ("options", "asked"), [([], "def f(): ...\nWhat is wrong?"), (["--no-stdin"], "What is wrong?")]
)
def test_what_is_piped_in_comes_before_the_prompt(
    provider: Provider, command: str, program: str, options: list[str], asked: str
) -> None:
    provider.on("arbiter", verdict("Nothing"))
    words = (command, "What is wrong?", "-m", "a", "--arbiter", "arbiter", *options)

    run_command(*words, stdin="def f(): ...\n", program=("-m", program))

    assert provider.requests_to("a")[0].prompt == asked


def test_B38_llm_consortium_takes_a_bare_prompt(provider: Provider) -> None:
    provider.on("arbiter", verdict("Paris"))

    done = run_command("consortium", "Capital?", "-m", "a", "--arbiter", "arbiter", program=("-m", "llm"))

    assert (done.returncode, done.stdout) == (0, "Paris\n")


@pytest.mark.parametrize("words", [["consortium"], ["consortium", "-m", "a"], ["consortium", "run"]])
def test_B38_llm_consortium_without_a_prompt_asks_for_one(words: list[str]) -> None:
    done = run_command(*words, program=("-m", "llm"))

    assert done.returncode == 2 and done.stderr.endswith(
        "Error: The prompt is missing: give it as an argument or on stdin.\n"
    )


@pytest.mark.parametrize("words", [[""], ["   "], ["\n"], [], ["--no-stdin", ""]], ids=repr)
def test_a_prompt_of_nothing_is_wrong_usage_with_one_sentence(words: list[str]) -> None:
    done = run_command("consult", *words)

    assert done.returncode == 2 and done.stderr.endswith(
        "Error: The prompt is missing: give it as an argument or on stdin.\n"
    )


@pytest.mark.parametrize("words", [["-h"], ["consult", "-h"], ["runs", "show", "-h"]], ids=" ".join)
def test_h_shows_the_help(words: list[str]) -> None:
    done = run_command(*words)

    assert done.returncode == 0 and done.stdout.startswith("Usage: ") and done.stderr == ""


def test_a_saved_consortium_is_an_llm_model(provider: Provider) -> None:
    provider.on("arbiter", verdict("Paris"))
    run_command("save", "panel", "-m", "a:2", "--arbiter", "arbiter")

    done = run_command("-m", "panel", "Capital?", program=("-m", "llm"))

    assert done.stdout == "Paris\n"


def test_a_run_without_an_answer_is_there_for_a_program_all_the_same(provider: Provider, tmp_path: Path) -> None:
    provider.on("a", Fault.wrong_key())
    done = run_command("consult", "?", "-m", "a", "--json", "--output", str(tmp_path / "run.json"))
    run = json.loads(done.stdout)

    assert done.returncode == 1 and '"message":"No member gave a response' in done.stderr
    assert (run["status"], run["iterations"][0]["responses"][0]["error_kind"]) == ("failed", "auth")
    assert json.loads((tmp_path / "run.json").read_text()) == run


@pytest.mark.parametrize("closed", [">&-", "2>&-"])
def test_a_closed_stdout_or_stderr_is_no_error(provider: Provider, closed: str) -> None:
    command = f"{sys.executable} -m consortium_mcp consult '?' -m a --arbiter arbiter {closed}"
    done = subprocess.run(["sh", "-c", command], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)

    assert done.returncode == 0 and "Traceback" not in done.stderr


def test_json_is_the_whole_run(provider: Provider) -> None:
    provider.on("arbiter", verdict("Paris"))

    done = run_command("consult", "?", "-m", "a:2", "--arbiter", "arbiter", "--json")

    assert len(json.loads(done.stdout)["iterations"][0]["responses"]) == 2


def test_B34_every_iteration_is_returned_with_what_its_calls_used(provider: Provider) -> None:
    provider.on("a", [Reply("first", input_tokens=3, output_tokens=5), Reply("second", input_tokens=30)])
    unsure, sure = verdict("x", confidence=0.1), verdict("y", confidence=0.99)
    provider.on("arbiter", [Reply(text, input_tokens=100, output_tokens=10) for text in (unsure, sure)])

    run = json.loads(run_command("consult", "?", "-m", "a", "--arbiter", "arbiter", "--json").stdout)

    responses = [response for iteration in run["iterations"] for response in iteration["responses"]]
    assert [response["text"] for response in responses] == ["first", "second"]
    assert [response["input_tokens"] for response in responses] == [3, 30]
    assert (run["usage"]["calls"], run["usage"]["input_tokens"], run["usage"]["output_tokens"]) == (4, 233, 26)


def test_output_writes_the_run_to_a_file(provider: Provider, tmp_path: Path) -> None:
    provider.on("arbiter", verdict("Paris"))

    run_command("consult", "?", "-m", "a", "--arbiter", "arbiter", "--output", str(tmp_path / "run.json"))

    assert json.loads((tmp_path / "run.json").read_text())["answer"] == "Paris"


def test_B28_an_output_that_cannot_be_written_fails_before_anything_is_paid(provider: Provider) -> None:
    done = run_command("consult", "?", "-m", "a", "--output", "/nowhere/at/all.json")

    assert done.returncode == 2 and provider.count() == 0


def test_B28_an_output_that_cannot_be_written_in_the_end_fails_after_the_answer(provider: Provider) -> None:
    provider.on("arbiter", verdict("Paris"))

    done = run_command("consult", "?", "-m", "a", "--arbiter", "arbiter", "--output", "/dev/full")

    assert (done.returncode, done.stdout) == (1, "Paris\n")
    assert done.stderr.endswith("Error: '/dev/full' cannot be written: No space left on device.\n")


def test_raw_prints_the_arbiters_reply_untouched(provider: Provider) -> None:
    provider.on("arbiter", verdict("Paris"))

    done = run_command("consult", "?", "-m", "a", "--arbiter", "arbiter", "--raw")

    assert json.loads(done.stdout)["synthesis"] == "Paris"


def test_a_run_without_an_answer_exits_1_with_the_reason(provider: Provider) -> None:
    provider.on("a", Fault.wrong_key())

    done = run_command("consult", "?", "-m", "a")

    assert done.returncode == 1 and done.stdout == ""
    assert "a#1: auth" in done.stderr and "Traceback" not in done.stderr


def test_a_system_prompt_may_be_a_file(provider: Provider, tmp_path: Path) -> None:
    provider.on("arbiter", verdict("x"))
    (tmp_path / "system.txt").write_text("Be brief.\n")

    run_command("consult", "?", "-m", "a", "--arbiter", "arbiter", "--system", str(tmp_path / "system.txt"))

    assert own_system(provider.requests_to("a")[0]) == "Be brief."


@pytest.mark.parametrize("system", ["Be brief. " * 30, "Be brief. " * 600, "Sei knapp: " + "ü" * 200])
def test_a_system_prompt_too_long_for_a_files_name_is_a_text(provider: Provider, system: str) -> None:
    saved = run_command("save", "panel", "-m", "a", "--system", system, "--json")

    assert json.loads(saved.stdout)["definition"]["system_prompt"] == system


def test_a_system_prompt_file_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "system.txt").write_bytes(b"\xff\xfe")

    done = run_command("save", "panel", "-m", "a", "--system", str(tmp_path / "system.txt"))

    assert (done.returncode, done.stderr.count("\n")) == (1, 1) and "system.txt' cannot be read: " in done.stderr


def test_B33_without_any_model_the_four_ways_to_one_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "no-weights"))

    done = run_command("consult", "Hello?")

    assert done.returncode == 1
    for way in ("CONSORTIUM_DEFAULT", "save default", "llm keys set", "local-model fetch"):
        assert way in done.stderr


def test_saved_consortiums_are_listed_shown_and_removed(provider: Provider) -> None:
    saved = run_command("save", "panel", "-m", "a:2", "-m", "b", "--arbiter", "arbiter", "--confidence-threshold", "90")
    listed = run_command("list")
    shown = json.loads(run_command("show", "panel", "--json").stdout)["definition"]
    removed = run_command("remove", "panel")

    assert saved.returncode == removed.returncode == 0
    assert listed.stdout == "panel: a:2, b:1; arbiter arbiter; confidence threshold 0.9\n"
    assert [(one["model"], one["count"]) for one in shown["members"]] == [("a", 2), ("b", 1)]
    assert shown["confidence_threshold"] == 0.9
    assert json.loads(run_command("list", "--json").stdout)["consortiums"] == []


def test_saving_says_what_was_replaced_and_how_to_ask_it_and_the_description_is_shown(provider: Provider) -> None:
    words = ("save", "my panel", "-m", "a", "--arbiter", "arbiter", "--description", "For hard ones.")

    said = [run_command(*words).stdout for _ in range(2)]

    how = "my panel. Ask it with: consortium-mcp consult --consortium 'my panel' 'your question'\n"
    assert said == [f"Saved {how}", f"Replaced {how}"]
    for shown in (run_command("list", "--long").stdout, run_command("show", "my panel").stdout):
        assert "  Description: For hard ones.\n" in shown


def test_what_a_run_stops_on_and_whether_the_order_is_checked_are_saved_and_shown(provider: Provider) -> None:
    run_command("save", "panel", "-m", "a", "--stop-on", "both", "--no-check-order")
    run_command("save", "usual", "-m", "a")

    shown = {name: run_command("show", name).stdout for name in ("panel", "usual")}
    assert "Stop On: both" in shown["panel"] and "Check Order: no" in shown["panel"]
    assert "Stop On: arbiter" in shown["usual"] and "Check Order: yes" in shown["usual"]
    assert run_command("list", "--long").stdout == shown["panel"] + shown["usual"]


def test_a_consult_can_change_what_its_consortium_stops_on(provider: Provider) -> None:
    provider.on("arbiter", verdict("Paris or Rome, by the century", confidence=0.78))
    provider.on("a", "Answer: Paris")
    provider.on("b", "Answer: Rome")
    saved = [
        "--arbiter",
        "arbiter",
        "--max-iterations",
        "2",
        "--confidence-threshold",
        "0.75",
        "--stop-on",
        "agreement",
        "--no-check-order",
    ]
    run_command("save", "panel", "-m", "a", "-m", "b", *saved)

    as_saved = json.loads(run_command("consult", "?", "--consortium", "panel", "--json").stdout)
    given = ["--stop-on", "arbiter", "--check-order"]
    changed = json.loads(run_command("consult", "?", "--consortium", "panel", *given, "--json").stdout)

    assert (as_saved["status"], as_saved["iterations"][0]["measures"]["order_held"]) == ("exhausted", None)
    assert (changed["status"], changed["iterations"][0]["measures"]["order_held"]) == ("converged", True)


def test_an_unknown_thing_to_stop_on_is_wrong_usage() -> None:
    done = run_command("save", "panel", "-m", "a", "--stop-on", "luck")

    assert done.returncode == 2 and "'luck' is not one of 'arbiter', 'agreement', 'both'" in done.stderr


def test_B39_a_consortium_that_cannot_run_is_listed_with_its_reason(provider: Provider) -> None:
    run_command("save", "panel", "-m", "nobody-knows-this")

    assert "cannot run: llm knows no model 'nobody-knows-this'" in run_command("list").stdout


def test_B28_removing_what_is_not_saved_is_one_sentence_and_fails() -> None:
    done = run_command("remove", "panel")

    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("Error: No consortium named 'panel'.")


@pytest.mark.parametrize(
    ("words", "program"),
    [(["consutl"], "consortium_mcp"), (["consutl", "x"], "consortium_mcp"), (["consortium", "consutl"], "llm")],
)
def test_a_slip_in_a_commands_name_is_no_prompt(words: list[str], program: str) -> None:
    done = run_command(*words, program=("-m", program))

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("Error: No such command 'consutl'. Did you mean 'consult'?\n")


def test_one_word_with_an_option_is_a_prompt_even_if_it_is_nearly_a_command(provider: Provider) -> None:
    provider.on("arbiter", verdict("ls it"))

    done = run_command("consortium", "lsit", "-m", "a", "--arbiter", "arbiter", program=("-m", "llm"))

    assert (done.returncode, provider.requests_to("a")[0].prompt) == (0, "lsit")


def test_llm_consortium_says_that_a_bare_prompt_is_a_consult() -> None:
    assert (
        "Text that does not begin with a command is a prompt"
        in run_command("consortium", "--help", program=("-m", "llm")).stdout
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("consult", "?", "--consortium", "a", "-m", "b"), "Give either a consortium or models, not both."),
        (("consult", "?", "-m", "x:0"), "The count in 'x:0' is 0"),
        (("consult", "?", "-m", "a", "--strategy", "eliminate"), "The strategy 'eliminate' needs a judging method"),
        (("consult", "?", "--strategy", "bogus"), "'--strategy': There is no strategy 'bogus'. There are: refine,"),
        (("consult", "?", "-m", "a", "--max-iterations", "101"), "'--max-iterations': 101 is not in the range"),
        (("save", "panel", "-m", "x:0"), "The count in 'x:0' is 0"),
        (("save", "panel", "-m", "a", "--judging-method", "bogus"), "'--judging-method': There is no judging method"),
        (("runs", "replay", "x", "--judging-method", "bogus"), "'--judging-method': There is no judging method"),
        (("serve", "--port", "abc"), "'--port': 'abc': Input should be a valid integer"),
        (("serve", "--transport", "carrier-pigeon"), "'--transport': 'carrier-pigeon': Input should be 'stdio',"),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, tuple) else "",
)
def test_what_was_typed_and_breaks_a_rule_is_wrong_usage_by_the_name_that_was_typed(
    provider: Provider, words: tuple[str, ...], says: str
) -> None:
    done = run_command(*words)

    assert (done.returncode, done.stdout, provider.count()) == (2, "", 0)
    assert says in done.stderr.splitlines()[-1] and "CONSORTIUM_" not in done.stderr


@pytest.mark.parametrize("words", ["", "serve"])
@pytest.mark.parametrize("closed", ["<&-", ">&-"])
def test_a_server_without_stdin_or_stdout_says_in_one_sentence_what_to_do(words: str, closed: str) -> None:
    command = f"{sys.executable} -m consortium_mcp {words} {closed}"
    done = subprocess.run(["sh", "-c", command], input="", capture_output=True, text=True, timeout=60)

    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("Error: No MCP client can be served on stdio: stdin or stdout is closed.")


def test_wrong_usage_exits_2() -> None:
    assert [run_command(*words).returncode for words in (("frob",), ("consult",), ("save", "x"))] == [2, 2, 2]


@pytest.mark.parametrize(
    "words",
    [
        ("consult", "?", "--deadline", "inf"),
        ("consult", "?", "--deadline", "86401"),
        ("consult", "?", "--max-cost", "nan"),
        ("consult", "?", "--max-cost", "1e400"),
        ("consult", "?", "--max-calls", "1" + "0" * 23),
        ("consult", "?", "--confidence-threshold", "nan"),
        ("runs", "--limit", "1" + "0" * 20),
        ("runs", "prune", "--older-than", "1000000"),
        ("runs", "prune", "--keep", "1" + "0" * 20),
        ("runs", "rate", "x", "--score", "nan"),
        ("runs", "rate", "x", "--correct", "--note", "x" * 10_001),
        ("runs", "replay", "x", "--threshold", "nan"),
    ],
    ids=lambda words: " ".join(words)[:40],
)
def test_a_number_out_of_its_range_is_one_sentence_and_wrong_usage(words: tuple[str, ...]) -> None:
    done = run_command(*words)

    assert (done.returncode, done.stdout) == (2, "")
    assert re.search("is not in the range|is not a number|must be between|the limit of", done.stderr.splitlines()[-1])


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DEADLINE_SECONDS", "inf"),
        ("CALL_TIMEOUT_SECONDS", "nan"),
        ("MAX_COST_USD", "inf"),
        ("MAX_CALLS", "1" + "0" * 30),
        ("MAX_CONNECTIONS", "1" + "0" * 30),
    ],
)
def test_a_setting_out_of_its_range_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(f"CONSORTIUM_{variable}", value)

    done = run_command("consult", "?")

    assert done.returncode == 1 and f"CONSORTIUM_{variable} is '{value}': Input should be" in done.stderr


def test_a_wrong_setting_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSORTIUM_WAIT_SECONDS", "soon")

    done = run_command("consult", "?")

    assert done.returncode == 1 and "CONSORTIUM_WAIT_SECONDS is 'soon'" in done.stderr


def test_models_lists_usable_ones_first(provider: Provider) -> None:
    listed = json.loads(run_command("models", "--json").stdout)["models"]

    problems = [one["problem"] is not None for one in listed]
    assert problems == sorted(problems)
    assert "llama3:8b" in [one["model"] for one in listed if one["problem"] is None]


def test_models_says_each_reason_once_with_its_models_after_those_that_can_be_used(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    lines = run_command("models").stdout.splitlines()
    lacking = [line for line in lines if line.startswith("Not usable: ")]

    assert "llama3:8b" in lines and lines[-len(lacking) :] == lacking and len(lacking) == 1
    assert "gpt-4o, " in lacking[0] and lacking[0].count("gpt-4o-mini") == 1


def test_models_that_are_not_allowed_are_listed_as_such(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSORTIUM_ALLOWED_MODELS", "b,arb*")
    lines = run_command("models").stdout.splitlines()
    (models,) = [line for line in run_command("doctor").stdout.splitlines() if " Models: " in line]

    assert lines[:2] == ["b", "arbiter"] and len(lines) == 3
    assert lines[2].startswith("Not usable: ") and lines[2].endswith(
        ": not allowed here; allowed: b, arb* (CONSORTIUM_ALLOWED_MODELS)."
    )
    assert "Models: 2 of " in models


def test_models_says_why_a_saved_consortium_cannot_run(provider: Provider) -> None:
    run_command("save", "panel", "-m", "a")
    run_command("save", "lame", "-m", "nobody-knows-this")
    lines = run_command("models").stdout.splitlines()

    assert "panel" in lines and "lame" not in lines
    assert any(line.startswith("Not usable: lame: llm knows no model 'nobody-knows-this'") for line in lines)


def test_models_are_listed_where_the_database_is_of_a_newer_release(provider: Provider, llm_home: Path) -> None:
    run_command("save", "panel", "-m", "a")
    with Database(llm_home / "consortium.db") as db:
        later = {"migration_set": "consortium_mcp", "name": "m999_later", "applied_at": "2030"}
        db.table("_sqlite_migrations").insert(later)
    done = run_command("models")

    assert done.returncode == 0 and {"panel", "llama3:8b"} < set(done.stdout.splitlines())
    assert "written by a newer release" in done.stderr


def test_models_says_where_none_matches() -> None:
    done = run_command("models", "zzzz")

    assert (done.stdout, done.stderr) == ("", "No model's id or alias contains 'zzzz'.\n")


def test_runs_lists_and_shows_what_was_asked(provider: Provider) -> None:
    provider.on("arbiter", verdict("Paris"))
    run_command("consult", "Capital of France?", "-m", "a", "--arbiter", "arbiter")
    run_id = json.loads(run_command("runs", "--json").stdout)["runs"][0]["run_id"]

    assert "### a#1" in run_command("runs", "show", run_id).stdout


def test_every_command_explains_itself() -> None:
    commands = run_command("--help").stdout.partition("Commands:")[2].split()

    for command in ("serve", "consult", "save", "list", "show", "remove", "models", "local-model", "demo"):
        assert command in commands
        assert "Usage:" in run_command(command, "--help").stdout


def test_keys_that_cannot_be_read_are_one_sentence_for_each_model_that_needs_one(
    provider: Provider, llm_home: Path
) -> None:
    (llm_home / "keys.json").write_text("{")

    listed = run_command("models", "--json")
    asked = run_command("consult", "?", "-m", "a")

    assert "keys.json is broken: line 1 is not valid JSON" in json.loads(listed.stdout)["models"][-1]["problem"]
    assert (asked.returncode, asked.stderr.count("\n")) == (
        1,
        1,
    ) and "Correct the line, or move the file away." in asked.stderr
