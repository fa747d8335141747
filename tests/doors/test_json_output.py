"""`--json` of every command: the real output follows its schema, and a failure is one line of JSON on stderr."""

import json
import os
import signal
import socket
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest
from click.testing import CliRunner, Result

import consortium_mcp.cli.local_model as local_model_command
import consortium_mcp.errors as errors
from consortium_mcp.cli import llm_group, main
from consortium_mcp.cli.json_output import ErrorKind, ErrorOutput, JsonOutput
from consortium_mcp.service.service import ConsortiumService
from tests.json_schemas import FOLDER, json_commands, schema_files, schema_of
from tests.provider import Fault, Provider, Request, verdict

COMMANDS = dict(json_commands())

LINES: dict[str, list[list[str]]] = {
    "consult": [["?", "--consortium", "panel"], ["?", "-m", "a:2", "--arbiter", "arbiter", "--dry-run"]],
    "save": [["other", "-m", "a", "-m", "b as skeptic", "--arbiter", "arbiter"], ["broken", "-m", "gpt-4o"]],
    "list": [[]],
    "show": [["panel"]],
    "remove": [["panel"]],
    "runs": [[]],
    "runs cancel": [["RUN"]],
    "runs prune": [["--keep", "0", "--dry-run"], ["--keep", "0", "--yes"]],
    "runs rate": [["RUN", "--score", "0.5", "--note", "half right"]],
    "runs replay": [["RUN", "--arbiter", "plain-arbiter"]],
    "runs resume": [["RUN"]],
    "runs show": [["RUN"]],
    "stats": [[]],
    "models": [[], ["gpt"]],
    "strategies": [[]],
    "local-model fetch": [[]],
    "local-model status": [[]],
    "setup": [["-m", "a", "--name", "third"]],
    "install": [["cursor"], ["codex", "--print"]],
    "uninstall": [["cursor"]],
    "doctor": [[]],
}
"""What each command is given; RUN stands for a run. `demo` has a test of its own, which needs the embedded model."""


def run(*words: str) -> Result:
    """A command in this process; what was not foreseen fails the test."""
    done = CliRunner().invoke(main, list(words))
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def is_of(kind: type[JsonOutput], printed: Any) -> bool:
    """Whether what was printed follows the schema of a record."""
    return bool(jsonschema.Draft202012Validator(schema_of(kind)).is_valid(printed))


def error_of(done: Result) -> dict[str, Any]:
    """The failure on the last line of stderr, in the form of its schema."""
    printed = json.loads(done.stderr.splitlines()[-1])
    jsonschema.validate(printed, schema_of(ErrorOutput))
    return dict(printed["error"])


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home of the test's own, without Ollama."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("OLLAMA_HOST", f"127.0.0.1:{unused.getsockname()[1]}")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.fixture
def run_id(provider: Provider) -> str:
    """A saved consortium, and a rated run of it."""
    provider.on("arbiter", lambda _: verdict("Paris", dissent="One says Lyon."))
    run("save", "panel", "-m", "a:2", "-m", "b", "--arbiter", "arbiter")
    made = str(json.loads(run("consult", "Capital?", "--consortium", "panel", "--json").stdout)["run_id"])
    run("runs", "rate", made, "--correct", "--note", "It is.")
    return made


def test_every_command_that_prints_data_has_a_schema_and_a_line() -> None:
    assert set(LINES) | {"demo"} == set(COMMANDS)
    assert {path.name: path.read_text() for path in FOLDER.glob("*")} == schema_files(), "make generate"


@pytest.mark.parametrize("command", LINES)
def test_the_output_of_each_command_follows_one_of_its_schemas(
    command: str, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_model_command, "show_fetch", lambda: None)  # the real one is in test_local_model
    followed = set()
    for line in LINES[command]:
        words = [*command.split(), *(run_id if word == "RUN" else word for word in line), "--json"]
        printed = json.loads(run(*words).stdout)
        kinds = [kind for kind in COMMANDS[command] if is_of(kind, printed)]
        assert len(kinds) == 1, (words, list(printed))
        assert next(iter(printed.items())) == ("schema_version", 1)
        followed |= set(kinds)

    assert followed == set(COMMANDS[command])


