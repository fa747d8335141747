"""Saved consortiums as models of the real `llm` command, in a process of its own."""

import json
import os
import pty
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import llm
import pytest
from llm.parts import ToolCallPart

from consortium_mcp.records.consortium import define
from consortium_mcp.settings import load_settings
from consortium_mcp.store import Store
from tests.consulted import own_system, said_before
from tests.provider import Fault, Provider, Request, verdict
from tests.ready import python


def run_llm(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """`llm …`, with this test's environment."""
    command = python("-m", "llm", *arguments)
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, env=dict(os.environ))


def save(name: str = "panel", *models: str, **rules: object) -> None:
    """Save a consortium of models, by default `a` and `b`, judged by `arbiter`."""
    store = Store(load_settings().database_path)
    members = [{"model": model} for model in models or ("a", "b")]
    store.consortiums.save.sync(name, define(**{"members": members, "arbiter": "arbiter", **rules}))
    store.close()


def write_row(name: str, config: str) -> None:
    """Write an invalid row."""
    with closing(sqlite3.connect(load_settings().database_path)) as connection, connection:
        connection.execute("INSERT INTO consortium_configs VALUES (?, ?, '', NULL)", [name, config])
    connection.close()


def texts(request: Request) -> list[str]:
    """The texts of a request's messages, without the system prompt."""
    return [message["content"] for message in request.messages if message["role"] != "system"]


def logged() -> list[dict[str, Any]]:
    """The entries of consortiums in `llm logs`, oldest first."""
    rows: list[dict[str, Any]] = json.loads(run_llm("logs", "--json", "-n", "0", "-m", "panel").stdout)
    return sorted(rows, key=lambda row: str(row["id"]))


# asking


def test_B20_an_option_is_honoured(provider: Provider) -> None:
    save(confidence_threshold=0.99)
    provider.on("arbiter", verdict("Paris", confidence=0.5, needs_iteration=True))

    done = run_llm("-m", "panel", "Capital?", "-o", "max_iterations", "1")

    assert (done.returncode, done.stdout, provider.count("arbiter")) == (0, "Paris\n", 1)


def test_B20_every_option_reaches_the_run(provider: Provider) -> None:
    save()
    provider.on("arbiter", verdict("Paris", confidence=0.5))
    options = {
        "confidence_threshold": "40",
        "max_iterations": "2",
        "min_iterations": "2",
        "strategy": "debate",
        "judging_method": "vote",
        "deadline_seconds": "77",
        "system_prompt": "Be brief.",
    }

    run_llm("-m", "panel", "Capital?", *(word for option in options.items() for word in ("-o", *option)))

    store = Store(load_settings().database_path)
    run = store.runs.load.sync(store.runs.find.sync()[0].run_id)
    store.close()
    rules = run.consortium
    assert (rules.confidence_threshold, rules.max_iterations, rules.min_iterations) == (0.4, 2, 2)
    assert (rules.strategy, rules.judging_method, run.deadline_seconds) == ("debate", "vote", 77)
    assert own_system(provider.requests_to("a")[0]) == "Be brief."


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("max_iterations", "0", "greater than or equal to 1"),
        ("confidence_threshold", "101", "less than or equal to 100"),
        ("deadline_seconds", "soon", "valid number"),
        ("deadline_seconds", "inf", "less than or equal to 86400"),
        ("strategy", "shout", "There is no strategy 'shout'"),
        ("max_cost_usd", "1", "cannot be enforced: the price of a, b, arbiter is unknown"),
        ("temperature", "1", "Extra inputs"),
    ],
)
def test_an_option_that_does_not_do_is_refused_before_anything_is_paid(
    provider: Provider, option: str, value: str, says: str
) -> None:
    save()

    done = run_llm("-m", "panel", "?", "-o", option, value)

    assert done.returncode == 1 and says in done.stderr and "Traceback" not in done.stderr
    assert provider.count() == 0


