"""A long history: every statement finds its rows by an index, lists end early, old runs go step by step."""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from types import MethodType
from typing import Any

import pytest
from sqlite_utils import Database

from consortium_mcp._util.caller import calling
from consortium_mcp.errors import NotFoundError
from consortium_mcp.records import Budget, CallId, CallResult, CallSpec, Iteration, Parent, Rating, now_utc
from consortium_mcp.store import Reservation, RunCapacity, Store, database, pruning, run_scope
from consortium_mcp.store.migrations import migrations
from consortium_mcp.store.part import StoreMethod
from tests.scripted import new_run, panel


def add(store: Store, run_id: str, prompt: str = "why", caller: str | None = None, **ended: object) -> None:
    """A run; one that has ended where something is said of how."""
    run = new_run(prompt, run_id=run_id, caller=caller, **({"consortium_name": ended.pop("name", None)}))
    store.runs.open.sync(run, "me")
    if ended:
        store.runs.close.sync(run.model_copy(update={"status": "converged", "ended_utc": now_utc(), **ended}), "me")


def ask(store: Store, run_id: str, prompt: str) -> None:
    """A call of a run, with its result."""
    spec = CallSpec(call_id=CallId("i1/m1"), iteration=1, label="a#1", model="a", prompt=prompt)
    store.journal.begin_attempt.sync(run_id, spec, Reservation(tokens=10, cost_usd=0.1), {run_scope(run_id): Budget()})
    store.journal.settle_attempt.sync(run_id, spec.call_id, 1, CallResult(text="because"), None, final=True)


def found(store: Store, **wanted: Any) -> list[str]:
    """The ids of all runs that a list gives, page by page."""
    ids: list[str] = []
    while page := store.outlines.find.sync(**wanted, limit=3, before=ids[-1] if ids else None):
        ids += [run.run_id for run in page]
    return ids


# indices

UNBOUNDED = {
    "consortium_configs": "a handful of definitions",
    "caller_consortiums": "a handful of definitions",
    "takeovers": "a handful of files",
    "_sqlite_migrations": "one row for each step of the schema",
    "runs_fts_config": "one row for each option of the full-text index",
    "sqlite_master": "the schema",
    "sqlite_schema": "the schema",
}
"""Tables that may be read in full, and why that is no matter of how many runs there are."""

ACCEPTED = {
    "SCAN runs USING COVERING INDEX sqlite_autoindex_runs_1": "a list in its order, which ends early or wants all",
    "SCAN runs USING INDEX sqlite_autoindex_runs_1": "the same with other columns",
    "SCAN ratings USING INDEX ratings_by_time": "the newest ratings",
    "SCAN ratings USING COVERING INDEX ratings_by_time": "the newest rating",
    "SCAN runs USING INDEX runs_open": "the runs that have not ended: few, however long the history is",
    "SCAN inside": "the runs inside one run",
    "SCAN newest": "the newest ratings, 5,000 at most",
    "SCAN ended": "the newest thousand ended runs",
}
"""Steps of plans that go through an index as a whole."""

SORTED = {
    "SELECT run_id FROM runs WHERE status = 'running' AND lease_of": "the runs that have not ended",
    "SELECT run_id FROM runs WHERE fingerprint": "the same question, within the time in which it is joined",
    "SELECT run_id FROM runs WHERE parent_run": "the runs inside one call",
    "SELECT calls.call_id": "the calls of one run",
    "SELECT run_id, created_utc FROM runs WHERE NOT": "the runs that are to be removed, which are all listed",
    "SELECT name, ": "a handful of definitions",
    "SELECT name FROM": "a handful of definitions",
    "SELECT calls, tokens, CASE unpriced": "the usage of at most a thousand runs",
    "DELETE FROM sqlite_sequence": "the schema",
}
"""Statements that may sort, by their beginnings, and what: never what grows with the history."""

