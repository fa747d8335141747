"""`runs` as a user sees it: searched, exported, and pruned."""

import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path

import pytest

from consortium_mcp.records import Iteration, Rating, Run, Turn, Verdict
from consortium_mcp.reports.html import page
from consortium_mcp.service.service import ConsortiumService
from consortium_mcp.store import Store
from consortium_mcp.text.templates import plain, storable
from tests.doors.test_cli import run_command
from tests.hostile_texts import HOSTILE
from tests.provider import Provider, verdict
from tests.scripted import new_run, response

MARKUP = {
    "script": "<script>alert(1)</script>",
    "end of a quotation": "\"'><img src=x onerror=alert(1)>",
    "end of our element": "</pre></article></body></html><script src=https://evil.example/x.js></script>",
    "end of the style": "</style><style>@import url(https://evil.example)</style>",
    "comment": "<!-- --><![CDATA[<b>]]><?php ?>",
    "entities": "&lt;b&gt; &amp; &#x3c;script&#x3e;",
}
OUR_TAGS = set("html head meta title style body main article header section div h1 h2 h3 p ul li span".split())
OUR_TAGS |= {"details", "summary"}
MARKDOWN_TAGS = set("p strong em code pre ul ol li blockquote hr br table thead tbody tr th td".split())
ATTRIBUTES = {"lang", "charset", "http-equiv", "content", "name", "id", "class", "start"}


def consult_all(provider: Provider, *prompts: str) -> list[str]:
    """Consult on each prompt; the run ids, oldest first."""
    provider.on("arbiter", verdict("Paris"))
    for prompt in prompts:
        assert run_command("consult", prompt, "-m", "a", "--arbiter", "arbiter").returncode == 0
    return [run["run_id"] for run in reversed(json.loads(run_command("runs", "--json").stdout)["runs"])]


def listed(*options: str) -> list[str]:
    """The run ids that `runs` lists."""
    return [run["run_id"] for run in json.loads(run_command("runs", *options, "--json").stdout)["runs"]]


def test_runs_are_found_by_words_consortium_status_and_number(provider: Provider) -> None:
    run_command("save", "panel", "-m", "a", "--arbiter", "arbiter")
    first, second = consult_all(provider, "Capital of France?", "Capital of Spain?")
    run_command("consult", "Why is the sky blue?", "--consortium", "panel")
    (of_panel,) = listed("--consortium", "panel")

    assert listed("--query", "spain") == [second]
    assert listed("--status", "converged") == [of_panel, second, first] and listed("--status", "failed") == []
    assert listed("--limit", "1") == [of_panel]
    assert run_command("runs", "--status", "failed").stderr == "No run matches.\n"


def test_a_follow_up_goes_on_with_the_conversation(provider: Provider) -> None:
    (run_id,) = consult_all(provider, "Capital of France?")

    done = run_command("consult", "And its river?", "--follow-up-to", run_id)

    assert done.returncode == 0
    assert "Capital of France?" in str(provider.requests_to("a")[-1].messages)
    assert run_command("consult", "And?", "--follow-up-to", "nosuchrun").stderr.startswith("Error: No run 'nosuchrun'")


def test_the_list_as_json_says_nothing_of_iterations_that_it_does_not_read(provider: Provider) -> None:
    run_command("consult", "?", "-m", "a", "--arbiter", "arbiter")

    (listed,) = json.loads(run_command("runs", "--json").stdout)["runs"]
    assert "iterations" not in listed and listed["usage"]["calls"] > 0