def test_a_fragment_and_a_template_are_part_of_the_prompt(provider: Provider, llm_home: Path) -> None:
    save()
    provider.on("arbiter", verdict("Paris"))
    (llm_home / "notes.txt").write_text("France is a country.")
    (llm_home / "templates").mkdir()
    (llm_home / "templates" / "ask.yaml").write_text("system: Be brief.\nprompt: 'Answer: $input'\n")

    run_llm("-m", "panel", "-t", "ask", "-f", str(llm_home / "notes.txt"), "Capital?")

    for model in ("a", "arbiter"):
        assert "France is a country." in provider.requests_to(model)[0].prompt
        assert "Answer: Capital?" in provider.requests_to(model)[0].prompt
    assert own_system(provider.requests_to("a")[0]) == "Be brief."


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["-a", "picture.png"], "does not support attachments"),
        (["-T", "llm_version"], "does not support tools"),
        (["--schema", "name, age int", "-o", "judging_method", "pick"], "needs the judging method synthesize"),
    ],
)
def test_B36_what_cannot_be_passed_on_is_refused_before_anything_is_paid(
    provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str
) -> None:
    save()
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    monkeypatch.chdir(tmp_path)

    done = run_llm("-m", "panel", "?", *arguments)

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1) and says in done.stderr
    assert provider.count() == 0


def test_a_schema_is_followed_by_the_arbiter_and_known_to_the_members(provider: Provider) -> None:
    save()
    provider.on("b", Fault.wrong_key())
    provider.on("arbiter", json.dumps({"synthesis": {"name": "Rex", "age": 4}, "confidence": 0.9}))

    done = run_llm("-m", "panel", "Invent a dog", "--schema", "name, age int", "-o", "max_iterations", "1")

    asked = provider.requests_to("arbiter")[0].response_format
    assert json.loads(done.stdout) == {"name": "Rex", "age": 4}
    assert asked is not None and '"age": {"type": "integer"}' in json.dumps(asked)
    assert '"age": {"type": "integer"}' in provider.requests_to("a")[0].system
    assert "1 of 2 instances" in logged()[0]["response_json"]["degraded"][0]


def test_a_schema_that_the_arbiter_cannot_follow_is_refused_before_anything_is_paid(provider: Provider) -> None:
    save(arbiter="plain-arbiter")

    done = run_llm("-m", "panel", "Invent a dog", "--schema", "name, age int")

    assert done.returncode == 1 and "an arbiter that supports schemas, which plain-arbiter does not" in done.stderr
    assert provider.count() == 0


@pytest.mark.parametrize("reply", ["A dog called Rex", json.dumps({"synthesis": "Rex", "confidence": 0.9})])
def test_what_does_not_follow_the_schema_is_no_answer(provider: Provider, reply: str) -> None:
    save()
    provider.on("arbiter", reply)

    done = run_llm("-m", "panel", "Invent a dog", "--schema", "name, age int")

    assert (done.returncode, done.stdout) == (1, "") and "no single response follows the schema" in done.stderr


def test_a_run_without_an_answer_is_one_sentence(provider: Provider) -> None:
    save()
    provider.on("a", Fault.wrong_key())
    provider.on("b", Fault.wrong_key())

    done = run_llm("-m", "panel", "?")

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1) and "a#1: auth" in done.stderr


def test_what_an_answer_lacks_comes_first(provider: Provider) -> None:
    save()
    provider.on("a", Fault.wrong_key())
    provider.on("arbiter", verdict("Paris"))

    lines = run_llm("-m", "panel", "?").stdout.splitlines()

    assert lines[0].startswith("Incomplete: 1 of 2 instances gave no response (a#1: auth") and lines[1:] == ["Paris"]


# conversations


@pytest.mark.parametrize("how", ["-c", "--cid"])
def test_B11_a_conversation_goes_on_in_every_iteration_and_for_the_arbiter(provider: Provider, how: str) -> None:
    save()
    provider.on("arbiter", [verdict("Paris"), verdict("Lyon?", confidence=0.1), verdict("Lyon")])
    run_llm("-m", "panel", "Capital of France?", "--system", "Be brief.")
    before = provider.count()

    go_on = ["-c"] if how == "-c" else ["-m", "panel", "--cid", logged()[0]["conversation_id"]]
    done = run_llm(*go_on, "And the second city?", "-o", "max_iterations", "2")

    later = provider.requests[before:]
    assert done.stdout == "Lyon\n" and len(later) == 6
    for request in later:
        assert said_before(request)[:2] == ["Capital of France?", "Paris"]
    assert [own_system(request) for request in later if request.model == "a"] == ["Be brief.", "Be brief."]