def test_the_demo_prints_its_run(local_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSORTIUM_LOCAL_MODEL", str(local_weights))

    printed = json.loads(run("demo", "--json").stdout)

    (kind,) = COMMANDS["demo"]
    jsonschema.validate(printed, schema_of(kind))
    assert printed["prompt"] == "What is the capital of France?"


def test_a_field_that_no_schema_has_is_noticed(run_id: str) -> None:
    printed = json.loads(run("runs", "show", run_id, "--json").stdout)

    assert not is_of(COMMANDS["runs show"][0], printed | {"more": 1})
    assert not is_of(COMMANDS["runs show"][0], {name: printed[name] for name in printed if name != "rating"})


def test_a_file_has_the_same_object(run_id: str, tmp_path: Path) -> None:
    printed = run("consult", "?", "--consortium", "panel", "--output", str(tmp_path / "run.json"), "--json").stdout

    assert json.loads((tmp_path / "run.json").read_text()) == json.loads(printed)


@pytest.mark.parametrize(
    ("line", "status", "kind", "said"),
    [
        ("shw panel", 2, "usage", "Did you mean 'show'?"),
        ("show", 2, "usage", "Missing argument 'NAME'."),
        ("show panel --bogus", 2, "usage", "--bogus"),
        ("consult ? -m a --max-calls none", 2, "usage", "'none' is not a valid integer"),
        ("consult ? -m a --strategy cleverly", 2, "usage", "There is no strategy 'cleverly'."),
        ("consult ? -m a --min-iterations 3 --max-iterations 1", 2, "usage", "--min-iterations is 3"),
        ("save panel", 2, "usage", "No model is named."),
        ("show panel2", 1, "not_found", "No consortium named 'panel2'."),
        ("runs show nosuchrun", 1, "not_found", "nosuchrun"),
        ("consult ? -m nosuchmodel", 1, "model_unavailable", "nosuchmodel"),
        ("consult ? -m a --output /dev/null/run.json", 2, "usage", "the folder '/dev/null' does not exist."),
        ("runs prune --keep 0", 1, "failed", "Give --yes."),
    ],
)
def test_a_failure_is_one_line_of_json_on_stderr(line: str, status: int, kind: str, said: str, run_id: str) -> None:
    done = run(*line.split(), "--json")

    assert (done.exit_code, done.stdout) == (status, "")
    error = error_of(done)
    assert (error["kind"], error["run_id"]) == (kind, None) and said in error["message"], error


@pytest.mark.parametrize("line", ["show panel2", "consult ? -m nosuchmodel", "runs show nosuchrun"])
def test_a_failure_names_the_next_step_apart(line: str, run_id: str) -> None:
    error = error_of(run(*line.split(), "--json"))

    assert run(*line.split()).stderr == f"Error: {error['message']} {error['next_step']}\n"


def test_a_run_without_an_answer_is_printed_and_named_by_the_error(run_id: str, provider: Provider) -> None:
    for member in ("a", "b"):
        provider.on(member, Fault.refused("no", 400, "invalid_request", "No."))

    done = run("consult", "Why?", "--consortium", "panel", "--json")

    printed = json.loads(done.stdout)
    assert is_of(COMMANDS["consult"][0], printed) and printed["status"] == "failed" and done.exit_code == 1
    error = error_of(done)
    assert (error["kind"], error["run_id"]) == ("run_failed", printed["run_id"])
    assert error["next_step"] == f"`consortium-mcp runs show {printed['run_id']}` reads what was said."


def test_an_interruption_names_the_run_and_its_resumption(
    run_id: str, provider: Provider, service: ConsortiumService
) -> None:
    def interrupt(_: Request) -> str:
        os.kill(os.getpid(), signal.SIGINT)
        return verdict("late")

    provider.on("arbiter", interrupt)
    done = run("consult", "Why?", "--consortium", "panel", "--json")

    (newest,) = service.store.runs.find.sync(limit=1)
    error = error_of(done)
    assert (done.exit_code, done.stdout, newest.status) == (130, "", "interrupted")
    assert (error["kind"], error["run_id"]) == ("interrupted", newest.run_id)
    assert error["next_step"] == f"`consortium-mcp runs resume {newest.run_id}` continues it."


def test_the_docs_show_a_real_failure(run_id: str) -> None:
    page = (FOLDER.parent / "json.md").read_text()

    assert f"```json\n{run('show', 'panel2', '--json').stderr}```" in page


def test_below_llm_a_failure_is_json_too(run_id: str) -> None:
    done = CliRunner().invoke(llm_group, ["show", "panel2", "--json"])

    assert done.exit_code == 1 and error_of(done)["kind"] == "not_found"


def test_json_behind_two_dashes_is_a_prompt(run_id: str) -> None:
    done = run("consult", "-m", "nosuchmodel", "--", "--json")

    assert done.exit_code == 1 and done.stderr.startswith("Error: ")


def test_every_kind_of_error_is_in_the_schema() -> None:
    def below(kind: type[errors.ConsortiumError]) -> list[type[errors.ConsortiumError]]:
        return [kind, *(one for child in kind.__subclasses__() for one in below(child))]

    ours = {one.kind for one in below(errors.ConsortiumError) if one.__module__.startswith("consortium_mcp")}
    assert {*ours, "usage", "interrupted"} == set(get_args(ErrorKind))