Traced = dict[str, sqlite3.Connection]
"""Each statement that was run, with its values, and the connection."""


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> Traced:
    """What any store that is opened from now on has SQLite do."""
    statements: Traced = {}
    opened = database._open

    def open_traced(path: Path, busy_seconds: float) -> sqlite3.Connection:
        connection = opened(path, busy_seconds)
        connection.set_trace_callback(lambda sql: statements.setdefault(" ".join(sql.split()), connection) and None)
        return connection

    monkeypatch.setattr(database, "_open", open_traced)
    return statements


def tour(store: Store) -> dict[str, Callable[[], object]]:
    """Something with every public method that reads or writes, by its name."""
    run = new_run(run_id="01c", consortium_name="panel", caller=store.database.reader())
    nested = new_run(run_id="01d", parent=Parent(run_id="01c", call_id=CallId("i1/m1")))
    spec = CallSpec(call_id=CallId("i1/m1"), iteration=1, label="a#1", model="a", prompt="why")
    result = CallResult(text="because")
    some: dict[str, Any] = {"query": "why", "consortium": "panel", "status": "failed", "before": "01c"}
    filters = [{name: value} for name, value in some.items()] + [some, {}]
    filters += [{"status": status} for status in ("running", "interrupted")]
    budgets = {run_scope("01c"): Budget(max_calls=9), "day:2026-11-23": Budget(max_calls=9)}

    def missing(load: Callable[[str], object]) -> str:
        with pytest.raises(NotFoundError) as caught:
            load("nobody")
        return str(caught.value)

    def close_run() -> None:
        store.leases.claim.sync("01c", "me", now_utc())
        store.runs.close.sync(run, "me")

    return {
        "runs.open": lambda: (
            store.runs.open.sync(new_run(run_id="01a"), "me"),
            store.runs.open.sync(run, "me", "print", "2026", None, RunCapacity(of_process=9, of_caller=9)),
            store.runs.open.sync(nested, "me", "print", outer_owner="me"),
            store.runs.open.sync(nested.model_copy(update={"run_id": "01e"}), "me", "print", outer_owner="me"),
        ),
        "journal.begin_attempt": lambda: store.journal.begin_attempt.sync(
            "01c", spec, Reservation(tokens=1, cost_usd=None), budgets, "me"
        ),
        "journal.settle_attempt": lambda: store.journal.settle_attempt.sync("01c", "i1/m1", 1, result, 0.1, final=True),
        "journal.withdraw_attempt": lambda: store.journal.withdraw_attempt.sync("01c", "i1/m1", 9),
        "journal.finish_call": lambda: store.journal.finish_call.sync(
            "01c", spec.model_copy(update={"call_id": "i1/m2"}), result
        ),
        "journal.copy_calls": lambda: store.journal.copy_calls.sync("01c", "01a", ["i1/m1"]),
        "journal.load_spending": lambda: store.journal.load_spending.sync(run_scope("01c")),
        "runs.save_iteration": lambda: store.runs.save_iteration.sync("01c", Iteration(number=1, responses=()), "me"),
        "journal.forget_iterations": lambda: store.journal.forget_iterations.sync("01a", 0),
        "runs.load": lambda: (store.runs.load.sync("01c"), missing(store.runs.load.sync)),
        "progress.load": lambda: (store.progress.load.sync("01c"), missing(store.progress.load.sync)),
        "markers.load": store.markers.load.sync,
        "markers.data_version": store.markers.data_version.sync,
        "runs.find": lambda: [store.runs.find.sync(**wanted) for wanted in filters],
        "outlines.find": lambda: [store.outlines.find.sync(**wanted) for wanted in filters],
        "outlines.list_ids": store.outlines.list_ids.sync,
        "leases.list_interrupted": lambda: store.leases.list_interrupted.sync(9),
        "outlines.find_ids": lambda: store.outlines.find_ids.sync("1", 9),
        "leases.renew": lambda: store.leases.renew.sync("01c", "me"),
        "leases.claim": lambda: store.leases.claim.sync("01c", "me", now_utc()),
        "leases.held_until": lambda: store.leases.held_until.sync("01c"),
        "leases.request_cancel": lambda: store.leases.request_cancel.sync("01a"),
        "leases.release": lambda: store.leases.release.sync("01c", "me"),
        "runs.close": close_run,
        "runs.note_received": lambda: store.runs.note_received.sync("01c"),
        "ratings.save": lambda: store.ratings.save.sync(Rating(run_id="01c", score=1)),
        "ratings.find": lambda: store.ratings.find.sync(["01c"]),
        "ratings.list_newest": store.ratings.list_newest.sync,
        "consortiums.save": lambda: store.consortiums.save.sync("panel", panel()),
        "consortiums.load": lambda: (store.consortiums.load.sync("panel"), missing(store.consortiums.load.sync)),
        "consortiums.list_all": store.consortiums.list_all.sync,
        "consortiums.list_names": store.consortiums.list_names.sync,
        "consortiums.list_own_names": store.consortiums.list_own_names.sync,
        "consortiums.list_save_times": store.consortiums.list_save_times.sync,
        "consortiums.delete": lambda: store.consortiums.delete.sync("panel"),
        "consortiums.save_takeover": lambda: store.consortiums.save_takeover.sync("file"),
        "consortiums.list_takeovers": store.consortiums.list_takeovers.sync,
        "journal.load_first_pieces": lambda: store.journal.load_first_pieces.sync(["a", "b"], 20),
        "ratings.list_trust": lambda: [store.ratings.list_trust.sync(name, panel()) for name in ("panel", None)],
        "ratings.list_trust_everywhere": store.ratings.list_trust_everywhere.sync,
        "outlines.list_usage": lambda: store.outlines.list_usage.sync(panel(), 20),
        "attachments.with_contents": lambda: store.attachments.with_contents.sync(run),
        "database.check_writable": store.database.check_writable,
        "pruning.list_prunable": lambda: [
            store.pruning.list_prunable(*each) for each in ((None, None), ("2026", 1), ("2026", None))
        ],
        "pruning.delete_runs": lambda: list(store.pruning.delete_runs(["01c", "01d"])),
        "pruning.give_back_space": store.pruning.give_back_space,
    }