def test_llm_shows_the_users_own_exchange_as_the_newest(provider: Provider) -> None:
    save()
    provider.on("arbiter", verdict("Paris"))
    run_llm("-m", "panel", "Capital of France?")
    run_llm("consortium", "Another one?", "-m", "a", "--arbiter", "arbiter")

    assert run_llm("logs", "-r").stdout == run_llm("logs", "-c", "-r").stdout == "Paris\n"
    assert json.loads(run_llm("logs", "-n", "1", "--json").stdout)[0]["model"] == "panel"
    assert "Capital of France?" in run_llm("logs", "-c", "-s").stdout


def test_chat_keeps_the_conversation(provider: Provider) -> None:
    save()
    provider.on("arbiter", [verdict("Paris"), verdict("Lyon")])

    done = run_llm("chat", "-m", "panel", stdin="Capital?\nSecond city?\nquit\n")

    assert done.returncode == 0 and "Paris" in done.stdout and "Lyon" in done.stdout
    assert texts(provider.requests_to("a")[1]) == ["Capital?", "Paris", "Second city?"]


def test_a_conversation_with_a_tool_call_is_refused_before_anything_is_paid(provider: Provider) -> None:
    save()
    call = ToolCallPart(name="look", arguments={}, tool_call_id="1")
    earlier = [llm.user("What is this?"), llm.assistant(call), llm.user("Which one?")]

    with pytest.raises(llm.ModelError, match="this conversation contains a tool call"):
        llm.get_model("panel").prompt(messages=earlier).text()

    assert provider.count() == 0


# what llm keeps


def test_llm_logs_has_the_run_the_verdict_and_what_all_calls_used(provider: Provider) -> None:
    save()
    provider.on("arbiter", verdict("Paris", confidence=0.9, dissent="one said Lyon"))

    done = run_llm("-m", "panel", "Capital?", "-u")

    (row,) = logged()
    store = Store(load_settings().database_path)
    run = store.runs.load.sync(row["response_json"]["run_id"])
    store.close()
    kept = row["response_json"]["verdict"]
    assert (row["response"], kept["confidence"], kept["dissent"]) == ("Paris", 0.9, "one said Lyon")
    assert "synthesis" not in kept
    assert (row["input_tokens"], row["output_tokens"]) == (run.usage.input_tokens, run.usage.output_tokens)
    assert run.usage.calls == 3 and '{"calls": 3}' in done.stderr


def test_nothing_but_the_answer_is_written_where_no_terminal_is(provider: Provider) -> None:
    save()
    provider.on("arbiter", verdict("Paris"))

    done = run_llm("-m", "panel", "Capital?")

    assert (done.stdout, done.stderr) == ("Paris\n", "")


# registration


def test_models_lists_each_saved_consortium_and_why_one_cannot_run(provider: Provider) -> None:
    save()
    save("lame", "nobody-knows-this")
    write_row("damaged", "{no json")

    listed = run_llm("models").stdout.splitlines()

    assert "Consortium: panel" in listed
    for name, why in (("lame", "llm knows no model 'nobody-knows-this'"), ("damaged", "its row is not JSON")):
        (line,) = [line for line in listed if line.startswith(f"Consortium: {name} ")]
        assert why in line


def test_models_options_explains_the_options(provider: Provider) -> None:
    save()

    listed = run_llm("models", "--options", "-m", "panel").stdout

    assert "max_iterations: int" in listed and "Seconds for the whole run; " in listed
    assert "- streaming" in listed and "- async" in listed


def test_B19_a_damaged_row_hides_no_other_consortium(provider: Provider) -> None:
    save()
    write_row("damaged", "{no json")
    provider.on("arbiter", verdict("Paris"))

    assert run_llm("-m", "panel", "?").stdout == "Paris\n"
    done = run_llm("-m", "damaged", "?")
    assert done.returncode == 1 and "'damaged' is damaged" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["a", "local", "consortium-local", "short"])