def test_a_run_is_named_by_its_id_the_beginning_of_that_or_its_uri(service: ConsortiumService) -> None:
    for run_id in ("01aaaabbb1", "01aaaabbb2", "01aaaaccc1"):
        run = new_run("Why?", run_id=run_id)
        service.store.runs.open.sync(run, "somebody")
        service.store.runs.close.sync(
            run.model_copy(update={"status": "converged", "answer": "x", "ended_utc": "2026"}), "somebody"
        )
    shown = run_command("runs", "show", "01aaaaccc1").stdout

    assert shown.startswith("# Run 01aaaaccc1\n")
    for named in ("01aaaac", "consortium://runs/01aaaaccc1", "consortium://runs/01aaaaccc1/transcript.md"):
        assert run_command("runs", "show", named).stdout == shown
    assert run_command("runs", "export", "01aaaac", "--format", "md").stdout.startswith(shown)
    assert run_command("runs", "rate", "01aaaac", "--correct").stdout == "Rated 01aaaaccc1: 1.\n"
    assert run_command("runs", "cancel", "01aaaac").stdout == "01aaaaccc1 had already ended (converged).\n"
    for command in ("show", "resume", "replay"):
        assert run_command("runs", command, "01aaaab").stderr == (
            "Error: Several runs begin with '01aaaab', as 01aaaabbb2 and 01aaaabbb1; give more of the id.\n"
        )
    for short in ("01aaa", ""):
        assert run_command("runs", "show", short).stderr == (
            f"Error: {short!r} is too short: give at least 6 characters of a run's id, as 01aaaaccc.\n"
        )


def test_runs_are_exported_as_json_lines_and_markdown_to_stdout_or_a_file(provider: Provider, tmp_path: Path) -> None:
    first, second = consult_all(provider, "Capital of France?", "Capital of Spain?")

    lines = run_command("runs", "export").stdout.splitlines()
    markdown = run_command("runs", "export", first, "--format", "md", "--output", str(tmp_path / "run.md"))

    assert [Run.model_validate_json(line).run_id for line in lines] == [second, first]
    assert (markdown.stdout, markdown.stderr) == ("", f"Wrote 1 run to {tmp_path / 'run.md'}.\n")
    assert (tmp_path / "run.md").read_text() == run_command("runs", "show", first).stdout + "\n"
    assert (tmp_path / "run.md").stat().st_mode & 0o777 == 0o600


def test_B28_an_export_that_cannot_be_written_fails(provider: Provider, tmp_path: Path) -> None:
    consult_all(provider, "Capital of France?")

    nowhere = run_command("runs", "export", "--output", "/nowhere/at/all.jsonl")
    full = run_command("runs", "export", "--output", "/dev/full")

    assert nowhere.returncode == 2 and "the folder '/nowhere/at' does not exist" in nowhere.stderr
    assert (full.returncode, full.stderr) == (1, "Error: '/dev/full' cannot be written: No space left on device.\n")


def test_a_file_that_exists_is_not_lost_where_a_run_to_export_is_not_there(provider: Provider, tmp_path: Path) -> None:
    (run_id,) = consult_all(provider, "Capital of France?")
    (tmp_path / "runs.jsonl").write_text("of last year\n")

    done = run_command("runs", "export", run_id, "nosuchrun", "--output", str(tmp_path / "runs.jsonl"))

    assert done.returncode == 1 and done.stderr.startswith("Error: No run 'nosuchrun'")
    assert (tmp_path / "runs.jsonl").read_text() == "of last year\n"


def test_an_export_can_go_into_a_link_or_a_device(provider: Provider, tmp_path: Path) -> None:
    consult_all(provider, "Capital of France?")
    (tmp_path / "link").symlink_to(tmp_path / "runs.jsonl")

    run_command("runs", "export", "--output", str(tmp_path / "link"))

    printed = run_command("runs", "export", "--output", "/dev/stdout").stdout
    assert (tmp_path / "link").is_symlink() and (tmp_path / "runs.jsonl").read_text() == printed
    assert printed == run_command("runs", "export").stdout