NO_STATEMENTS = {"database.read", "database.write", "database.in_reader", "database.in_writer"}
NO_STATEMENTS |= {"database.reader", "database.close", "database.connect", "database.data_version"}
READS_ALL = {"database.check": "it reads the file in full, which is what it is for"}


def test_the_tour_does_something_with_every_method_of_the_store(store: Store) -> None:
    public = {
        f"{part}.{name}"
        for part, methods in vars(store).items()
        for name in dir(methods)
        if not name.startswith("_") and isinstance(getattr(methods, name), StoreMethod | MethodType)
    }

    assert set(tour(store)) == public - NO_STATEMENTS - set(READS_ALL)


@pytest.mark.parametrize("caller", [None, "ann"])
def test_every_statement_of_the_store_finds_its_rows_by_an_index(
    path: Path, traced: Traced, caller: str | None
) -> None:
    with closing(Store(path)) as store, calling(caller):
        traced.clear()  # what made the schema
        for step in tour(store).values():
            step()
        slow = {sql: steps for sql, connection in traced.items() if (steps := slow_steps(connection, sql))}

        assert sum(sql.startswith("SELECT") for sql in traced) > 50 and slow == {}


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM runs WHERE answer = 'x'",
        "SELECT run_id FROM runs ORDER BY confidence LIMIT 1",
        "SELECT call_id FROM calls WHERE model = 'x'",
        "DELETE FROM questions WHERE prompt = 'x'",
    ],
)
def test_a_statement_without_an_index_would_be_noticed(store: Store, path: Path, sql: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        assert slow_steps(connection, sql)


def slow_steps(connection: sqlite3.Connection, sql: str) -> list[str]:
    """The steps of a statement's plan that read or sort more rows the longer the history is."""
    if not sql.startswith(("SELECT", "WITH", "INSERT", "REPLACE", "UPDATE", "DELETE")):
        return []
    return [step for step in plan(connection, sql) if _grows(step, sql)]


def plan(connection: sqlite3.Connection, sql: str) -> list[str]:
    connection.set_trace_callback(None)
    connection.row_factory = sqlite3.Row
    return [row["detail"] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}").fetchall()]


def _grows(step: str, sql: str) -> bool:
    if step.startswith("USE TEMP B-TREE"):
        return not sql.startswith(tuple(SORTED))
    if not step.startswith("SCAN") or "VIRTUAL TABLE INDEX" in step or "CONSTANT ROW" in step:
        return False
    table = step.split()[1].removeprefix("main.").removeprefix("temp.")
    return step.replace("main.", "") not in ACCEPTED and table not in UNBOUNDED


@pytest.mark.parametrize("caller", [None, "ann"])
@pytest.mark.parametrize(
    "wanted", [{"query": "why"}, {"query": "why", "before": "01b"}, {"status": "failed", "consortium": "panel"}]
)
def test_a_search_takes_its_rows_from_the_newest_on_and_can_end_early(
    path: Path, traced: Traced, caller: str | None, wanted: dict[str, str]
) -> None:
    with closing(Store(path)) as store, calling(caller):
        store.outlines.find.sync(**wanted)  # type: ignore[arg-type]
        (sql, connection), *_ = [each for each in traced.items() if "runs_fts MATCH" in each[0]]
        steps = plan(connection, sql)

    assert steps[0].startswith("SCAN runs_fts VIRTUAL TABLE INDEX") and "B-TREE" not in str(steps)


# what is found


@pytest.mark.parametrize("order", [list(range(10)), [3, 1, 2, 0, 9, 8, 4, 6, 5, 7]])
@pytest.mark.parametrize("wanted", [{}, {"query": "why"}, {"status": "running"}])
def test_pages_have_each_run_once_in_whatever_order_the_runs_were_opened(
    store: Store, order: Sequence[int], wanted: dict[str, str]
) -> None:
    for number in order:
        add(store, f"01{number}")

    assert sorted(found(store, **wanted)) == [f"01{number}" for number in range(10)]


def test_a_search_gives_what_was_opened_last_first(store: Store) -> None:
    for number in range(7):
        add(store, f"01{number}", "why" if number % 2 else "how")

    assert found(store, query="why") == ["015", "013", "011"]


def test_a_page_of_a_search_goes_on_where_its_run_was_pruned(store: Store) -> None:
    for number in range(6):
        add(store, f"01{number}", answer="because")
    list(store.pruning.delete_runs(["014"]))

    assert [run.run_id for run in store.outlines.find.sync("why", before="014")] == ["013", "012", "011", "010"]
    assert [run.run_id for run in store.outlines.find.sync("why", before="019")][0] == "015"


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        ({"query": "why"}, ["03", "02", "01"]),
        ({"query": "because"}, ["03"]),
        ({"query": "why", "consortium": "legal-2"}, ["03", "02"]),
        ({"query": "why", "consortium": "legal"}, []),
        ({"query": "why", "status": "converged"}, ["03"]),
        ({"status": "running"}, ["04", "02", "01"]),
        ({"status": "running", "consortium": "legal-2"}, ["02"]),
        ({"query": "legal"}, []),
        ({"query": "converged"}, []),
        ({"query": "running", "status": "running"}, []),
    ],
)
def test_names_and_status_are_conditions_and_no_words(store: Store, wanted: dict[str, str], ids: list[str]) -> None:
    add(store, "01")
    add(store, "02", name="legal-2")
    add(store, "03", name="legal-2", answer="because")
    add(store, "04", "how")

    assert found(store, **wanted) == ids