def test_B37_a_consortium_hides_no_model_and_no_alias(provider: Provider, name: str) -> None:
    save(name, "b")
    provider.on("a", "the real one")
    assert run_llm("aliases", "set", "short", "a").returncode == 0

    done = run_llm("models")

    assert f"Consortium: {name}" not in done.stdout
    assert done.stderr.count(f"The consortium {name!r} is not offered to llm") == 1
    if name in ("a", "short"):
        assert run_llm("-m", name, "?").stdout == "the real one\n"


@pytest.mark.parametrize("name", ["a", "local", "short"])
def test_B37_such_a_name_is_refused_when_it_is_saved(provider: Provider, name: str) -> None:
    run_llm("aliases", "set", "short", "a")

    done = run_llm("consortium", "save", name, "-m", "b")

    assert done.returncode == 1 and done.stderr.startswith(f"Error: The name {name!r} is ")
    assert done.stderr.count("\n") == 1


def test_a_saved_consortium_can_be_saved_again(provider: Provider) -> None:
    save()

    assert run_llm("consortium", "save", "panel", "-m", "b").returncode == 0


def test_consortiums_of_llm_consortium_are_models_before_our_database_exists(
    provider: Provider, llm_home: Path
) -> None:
    provider.on("arbiter", verdict("Paris"))
    with closing(sqlite3.connect(llm_home / "logs.db")) as connection, connection:
        connection.execute("CREATE TABLE consortium_configs (name TEXT PRIMARY KEY, config TEXT, created_at TEXT)")
        row = {"models": {"a": 2}, "arbiter": "arbiter", "confidence_threshold": 0.8, "max_iterations": 3}
        connection.execute("INSERT INTO consortium_configs VALUES ('old', ?, '')", [json.dumps(row)])
    connection.close()

    assert run_llm("-m", "old", "Capital?").stdout == "Paris\n"


def unusable(how: str) -> sqlite3.Connection | None:
    """Make our database unusable, as long as the returned object is kept."""
    path = load_settings().database_path
    if how == "no database":
        path.write_bytes(b"no database, whatever its name says" * 100)
    elif how == "foreign":
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("CREATE TABLE somebodys (id)")
        connection.close()
    elif how == "locked":
        save()
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("BEGIN EXCLUSIVE")
        return connection
    elif how == "a folder":
        path.mkdir()
    return None


@pytest.mark.parametrize("how", ["no database", "foreign", "locked", "a folder"])
def test_a_database_that_cannot_be_read_costs_llm_nothing(provider: Provider, how: str) -> None:
    provider.on("a", "the model's answer")
    held = unusable(how)

    asked, listed, version = run_llm("-m", "a", "?"), run_llm("models"), run_llm("--version")

    assert (asked.returncode, asked.stdout) == (0, "the model's answer\n")
    assert listed.returncode == 0 and "consortium-local" in listed.stdout
    assert (version.returncode, version.stderr) == (0, "")
    assert asked.stderr.count("\n") == (0 if how == "foreign" else 1)
    if held:
        held.close()