class Parsed(HTMLParser):
    """A page as a browser parses it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.others: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def handle_comment(self, data: str) -> None:
        self.others.append(data)

    def unknown_decl(self, data: str) -> None:
        self.others.append(data)

    def handle_pi(self, data: str) -> None:
        self.others.append(data)


def run_saying(text: str) -> Run:
    """A run in which every model gives the same text."""
    judged = Iteration(
        number=1,
        responses=(response(1, text), response(2, None, error=text)),
        verdict=Verdict(synthesis=text, analysis=text, dissent=text, problem=text, refinement_areas=(text,)),
    )
    unread = Iteration(number=2, responses=(), raw_verdict=text, arbiter_error=text)
    return new_run(
        text,
        run_id="01run",
        history=(Turn(role="user", text=text),),
        consortium_name=text,
        iterations=(judged, unread),
        selected_iteration=1,
        answer=text,
        degraded=(text,),
        error=text,
    )


@pytest.mark.parametrize("name", [*MARKUP, *HOSTILE])
def test_a_text_of_a_model_is_never_more_than_markdown_in_the_html_page(name: str) -> None:
    text = storable({**MARKUP, **HOSTILE}[name])[:100_000]

    parsed = Parsed(page([run_saying(text)]))

    assert parsed.tags <= OUR_TAGS | MARKDOWN_TAGS and parsed.others == []
    assert {value for name, value in parsed.attributes if name == "id"} == {"01run"}
    assert {name for name, _ in parsed.attributes} <= ATTRIBUTES
    assert "".join(parsed.texts).count(plain(text).strip()) >= 3


def test_an_html_export_is_one_page_that_loads_nothing(provider: Provider, tmp_path: Path) -> None:
    consult_all(provider, "Is 1 < 2 & 3?", "<script>alert(1)</script>")

    done = run_command("runs", "export", "--format", "html", "--output", str(tmp_path / "runs.html"))

    text = (tmp_path / "runs.html").read_text()
    assert done.returncode == 0 and text.count("<article") == 2
    assert "Is 1 &lt; 2 &amp; 3?" in text and "<script" not in text
    assert "default-src 'none'" in text and not re.search(r"(?:src|href)=|url\(|@import|https?:", text)


@pytest.fixture
def history(service: ConsortiumService) -> Iterator[Store]:
    """Ten ended runs of as many days, the oldest ten days old; `01day9` is the oldest."""
    store = service.store
    for age in reversed(range(10)):
        run = new_run(f"question {age} " + "x" * 100_000, run_id=f"01day{9 - age}")
        store.runs.open.sync(run, "somebody")
        store.runs.close.sync(
            run.model_copy(update={"status": "converged", "answer": "x", "ended_utc": "2026"}), "somebody"
        )
        sql = f"UPDATE runs SET created_utc = strftime('%Y-%m-%dT%H:%M:%S.000+00:00', 'now', '-{age} days', '-1 hour')"
        store.database.write(lambda c, sql=sql, run=run: c.execute(f"{sql} WHERE run_id = ?", [run.run_id]) and None)  # type: ignore[misc]
    yield store


def ids(store: Store) -> list[str]:
    """The stored runs, newest first."""
    return [run.run_id for run in store.runs.find.sync(limit=None)]


@pytest.mark.parametrize(
    ("options", "stay"),
    [
        (["--older-than", "7"], 7),
        (["--keep", "4"], 4),
        (["--older-than", "7", "--keep", "9"], 9),
        (["--older-than", "2", "--keep", "4"], 4),
        (["--keep", "0"], 0),
        (["--keep", "100"], 10),
    ],
)
def test_prune_removes_runs_by_age_and_number(history: Store, options: list[str], stay: int) -> None:
    newest = ids(history)[:stay]

    removed = json.loads(run_command("runs", "prune", *options, "--yes", "--json").stdout)["removed"]

    assert ids(history) == newest and len(removed) == 10 - stay


def test_prune_says_what_it_would_remove_and_asks(history: Store) -> None:
    declined = run_command("runs", "prune", "--keep", "8", stdin="n\n")
    unanswered = run_command("runs", "prune", "--keep", "8", stdin="")
    kept = len(ids(history))
    agreed = run_command("runs", "prune", "--keep", "8", stdin="y\n")

    assert declined.returncode == unanswered.returncode == 1 and kept == 10
    assert "Remove 2 runs, opened from " in declined.stderr and declined.stderr.endswith("Error: Nothing is removed.\n")
    assert unanswered.stderr.endswith("stdin has none. Give --yes.\n")
    assert agreed.returncode == 0 and agreed.stdout.startswith("Removed 2 runs") and len(ids(history)) == 8
    assert "Removing" not in agreed.stdout + agreed.stderr  # only who sees it draw is shown how far it is


def test_prune_says_without_removing_which_runs_it_would(history: Store) -> None:
    listed = run_command("runs", "prune", "--keep", "8", "--dry-run")
    as_json = json.loads(run_command("runs", "prune", "--keep", "8", "--dry-run", "--json").stdout)

    assert [line.split()[0] for line in listed.stdout.splitlines()] == as_json["would_remove"] == ["01day0", "01day1"]
    assert len(ids(history)) == 10


def test_prune_without_a_terminal_removes_nothing_and_says_what_to_do(history: Store) -> None:
    command = f"{sys.executable} -m consortium_mcp runs prune --keep 8 <&-"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60)

    assert (done.returncode, len(ids(history))) == (1, 10)
    assert done.stderr == "Error: Removing runs needs a confirmation, and stdin is closed. Give --yes.\n"


@pytest.mark.parametrize(
    ("option", "command"),
    [
        (["--consortium", "panel"], ["prune", "--keep", "0", "--yes"]),
        (["--limit", "3"], ["export"]),
        (["--json"], ["show", "01"]),
    ],
)
def test_an_option_of_the_list_is_no_option_of_what_else_is_done_with_runs(
    history: Store, option: list[str], command: list[str]
) -> None:
    done = run_command("runs", *option, *command)

    assert (done.returncode, done.stdout, len(ids(history))) == (2, "", 10)
    assert (
        f"{option[0]} is an option of the list of runs; `runs {command[0]} --help` lists the options of {command[0]}."
        in done.stderr
    )


def test_prune_without_a_condition_is_wrong_usage(history: Store) -> None:
    done = run_command("runs", "prune", "--yes")

    assert done.returncode == 2 and len(ids(history)) == 10


def test_prune_gives_the_space_back(history: Store) -> None:
    size = history.database.path.stat().st_size

    done = json.loads(run_command("runs", "prune", "--keep", "0", "--yes", "--json").stdout)

    assert done["bytes_given_back"] > 800_000 and history.database.path.stat().st_size < size / 2


def test_prune_leaves_nothing_of_a_run_and_everything_of_the_others(
    provider: Provider, service: ConsortiumService
) -> None:
    gone, stays = consult_all(provider, "Capital of France?", "Capital of Spain?")
    service.store.ratings.save.sync(Rating(run_id=gone, score=1))
    before = service.store.runs.load.sync(stays)
    spent = service.store.database.read("SELECT calls, tokens FROM spending WHERE scope LIKE 'day:%'")

    run_command("runs", "prune", "--keep", "1", "--yes")

    with closing(sqlite3.connect(service.store.database.path)) as connection, connection:
        dump = "\n".join(connection.iterdump())
    connection.close()
    assert gone not in dump and "France" not in dump
    assert service.store.runs.load.sync(stays) == before and listed("--query", "spain") == [stays]
    assert service.store.database.read("SELECT calls, tokens FROM spending WHERE scope LIKE 'day:%'") == spent


def test_prune_keeps_a_run_that_a_process_works_on(history: Store) -> None:
    history.runs.open.sync(new_run(run_id="01dayA"), "somebody")
    history.runs.open.sync(new_run(run_id="01dayB"), "killed")
    history.database.write(lambda c: c.execute("UPDATE runs SET lease_until = 0 WHERE run_id = '01dayB'") and None)

    run_command("runs", "prune", "--keep", "0", "--yes")

    assert ids(history) == ["01dayA"]
