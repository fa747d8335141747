"""The database: one file for its owner, one writer, a journal of calls, and its error messages."""

import gc
import json
import os
import random
import sqlite3
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import anyio
import pytest
from sqlite_utils import Database

from consortium_mcp._util.caller import calling
from consortium_mcp._util.sqlite_writer import Writer
from consortium_mcp.errors import ConsortiumError, NotFoundError, ReadTooLongError, StoreUnusableError
from consortium_mcp.records import CallId, CallResult, CallSpec, Iteration, Run, Verdict, now_utc
from consortium_mcp.records.consortium import Consortium, Member, define
from consortium_mcp.service.service import ConsortiumService
from consortium_mcp.store import AlreadyPaid, AttemptStarted, LeaseLost, OverBudget, Reservation, Store, database
from consortium_mcp.store.database import DatabaseFile
from consortium_mcp.store.migrations import migrations
from tests.paths import ROOT
from tests.permissions import read_only, shared_folder
from tests.scripted import new_run, response
from tests.store_methods import replace_method

PAIR = Consortium(members=(Member(model="a", count=2), Member(model="b")), arbiter="arbiter")


@pytest.fixture
def beside(path: Path, store: Store) -> Iterator[sqlite3.Connection]:
    """Another program's connection to the same file."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.row_factory = sqlite3.Row
    yield connection
    connection.close()


def run_of(run_id: str = "01a", prompt: str = "why?", name: str | None = None) -> Run:
    return Run(
        run_id=run_id,
        status="running",
        prompt=prompt,
        consortium_name=name,
        consortium=PAIR,
        shuffle_seed=7,
        fence_token="mark",
        created_utc="2026-11-22T00:00:00.000+00:00",
        deadline_utc="2026-11-22T00:10:00.000+00:00",
    )


def spec_of(call_id: str = "i1/m1", label: str = "a#1", prompt: str = "why?") -> CallSpec:
    place = CallId(call_id)
    return CallSpec(call_id=place, iteration=place.iteration, label=label, model="a", prompt=prompt)


def begin(
    store: Store, spec: CallSpec | None = None, run_id: str = "01a"
) -> AttemptStarted | AlreadyPaid | OverBudget | LeaseLost:
    """Begin a call without any budget."""
    return store.journal.begin_attempt.sync(run_id, spec or spec_of(), Reservation(tokens=0, cost_usd=None), {})


def attempts(connection: sqlite3.Connection, call_id: str = "i1/m1") -> int:
    row = connection.execute("SELECT attempts FROM calls WHERE call_id = ?", [call_id]).fetchone()
    return int(row["attempts"])


def test_an_attempt_that_was_cut_off_costs_nothing_where_nothing_was_reserved(store: Store) -> None:
    free, unknown = (Reservation(tokens=5, cost_usd=cost) for cost in (0.0, None))
    for run_id, reservation in (("01a", free), ("01b", unknown)):
        store.runs.open.sync(new_run(run_id=run_id), "me")
        store.journal.begin_attempt.sync(run_id, spec_of(), reservation, {})

    assert [store.runs.load.sync(run_id).usage.cost_usd for run_id in ("01a", "01b")] == [0, None]


def why_unusable(path: Path) -> str:
    with pytest.raises(StoreUnusableError) as caught:
        Store(path)
    return str(caught.value)


# the file


def test_a_folder_whose_name_has_a_word_of_another_failure_is_still_a_matter_of_permissions() -> None:
    denied = PermissionError(13, "Permission denied", "/srv/fullstack/locked.db")

    assert "it cannot be written: check the permissions" in database.why_unusable(Path("x.db"), denied)


def test_the_file_and_its_side_files_are_readable_by_their_owner_only(path: Path, store: Store) -> None:
    store.consortiums.save.sync("pair", PAIR)

    modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.glob("consortium.db*")}
    assert modes == {"consortium.db": 0o600, "consortium.db-wal": 0o600, "consortium.db-shm": 0o600}


def test_the_file_is_in_wal_mode(beside: sqlite3.Connection) -> None:
    assert beside.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


def test_missing_folders_are_made_for_their_owner_only(tmp_path: Path) -> None:
    Store(tmp_path / "deep" / "consortium.db").close()

    assert (tmp_path / "deep").stat().st_mode & 0o777 == 0o700


def test_opening_again_applies_nothing_twice(path: Path) -> None:
    def applied() -> tuple[list[dict[str, object]], str]:
        Store(path).close()
        with Database(path) as db:
            return list(db.query("SELECT * FROM _sqlite_migrations")), db.schema

    assert applied() == applied()


def test_a_schema_step_that_fails_leaves_nothing_behind(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = migrations._migrations

    def fail(db: Database) -> None:
        raise sqlite3.OperationalError("this step fails")

    monkeypatch.setattr(migrations, "_migrations", [*steps, type(steps[0])("m999_fails", fail)])
    why_unusable(path)

    with Database(path) as db:
        assert db.table_names() == []


def test_the_newest_schema_is_that_of_the_last_migration() -> None:
    assert database.NEWEST_SCHEMA == migrations._migrations[-1].name


def test_three_processes_open_a_new_file_at_the_same_time(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from consortium_mcp.store import Store\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "for number in range(20): Store(pathlib.Path(sys.argv[1]) / f'{number}.db').close()"
    )
    processes = [start_python(code, tmp_path) for _ in range(3)]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()

    assert [process.communicate() + (process.returncode,) for process in processes] == [("", "", 0)] * 3


def test_a_newer_schema_is_refused_with_what_to_do(path: Path) -> None:
    Store(path).close()
    with Database(path) as db:
        db.table("_sqlite_migrations").insert(
            {"migration_set": "consortium_mcp", "name": "m999_later", "applied_at": "2030"}
        )
    before = path.read_bytes()

    assert why_unusable(path) == (
        f"The database {path} was written by a newer release of consortium-mcp (m999_later). "
        "Update with `pip install -U consortium-mcp`, or name another file with CONSORTIUM_DATABASE."
    )
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused_and_stays_as_it_is(path: Path) -> None:
    path.write_text("a shopping list\n" * 100)

    assert why_unusable(path) == (
        f"The database {path} cannot be used (file is not a database); it is damaged or no SQLite file: "
        "move it away or name another one with CONSORTIUM_DATABASE."
    )
    assert path.read_text() == "a shopping list\n" * 100


def test_a_damaged_database_is_refused_and_stays_as_it_is(path: Path) -> None:
    Store(path).close()
    damaged = path.read_bytes()[:4096] + random.Random(1).randbytes(path.stat().st_size - 4096)
    path.write_bytes(damaged)

    assert "(database disk image is malformed); it is damaged" in why_unusable(path)
    assert path.read_bytes() == damaged


def test_a_read_only_folder_is_said_in_one_sentence() -> None:
    with shared_folder() as folder, read_only(folder):
        sentence = why_unusable(folder / "consortium.db")

    assert sentence.endswith(
        "it cannot be written: check the permissions of the file and its folder, or name another one with "
        "CONSORTIUM_DATABASE."
    )


def test_a_database_in_a_read_only_folder_is_said_in_one_sentence_and_stays() -> None:
    with shared_folder() as folder:
        path = folder / "consortium.db"
        Store(path).close()
        path.chmod(0o444)
        before = path.read_bytes()
        with read_only(folder):
            sentence = why_unusable(path)

        assert "it cannot be written" in sentence
        assert path.read_bytes() == before


def test_a_folder_in_the_place_of_the_file_is_said_in_one_sentence(tmp_path: Path) -> None:
    assert why_unusable(tmp_path).startswith(f"The database {tmp_path} cannot be used (")


def test_a_refused_file_is_closed_again(path: Path) -> None:
    path.write_text("a shopping list\n" * 100)
    why_unusable(path)
    gc.collect()

    assert str(path) not in {os.readlink(f"/proc/self/fd/{fd}") for fd in open_descriptors()}


# consortiums


def test_a_saved_consortium_is_loaded_as_it_was(store: Store) -> None:
    store.consortiums.save.sync("pair", PAIR)

    assert store.consortiums.load.sync("pair") == PAIR


def test_saving_again_replaces(store: Store) -> None:
    store.consortiums.save.sync("pair", PAIR)
    store.consortiums.save.sync("pair", PAIR.model_copy(update={"max_iterations": 5}))

    assert store.consortiums.load.sync("pair").max_iterations == 5


def test_an_unknown_name_is_answered_with_those_that_are_saved(store: Store) -> None:
    store.consortiums.save.sync("legal", PAIR)
    store.consortiums.save.sync("code", PAIR)

    with pytest.raises(NotFoundError, match=r"No consortium named 'panel'. Saved: code, legal."):
        store.consortiums.load.sync("panel")


def test_a_deleted_consortium_is_returned_and_gone(store: Store) -> None:
    store.consortiums.save.sync("pair", PAIR)

    assert (store.consortiums.delete.sync("pair"), store.consortiums.list_names.sync()) == (PAIR, [])


def test_deleting_what_is_not_there_says_so(store: Store) -> None:
    with pytest.raises(NotFoundError, match="No consortium named 'pair'. Saved: none."):
        store.consortiums.delete.sync("pair")


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ("{not json", "not JSON"),
        ("[1]", "not a JSON object"),
        ('{"models": {"a": 0}}', "count is 0"),
        ('{"models": {"a": 1}, "confidence_threshold": "high"}', "confidence_threshold"),
        ("{}", "members"),
        (b'{"models": {"\xff": 1}}', "not JSON"),
    ],
)
def test_B19_a_damaged_row_is_reported_and_hides_no_other(
    store: Store, beside: sqlite3.Connection, config: str | bytes, reason: str
) -> None:
    store.consortiums.save.sync("pair", PAIR)
    beside.execute("INSERT INTO consortium_configs VALUES ('bad', CAST(? AS TEXT), '', NULL)", [config])

    loaded, damaged = store.consortiums.list_all.sync()

    assert (loaded, list(damaged)) == ({"pair": PAIR}, ["bad"])
    assert reason in damaged["bad"]


def test_B19_a_damaged_row_can_be_deleted(store: Store, beside: sqlite3.Connection) -> None:
    beside.execute("INSERT INTO consortium_configs VALUES ('bad', '{', '', NULL)")

    assert (store.consortiums.delete.sync("bad"), store.consortiums.list_names.sync()) == (None, [])


def test_B19_a_damaged_row_is_a_sentence_when_it_is_asked_for(store: Store, beside: sqlite3.Connection) -> None:
    beside.execute("INSERT INTO consortium_configs VALUES ('bad', '{', '', NULL)")

    with pytest.raises(ConsortiumError, match="The saved consortium 'bad' is damaged: its row is not JSON"):
        store.consortiums.load.sync("bad")


# the journal


def test_a_call_that_begins_has_no_result_yet(store: Store) -> None:
    store.runs.open.sync(run_of(), "me")

    assert begin(store) == AttemptStarted(1)


def test_beginning_again_raises_the_attempts(store: Store, beside: sqlite3.Connection) -> None:
    store.runs.open.sync(run_of(), "me")
    begin(store)

    assert (begin(store), attempts(beside)) == (AttemptStarted(2), 2)


def test_a_call_that_is_done_gives_its_stored_result_and_no_further_attempt(
    store: Store, beside: sqlite3.Connection
) -> None:
    result = CallResult(text="because", finish_reason="stop", input_tokens=1, output_tokens=2, duration_ms=3)
    store.runs.open.sync(run_of(), "me")
    begin(store)
    store.journal.finish_call.sync("01a", spec_of("i1/m1"), result)

    assert (begin(store), attempts(beside)) == (AlreadyPaid(result), 1)


def test_a_question_asked_of_many_is_stored_once(store: Store, beside: sqlite3.Connection) -> None:
    store.runs.open.sync(run_of(), "me")
    for place in range(1, 6):
        begin(store, spec_of(f"i1/m{place}"))

    assert beside.execute("SELECT count(*) FROM questions").fetchone()[0] == 1


def test_a_call_of_no_run_is_refused(store: Store) -> None:
    with pytest.raises(StoreUnusableError, match="FOREIGN KEY"):
        begin(store)


# runs


def test_a_run_in_progress_is_loaded_with_all_that_has_arrived(store: Store) -> None:
    store.runs.open.sync(run_of(), "me")
    for place in (1, 2, 3):
        begin(store, spec_of(f"i1/m{place}", f"a#{place}"))
    store.journal.finish_call.sync("01a", spec_of("i1/m3"), CallResult(text="third"))
    store.journal.finish_call.sync(
        "01a", spec_of("i1/m1"), CallResult(error_kind="auth", error="no key", input_tokens=4)
    )

    run = store.runs.load.sync("01a")

    texts = [(response.label, response.text) for response in run.iterations[0].responses]
    assert (run.status, texts, run.usage.calls) == ("running", [("a#1", None), ("a#3", "third")], 3)


def test_responses_come_in_the_declared_order_beyond_nine(store: Store) -> None:
    store.runs.open.sync(run_of(), "me")
    for place in (11, 2, 10, 1):
        begin(store, spec_of(f"i1/m{place}"))
        store.journal.finish_call.sync("01a", spec_of(f"i1/m{place}"), CallResult(text="x"))

    responses = store.runs.load.sync("01a").iterations[0].responses
    assert [response.response_id for response in responses] == ["i1/m1", "i1/m2", "i1/m10", "i1/m11"]


def test_a_closed_run_is_loaded_as_it_ended(store: Store) -> None:
    verdict = Verdict(synthesis="so", confidence=0.9, refinement_areas=("more",))
    store.runs.open.sync(run_of(), "me")
    begin(store)
    store.journal.finish_call.sync("01a", spec_of("i1/m1"), CallResult(text="third"))
    responses = store.runs.load.sync("01a").iterations[0].responses
    judged = Iteration(number=1, responses=responses, shown_order=(0,), verdict=verdict, raw_verdict="{}")
    store.runs.save_iteration.sync("01a", judged)
    ended = {"status": "converged", "answer": "so", "confidence": 0.9, "dissent": "no", "selected_iteration": 1}
    run = store.runs.load.sync("01a").model_copy(update={**ended, "degraded": ("é",), "ended_utc": now_utc()})
    store.runs.close.sync(run, "me")

    assert store.runs.load.sync("01a") == run


def test_a_cancellation_that_comes_too_late_does_not_take_the_answer_away(store: Store) -> None:
    store.runs.open.sync(run_of(), "me")
    store.runs.close.sync(run_of().model_copy(update={"status": "converged", "answer": "so"}), "me")
    store.runs.close.sync(run_of().model_copy(update={"status": "cancelled", "error": "The run was cancelled."}), "me")

    run = store.runs.load.sync("01a")
    assert (run.status, run.answer, run.error) == ("converged", "so", None)


def test_another_owner_does_not_close_a_run(store: Store) -> None:
    store.runs.open.sync(run_of(), "me")
    store.runs.close.sync(run_of().model_copy(update={"status": "cancelled"}), "you")

    assert store.runs.load.sync("01a").status == "running"


def test_an_unknown_run_is_answered_with_the_newest_ones(store: Store) -> None:
    for run_id in ("01a", "01b", "01c", "01d"):
        store.runs.open.sync(run_of(run_id), "me")

    with pytest.raises(NotFoundError, match="No run '99'. Newest runs: 01d, 01c, 01b."):
        store.runs.load.sync("99")


def test_progress_says_who_is_awaited(store: Store) -> None:
    store.runs.open.sync(run_of(), "me")
    for place in (1, 2, 3):
        begin(store, spec_of(f"i1/m{place}", f"a#{place}"))
    store.journal.finish_call.sync("01a", spec_of("i1/m2"), CallResult(text="second"))

    assert store.progress.load.sync("01a").message == "1 of 3 responses; waiting for a#1, a#3"


def test_an_instance_that_was_late_is_awaited_again_in_the_next_iteration(store: Store) -> None:
    store.runs.open.sync(run_of(), "me")
    for spec in (spec_of("i1/m1", "a#1"), spec_of("i1/m2", "a#2"), spec_of("i1/arbiter"), spec_of("i2/m1", "a#1")):
        begin(store, spec)
    store.journal.finish_call.sync("01a", spec_of("i1/m1", "a#1"), CallResult(text="first"))
    store.journal.finish_call.sync("01a", spec_of("i1/arbiter"), CallResult(text="verdict"))

    assert store.progress.load.sync("01a").message == "iteration 2: 0 of 2 responses; waiting for a#1, a#2"


def test_a_response_that_came_after_its_iteration_had_gone_on_is_late_in_the_progress_too(store: Store) -> None:
    store.runs.open.sync(run_of(), "me")
    responses = tuple(response(place, late=place == 2) for place in (1, 2))
    store.runs.save_iteration.sync("01a", Iteration(number=1, responses=responses, shown_order=(0,)), "me")
    for spec in (spec_of("i1/m1", "a#1"), spec_of("i1/m2", "a#2")):
        begin(store, spec)
        store.journal.finish_call.sync("01a", spec, CallResult(text="x"))
    begin(store, spec_of("i1/arbiter"))

    states = [call.state for call in store.progress.load.sync("01a").calls]
    assert states == ["answered", "late", "thinking"]


def test_progress_says_when_the_arbiter_reads(store: Store) -> None:
    store.runs.open.sync(run_of(), "me")
    for call_id in ("i1/m1", "i2/m1"):
        begin(store, spec_of(call_id))
        store.journal.finish_call.sync("01a", spec_of(call_id), CallResult(text="x"))
    begin(store, spec_of("i2/arbiter"))

    assert store.progress.load.sync("01a").message == "iteration 2: 1 of 1 response; the arbiter reads them"


def test_progress_says_how_each_call_stands(store: Store) -> None:
    store.runs.open.sync(run_of(), "me")
    answered, thinking, waiting, failed, not_asked = (spec_of(f"i1/m{place}", f"a#{place}") for place in range(1, 6))
    for spec in (answered, thinking, waiting, failed):
        begin(store, spec)
    counted = CallResult(text="x", input_tokens=7, output_tokens=5, duration_ms=1200)
    store.journal.settle_attempt.sync("01a", answered.call_id, 1, counted, None, final=True)
    limited = CallResult(error_kind="rate_limit", error="Too many.", duration_ms=300)
    store.journal.settle_attempt.sync("01a", waiting.call_id, 1, limited, None)
    store.journal.finish_call.sync("01a", failed, CallResult(error_kind="auth", error="No."))
    store.journal.finish_call.sync("01a", not_asked, CallResult(error_kind="timeout", error="Not asked."), asked=False)

    calls = store.progress.load.sync("01a").calls

    assert [(call.state, call.error_kind) for call in calls] == [
        ("answered", None),
        ("thinking", None),
        ("waiting", "rate_limit"),
        ("failed", "auth"),
        ("failed", "timeout"),
    ]
    assert (calls[0].tokens, calls[0].duration_ms) == (12, 1200) and calls[2].duration_ms == 300
    assert [call.began_utc is not None for call in calls] == [True, True, True, True, False]
    assert store.progress.load.sync("01a").waiting_for == ("a#2", "a#3")


def test_a_call_that_is_tried_again_is_thinking(store: Store) -> None:
    store.runs.open.sync(run_of(), "me")
    begin(store)
    store.journal.settle_attempt.sync("01a", "i1/m1", 1, CallResult(error_kind="server", error="Down."), None)
    begin(store)

    assert [call.state for call in store.progress.load.sync("01a").calls] == ["thinking"]


def test_progress_of_no_run_says_so(store: Store) -> None:
    with pytest.raises(NotFoundError, match="No run '99'"):
        store.progress.load.sync("99")


# the list of runs


def ids(runs: list[Run]) -> list[str]:
    return [run.run_id for run in runs]


def test_runs_are_listed_newest_first(store: Store) -> None:
    for run_id in ("01b", "01a", "01c"):
        store.runs.open.sync(run_of(run_id), "me")

    assert ids(store.runs.find.sync()) == ["01c", "01b", "01a"]


def test_pages_follow_each_other_without_gap_or_overlap(store: Store) -> None:
    for number in range(7):
        store.runs.open.sync(run_of(f"0{number}"), "me")

    pages = [store.runs.find.sync(limit=3)]
    while pages[-1]:
        pages.append(store.runs.find.sync(limit=3, before=pages[-1][-1].run_id))

    assert [ids(page) for page in pages] == [["06", "05", "04"], ["03", "02", "01"], ["00"], []]


def test_runs_are_filtered_by_consortium_and_status(store: Store) -> None:
    for run_id, name in (("01a", "legal"), ("01b", "legal"), ("01c", "code")):
        store.runs.open.sync(run_of(run_id, name=name), "me")
    store.runs.close.sync(store.runs.load.sync("01a").model_copy(update={"status": "failed"}), "me")

    assert ids(store.runs.find.sync(consortium="legal", status="failed")) == ["01a"]


def test_words_are_found_in_prompt_and_answer(store: Store) -> None:
    for run_id, prompt in (("01a", "capital of France"), ("01b", "price of tea"), ("01c", "why?")):
        store.runs.open.sync(run_of(run_id, prompt), "me")
    answered = store.runs.load.sync("01c").model_copy(update={"status": "converged", "answer": "The capitals differ."})
    store.runs.close.sync(answered, "me")

    assert ids(store.runs.find.sync(query="capital")) == ["01c", "01a"]


@pytest.mark.parametrize(
    "query", ['"', '""', "*", "-", "AND", "a OR", "NEAR(", "x:y", "^", "(", "\0", "\ud83d", "'", "{"]
)
def test_no_text_is_an_error_in_a_query(store: Store, query: str) -> None:
    store.runs.open.sync(run_of(), "me")

    assert store.runs.find.sync(query=query) == []


@pytest.mark.parametrize("query", ['the "best" * of', "AND AND", "prompt:best", '"best of"', "best-of"])
def test_operators_of_the_full_text_search_are_words(store: Store, query: str) -> None:
    store.runs.open.sync(run_of("01a", "Which is the best of them"), "me")
    store.runs.open.sync(run_of("01b", f"I wrote {query}"), "me")

    assert ids(store.runs.find.sync(query=query))[0] == "01b"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("capital france", True),
        ("france capital", True),
        ('"capital of France"', True),
        ('"France capital"', False),
        ('capital "of France', True),  # the second quotation mark is missing
        ('capital"of France"', True),
        ("capital OR tea", False),
        ("capital NOT france", False),
        ('tea"\nOR capital', False),
        ('"\n" OR capital', False),
        ("fra*", False),
        ("-capital", True),
        ("100%", True),
        ("(capital)", True),
        ("capital -", True),
        ("* capital", True),
    ],
)
def test_a_query_is_words_and_phrases_that_all_stand_in_a_run(store: Store, query: str, found: bool) -> None:
    store.runs.open.sync(run_of("01a", "What, to 100%, is the capital of France?"), "me")

    assert ids(store.runs.find.sync(query=query)) == (["01a"] if found else [])


@pytest.mark.parametrize(("query", "problem"), [("x" * 1001, "1,001 characters"), ("a " * 51, "51 words")])
def test_a_query_that_is_too_long_is_refused_before_sqlite_reads_it(store: Store, query: str, problem: str) -> None:
    with pytest.raises(ConsortiumError, match=problem):
        store.runs.find.sync(query=query)


@pytest.mark.parametrize("query", [None, "", "  "])
def test_no_query_means_all(store: Store, query: str | None) -> None:
    store.runs.open.sync(run_of(), "me")

    assert ids(store.runs.find.sync(query=query)) == ["01a"]


ENDLESS = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
"""A statement that reads for ever."""


def test_a_statement_that_reads_too_long_is_stopped_and_its_connection_reads_on(tmp_path: Path) -> None:
    with closing(DatabaseFile(tmp_path / "c.db", read_seconds=0.05)) as file:
        with pytest.raises(ReadTooLongError, match=r"more than 0.05 seconds and was stopped"):
            file.read(ENDLESS)

        assert file.read("SELECT 1")[0][0] == 1


@pytest.mark.anyio
async def test_reading_ends_when_its_caller_leaves_and_keeps_no_other_caller_from_reading(tmp_path: Path) -> None:
    """Ann reads for ever, more often than there are readers."""
    with closing(DatabaseFile(tmp_path / "c.db", read_seconds=float("inf"))) as file:
        async with anyio.create_task_group() as anns:
            with calling("ann"):
                for _ in range(2 * database.READERS):
                    anns.start_soon(file.in_reader, lambda: file.read(ENDLESS))
            await anyio.wait_all_tasks_blocked()
            with calling("bob"):
                of_bob = await file.in_reader(lambda: file.read("SELECT 1"))
            anns.cancel_scope.cancel()

    assert of_bob[0][0] == 1  # and the file could be closed: it waits for what is being read


@pytest.mark.parametrize(
    ("filters", "plan"),
    [
        ({}, "SCAN runs USING INDEX sqlite_autoindex_runs_1"),
        ({"before": "01c"}, "SEARCH runs USING INDEX sqlite_autoindex_runs_1 (run_id<?)"),
    ],
)
def test_a_page_of_runs_is_read_from_an_index_in_its_order(
    store: Store, beside: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch, filters: dict[str, str], plan: str
) -> None:
    def explained(sql: str, values: list[object]) -> list[sqlite3.Row]:
        plans.extend(row["detail"] for row in beside.execute(f"EXPLAIN QUERY PLAN {sql}", values))
        return []

    plans: list[str] = []
    beside.create_function("lease_of", 2, database.lease_of)
    monkeypatch.setattr(store.database, "read", explained)
    store.outlines.find.sync(**filters)  # type: ignore[arg-type]

    assert plans == [plan]


def test_an_outline_has_only_the_beginning_of_the_prompt(store: Store) -> None:
    store.runs.open.sync(run_of("01a", "w" * 1_000, name="legal"), "me")
    (outline,) = store.outlines.find.sync()

    assert (outline.prompt, outline.status, outline.consortium_name) == ("w" * 200, "running", "legal")


def test_the_data_version_tells_of_other_processes_commits(store: Store, beside: sqlite3.Connection) -> None:
    versions = [store.markers.data_version.sync(), store.markers.data_version.sync()]
    beside.execute("INSERT INTO takeovers (path, datetime_utc) VALUES ('x', 'now')")
    versions.append(store.markers.data_version.sync())
    store.consortiums.save.sync("pair", PAIR)
    versions.append(store.markers.data_version.sync())

    assert versions[0] == versions[1] and len(set(versions)) == 3


def test_an_attempt_that_is_taken_back_gives_its_number_to_none_that_came_after_it(
    store: Store, beside: sqlite3.Connection
) -> None:
    store.runs.open.sync(run_of(), "me")
    begin(store)
    assert begin(store) == AttemptStarted(2)  # another process, while the first one waits for its turn
    store.journal.settle_attempt.sync("01a", "i1/m1", 2, CallResult(error_kind="network", input_tokens=5), 0.5)
    store.journal.withdraw_attempt.sync("01a", "i1/m1", 1)

    assert begin(store) == AttemptStarted(3) and attempts(beside) == 3
    assert store.runs.load.sync("01a").usage.input_tokens == 5


# the lease


def lapse(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE runs SET lease_until = 1")


def test_a_run_whose_lease_has_passed_reads_interrupted(store: Store, beside: sqlite3.Connection) -> None:
    store.runs.open.sync(run_of(), "me")
    lapse(beside)

    seen = (
        store.runs.load.sync("01a").status,
        store.progress.load.sync("01a").status,
        store.runs.find.sync()[0].status,
    )
    assert seen == ("interrupted", "interrupted", "interrupted")


def test_interrupted_runs_are_found_as_such_and_not_as_running(store: Store, beside: sqlite3.Connection) -> None:
    store.runs.open.sync(run_of("01a"), "me")
    lapse(beside)
    store.runs.open.sync(run_of("01b"), "me")

    assert (ids(store.runs.find.sync(status="interrupted")), ids(store.runs.find.sync(status="running"))) == (
        ["01a"],
        ["01b"],
    )


def test_renewing_a_lease_revives_a_run(store: Store, beside: sqlite3.Connection) -> None:
    store.runs.open.sync(run_of(), "me")
    lapse(beside)

    assert (store.leases.renew.sync("01a", "me"), store.runs.load.sync("01a").status) == (True, "running")


def test_a_lease_is_not_renewed_by_another_owner(store: Store, beside: sqlite3.Connection) -> None:
    store.runs.open.sync(run_of(), "me")
    lapse(beside)

    assert (store.leases.renew.sync("01a", "you"), store.runs.load.sync("01a").status) == (False, "interrupted")


def test_a_closed_run_has_no_lease_to_renew(store: Store) -> None:
    store.runs.open.sync(run_of(), "me")
    store.runs.close.sync(run_of().model_copy(update={"status": "converged", "answer": "so"}), "me")

    assert store.leases.renew.sync("01a", "me") is False


# in parallel


def journal(store: Store, run_id: str, calls: int = 4) -> None:
    """A whole run as a consult writes it."""
    store.runs.open.sync(run_of(run_id), "me")
    for place in range(1, calls + 1):
        begin(store, spec_of(f"i1/m{place}"), run_id)
        store.journal.finish_call.sync(run_id, spec_of(f"i1/m{place}"), CallResult(text=f"{run_id} {place}"))
    store.runs.close.sync(run_of(run_id).model_copy(update={"status": "converged", "answer": run_id}), "me")


def tables_of(path: Path) -> tuple[str, int, int]:
    connection = sqlite3.connect(path)
    try:
        counts = (
            "SELECT (SELECT count(*) FROM runs WHERE answer = run_id), (SELECT count(*) FROM calls WHERE text > '')"
        )
        return (connection.execute("PRAGMA integrity_check").fetchone()[0], *connection.execute(counts).fetchone())
    finally:
        connection.close()


def test_B15_thirty_two_threads_lose_nothing(path: Path, store: Store) -> None:
    with ThreadPoolExecutor(32) as pool:
        list(pool.map(lambda number: journal(store, f"run{number}"), range(64)))

    assert tables_of(path) == ("ok", 64, 256)


def test_B15_three_processes_lose_nothing(path: Path) -> None:
    code = (
        "import sys, pathlib; from tests.doors.test_store import Store, journal\n"
        "store = Store(pathlib.Path(sys.argv[1]))\n"
        "for number in range(20): journal(store, f'run{sys.argv[2]}-{number}')\n"
        "store.close()"
    )
    processes = [start_python(code, path, str(number)) for number in range(3)]
    ended = [process.communicate() + (process.returncode,) for process in processes]

    assert (ended, tables_of(path)) == ([("", "", 0)] * 3, ("ok", 60, 240))


def test_B16_one_thread_writes_for_all_callers(store: Store) -> None:
    writers: set[int] = set()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: store.database.write(lambda c: writers.add(threading.get_ident())), range(64)))

    assert len(writers) == 1


def test_B16_closing_leaves_no_thread_and_no_open_file(path: Path) -> None:
    threads = threading.active_count()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store = Store(path)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda number: journal(store, f"run{number}"), range(8)))
        store.close()
        gc.collect()

    left = [name for fd in open_descriptors() if (name := os.readlink(f"/proc/self/fd/{fd}")).startswith(str(path))]
    assert (threading.active_count(), left) == (threads, [])


def test_what_comes_after_the_end_is_told_so(store: Store) -> None:
    store.close()

    with pytest.raises(StoreUnusableError, match="it is closed"):
        store.consortiums.save.sync("late", PAIR)


def test_closing_finishes_what_was_submitted(path: Path) -> None:
    store = Store(path)
    futures = [store.database._writer.submit(lambda c: c.execute("DELETE FROM runs") and None) for _ in range(50)]
    store.close()

    assert all(future.done() and future.exception() is None for future in futures)


@pytest.fixture
def held_writer(tmp_path: Path) -> Iterator[Callable[..., list[BaseException | None]]]:
    """Submits jobs that share one batch, and returns each one's exception."""
    path = tmp_path / "batch.db"
    writer = Writer(lambda: sqlite3.connect(path, isolation_level=None), "test-writer")
    writer.write(lambda c: c.execute("CREATE TABLE notes (text UNIQUE)") and None)

    def submit(*jobs: Callable[[sqlite3.Connection], object]) -> list[BaseException | None]:
        begun, gate = threading.Event(), threading.Event()

        def hold(connection: sqlite3.Connection) -> None:
            begun.set()
            gate.wait()

        writer.submit(hold)
        begun.wait()
        futures = [writer.submit(job) for job in jobs]
        gate.set()
        return [future.exception() for future in futures]

    yield submit
    writer.close()