def test_a_wrong_setting_costs_llm_nothing(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    provider.on("a", "the model's answer")
    monkeypatch.setenv("CONSORTIUM_WAIT_SECONDS", "soon")

    done = run_llm("-m", "a", "?")

    assert (done.returncode, done.stdout) == (0, "the model's answer\n")
    assert "CONSORTIUM_WAIT_SECONDS is 'soon'" in done.stderr and done.stderr.count("\n") == 1


def test_looking_for_models_creates_and_changes_nothing(provider: Provider, llm_home: Path) -> None:
    run_llm("-m", "a", "?", "--no-log")
    assert not (llm_home / "consortium.db").exists()
    save()
    before = sorted((path.name, path.stat().st_mtime_ns) for path in llm_home.glob("consortium.db"))

    run_llm("-m", "a", "?", "--no-log")

    assert sorted((path.name, path.stat().st_mtime_ns) for path in llm_home.glob("consortium.db")) == before


# a consortium in a consortium


def test_a_member_that_is_a_consortium_ends_within_its_call(provider: Provider) -> None:
    save("inner", "b", system_prompt="Count well.")
    save("outer", "a", "inner")
    provider.on("arbiter", verdict("Paris"))

    done = run_llm("-m", "outer", "Capital?", "-o", "deadline_seconds", "100", "-o", "max_iterations", "1")

    store = Store(load_settings().database_path)
    deadlines = {run.consortium_name: run.deadline_seconds for run in store.runs.find.sync()}
    store.close()
    assert done.stdout == "Paris\n"
    assert deadlines["outer"] == 100 and 0 < deadlines["inner"] < 80 * 0.9 + 0.1
    assert own_system(provider.requests_to("b")[0]) == "Count well."


def test_a_member_that_is_a_consortium_that_cannot_run_is_refused_before_anything_is_paid(provider: Provider) -> None:
    save("inner", "nobody-knows-this")
    save("outer", "a", "inner")

    done = run_llm("-m", "outer", "?")

    assert done.returncode == 1 and "The member consortium 'inner' cannot run: llm knows no model" in done.stderr
    assert provider.count() == 0


def test_B22_a_consortium_that_contains_itself_by_an_alias_is_refused(provider: Provider) -> None:
    save("inner", "a", "again")
    assert run_llm("aliases", "set", "again", "inner").returncode == 0

    done = run_llm("-m", "inner", "?")

    assert done.returncode == 1 and "The consortium contains itself: inner → inner" in done.stderr
    assert provider.count() == 0


def test_B38_what_is_no_command_is_a_prompt_and_run_is_a_command(provider: Provider) -> None:
    provider.on("arbiter", verdict("Paris"))
    who = ("-m", "a", "--arbiter", "arbiter")

    assert run_llm("consortium", "Capital?", *who).stdout == "Paris\n"
    assert run_llm("consortium", "run", "Capital?", *who).stdout == "Paris\n"
    nothing = run_llm("consortium")
    assert nothing.returncode == 2 and "The prompt is missing" in nothing.stderr


async def test_both_kinds_of_model_answer_within_a_running_loop(provider: Provider) -> None:
    save()
    provider.on("arbiter", verdict("Paris"))

    assert llm.get_model("panel").prompt("Capital?").text() == "Paris"
    assert await llm.get_async_model("panel").prompt("Capital?").text() == "Paris"


def test_the_asynchronous_model_is_there_for_the_command_too(provider: Provider) -> None:
    save()
    provider.on("arbiter", verdict("Paris"))

    assert run_llm("--async", "-m", "panel", "Capital?").stdout == "Paris\n"


def test_on_a_terminal_progress_goes_to_stderr(provider: Provider) -> None:
    save()
    provider.on("arbiter", verdict("Paris"))
    members, arbiter = provider.gate("a", "b"), provider.gate("arbiter")
    terminal, stderr = pty.openpty()
    shown = ""

    command = [sys.executable, "-m", "llm", "-m", "panel", "Capital?"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, env=dict(os.environ)) as process:
        for awaited, gate in (("waiting for a#1", members), ("the arbiter reads them", arbiter)):
            while awaited not in shown:
                shown += os.read(terminal, 10_000).decode()
            gate.open()
        answer, _ = process.communicate(timeout=60)

    os.close(stderr)
    shown += os.read(terminal, 10_000).decode()
    os.close(terminal)
    assert answer == b"Paris\n"
    assert "waiting for a#1" in shown and "the arbiter reads them" in shown and "Paris" not in shown


def test_ctrl_c_interrupts_the_run(provider: Provider) -> None:
    save()
    provider.on("a", Fault.hang())
    provider.on("b", Fault.hang())
    command = [sys.executable, "-m", "llm", "-m", "panel", "?"]

    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, env=dict(os.environ)) as process:
        provider.wait_until(lambda: provider.count() == 2)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=30)

    store = Store(load_settings().database_path)
    (run,) = store.runs.find.sync()
    store.close()
    assert process.returncode == 1 and b"Traceback" not in stderr
    resume = f"`consortium-mcp runs resume {run.run_id}` continues it."
    assert f"Interrupted. The run is kept with every response that arrived: {resume}" in stderr.decode()
    assert (run.status, provider.disconnects) == ("interrupted", 2)