@pytest.mark.parametrize("name", ["ann", "Ann", "änn", "ann' OR 1", "*", "a b", "🙂"])
def test_a_caller_finds_its_own_runs_alone(store: Store, name: str) -> None:
    for number, caller in enumerate(["bob", name, "bob", None, name, "anna", "a-b"]):
        add(store, f"0{number}", caller=caller)

    with calling(name):
        assert found(store) == found(store, query="why") == found(store, status="running") == ["04", "01"]
    assert len(found(store, query="why")) == 7


def test_holding_a_run_does_not_index_its_prompt_again(path: Path, traced: Traced) -> None:
    with closing(Store(path)) as store:
        add(store, "01a")
        assert any("runs_fts" in sql for sql in traced)
        traced.clear()

        store.leases.renew.sync("01a", "me")

        assert any("lease_until" in sql for sql in traced) and not any("runs_fts" in sql for sql in traced)


def test_a_database_of_an_earlier_release_is_found_in_and_pruned_as_a_new_one(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrations.apply(Database(connection), stop_before="m009_long_histories")
        columns = (
            "run_id, status, prompt, history, consortium_name, consortium, shuffle_seed, fence_token, answer, "
            "created_utc, deadline_utc, deadline_seconds, caller"
        )
        row = [
            "converged",
            "why",
            "[]",
            "panel",
            panel().model_dump_json(),
            1,
            "mark",
            "because",
            "2026",
            "2026",
            1,
            "ann",
        ]
        for run_id in ("01a", "01b"):
            connection.execute(f"INSERT INTO runs ({columns}) VALUES (?{', ?' * len(row)})", [run_id, *row])
        connection.execute("INSERT INTO ratings VALUES ('01a', 1, NULL, '2026')")
        connection.execute("INSERT INTO questions VALUES ('of nobody', NULL, 'x', '[]', NULL)")
    with closing(Store(path)) as store:
        with calling("ann"):
            ids = found(store, query="because", consortium="panel", status="converged")
            rated = [rating.run_id for rating in store.ratings.list_newest.sync()]
        questions = store.database.read("SELECT count(*) FROM questions")[0][0]
        list(store.pruning.delete_runs(["01a"]))
        store.pruning.give_back_space()

        assert (ids, rated, questions) == (["01b", "01a"], ["01a"], 0)
        assert found(store, query="why") == ["01b"] and store.database.read("PRAGMA auto_vacuum")[0][0] == 2


# pruning


def test_others_write_between_the_steps_of_pruning(store: Store, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "STEP_SECONDS", 0)
    for number in range(3):
        add(store, f"0{number}", answer="because")
    left = []
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as beside:
        for step in store.pruning.delete_runs(["00", "01", "02"]):
            beside.execute("INSERT INTO takeovers (path, datetime_utc) VALUES (?, 'now')", step)
            left.append(beside.execute("SELECT count(*) FROM runs").fetchone()[0])

    assert left == [2, 1, 0] and set(store.consortiums.list_takeovers.sync()) == {"00", "01", "02"}


def test_a_question_goes_with_the_last_run_that_asked_it(store: Store) -> None:
    for run_id in ("01", "02"):
        add(store, run_id, answer="because")
        ask(store, run_id, "the same")
    ask(store, "01", "the same")
    counts = [store.database.read("SELECT count(*) FROM questions")[0][0]]
    for run_id in ("01", "02"):
        list(store.pruning.delete_runs([run_id]))
        counts.append(store.database.read("SELECT count(*) FROM questions")[0][0])

    assert counts == [1, 1, 0]


def test_space_is_given_back_without_writing_the_file_anew(
    path: Path, traced: Traced, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "_PAGES", 20)
    with closing(Store(path)) as store:
        for number in range(20):
            add(store, f"{number:02d}", "x" * 50_000, answer="because")
        list(store.pruning.delete_runs([f"{number:02d}" for number in range(15)]))
        sizes: list[int] = []
        written: list[float] = []
        with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as beside:

            def pause(seconds: float) -> None:
                beside.execute("INSERT INTO takeovers (path, datetime_utc) VALUES (?, 'now')", [str(len(written))])
                written.append(seconds)
                sizes.append(beside.execute("PRAGMA page_count").fetchone()[0])

            monkeypatch.setattr("consortium_mcp.store.pruning.time.sleep", pause)
            freed = store.pruning.give_back_space()

        assert freed > 500_000 and len(written) > 3 and all(after < before for before, after in pairwise(sizes))
        assert not any(sql.startswith("VACUUM") for sql in traced) and len(store.outlines.list_ids.sync()) == 5