def note(text: str, otherwise: str = "") -> Callable[[sqlite3.Connection], object]:
    return lambda connection: connection.execute(f"INSERT {otherwise} INTO notes VALUES (?)", [text]) and None


def notes(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    try:
        return [row[0] for row in connection.execute("SELECT text FROM notes ORDER BY text")]
    finally:
        connection.close()


def test_a_job_that_fails_undoes_only_its_own_changes(
    tmp_path: Path, held_writer: Callable[..., list[BaseException | None]]
) -> None:
    def half(connection: sqlite3.Connection) -> None:
        note("half")(connection)
        raise ValueError("in the middle")

    raised = held_writer(note("one"), half, note("one"), note("two"))

    assert [type(error).__name__ for error in raised] == ["NoneType", "ValueError", "IntegrityError", "NoneType"]
    assert notes(tmp_path / "batch.db") == ["one", "two"]


def test_when_sqlite_undoes_a_batch_everyone_hears_the_reason(
    tmp_path: Path, held_writer: Callable[..., list[BaseException | None]]
) -> None:
    raised = held_writer(note("one"), note("one", "OR ROLLBACK"), note("two"))

    assert [str(error) for error in raised] == ["UNIQUE constraint failed: notes.text"] * 3
    assert notes(tmp_path / "batch.db") == []


def test_writing_goes_on_after_a_batch_that_failed(
    tmp_path: Path, held_writer: Callable[..., list[BaseException | None]]
) -> None:
    held_writer(note("one"), note("one", "OR ROLLBACK"))
    held_writer(note("two"))

    assert notes(tmp_path / "batch.db") == ["two"]


def test_a_full_disk_is_said_in_one_sentence(store: Store, beside: sqlite3.Connection) -> None:
    store.database.write(lambda c: c.execute("PRAGMA max_page_count = 1") and None)

    with pytest.raises(StoreUnusableError, match="the disk is full: free some space"):
        store.runs.open.sync(run_of(prompt="x" * 100_000), "me")


def start_python(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", "-c", code, *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def open_descriptors() -> list[str]:
    return [fd for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")]


def test_a_run_is_kept_as_json_that_others_can_read(store: Store, beside: sqlite3.Connection) -> None:
    store.runs.open.sync(run_of(), "me")

    row = beside.execute("SELECT consortium FROM runs").fetchone()
    assert json.loads(row["consortium"])["members"][0] == PAIR.members[0].model_dump()


def test_of_two_that_remove_a_consortium_the_later_one_finds_none(
    open_service: Callable[..., ConsortiumService], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other = open_service().store, open_service().store
    store.consortiums.save.sync("panel", define(members=[{"model": "a"}]))
    load = store.consortiums.load.sync

    def load_and_lose(name: str) -> Consortium:
        found = load(name)
        other.consortiums.delete.sync(name)
        return found

    replace_method(monkeypatch, store.consortiums, "load", load_and_lose)

    with pytest.raises(NotFoundError, match="No consortium named 'panel'"):
        store.consortiums.delete.sync("panel")
