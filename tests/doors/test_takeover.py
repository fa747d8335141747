"""Consortiums that llm-consortium saved are imported at the first opening, and its files stay unchanged."""

import json
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from consortium_mcp.records.consortium import Consortium, Member
from consortium_mcp.service.service import ConsortiumService
from consortium_mcp.store import Store
from consortium_mcp.store.llm_consortium_import import take_over
from tests.permissions import read_only, shared_folder
from tests.provider import Provider, verdict
from tests.ready import python
from tests.seed import SEED_CONSORTIUM, SEED_ROW, SeedConfig, unpack

OpenService = Callable[..., ConsortiumService]

LATER_FIELDS: dict[str, object] = {
    "judging_method": "default",
    "strategy": "default",
    "strategy_params": {},
    "embedding_backend": None,
    "embedding_model": None,
    "embedding_cache_enabled": True,
    "manual_context": False,
    "category": None,
    "expected_agreement": None,
    "status": None,
    "created_at": "2025-06-01T00:00:00",
}
"""What the releases after the seed added."""


def write_configs(path: Path, rows: dict[object, object], *, column: str = "config", wal: bool = False) -> Path:
    """A file as llm-consortium leaves it; a row that is a dict is written as JSON, any other as it is."""
    connection = sqlite3.connect(path)
    if wal:
        connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(
        f"CREATE TABLE IF NOT EXISTS consortium_configs "
        f"(name TEXT PRIMARY KEY, {column} TEXT NOT NULL, created_at TEXT DEFAULT CURRENT_TIMESTAMP)"
    )
    for name, row in rows.items():
        text = json.dumps(row) if isinstance(row, dict) else row
        connection.execute(f"INSERT INTO consortium_configs (name, {column}) VALUES (?, CAST(? AS TEXT))", (name, text))
    connection.commit()
    connection.close()
    return path


def command(*arguments: str, program: str = "consortium_mcp") -> subprocess.CompletedProcess[str]:
    """A command of ours, or llm's, with this test's environment."""
    return subprocess.run(python("-m", program, *arguments), input="", capture_output=True, text=True)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "taken.db")
    yield opened
    opened.close()


def test_rows_of_the_seed_are_there_at_the_first_opening(llm_home: Path, open_service: OpenService) -> None:
    write_configs(llm_home / "logs.db", {"panel": SEED_ROW})

    assert open_service().store.consortiums.list_all.sync() == ({"panel": SEED_CONSORTIUM}, {})


@pytest.mark.parametrize("column", ["config", "config_json"])
def test_rows_of_later_releases_are_there_too(llm_home: Path, open_service: OpenService, column: str) -> None:
    write_configs(llm_home / "consortium_logs.db", {"panel": SEED_ROW | LATER_FIELDS}, column=column)

    assert open_service().store.consortiums.list_all.sync() == ({"panel": SEED_CONSORTIUM}, {})


def test_what_was_saved_later_wins_among_namesakes(llm_home: Path, open_service: OpenService) -> None:
    write_configs(llm_home / "logs.db", {"panel": SEED_ROW, "old": SEED_ROW})
    write_configs(llm_home / "consortium_logs.db", {"panel": SEED_ROW | LATER_FIELDS | {"max_iterations": 7}})

    loaded, _ = open_service().store.consortiums.list_all.sync()

    assert {name: one.max_iterations for name, one in loaded.items()} == {"panel": 7, "old": 4}


def test_a_strategy_that_we_do_not_have_is_kept_by_its_name(llm_home: Path, open_service: OpenService) -> None:
    row = SEED_ROW | LATER_FIELDS | {"strategy": "semantic", "judging_method": "rank"}
    write_configs(llm_home / "consortium_logs.db", {"panel": row})

    taken = open_service().store.consortiums.load.sync("panel")

    assert (taken.strategy, taken.judging_method) == ("semantic", "rank")


def test_a_consortium_is_taken_over_once(llm_home: Path, open_service: OpenService) -> None:
    write_configs(llm_home / "logs.db", {"panel": SEED_ROW})
    open_service().store.consortiums.delete.sync("panel")

    assert open_service().store.consortiums.list_names.sync() == []


def test_what_is_saved_there_later_is_taken_over_too(llm_home: Path, open_service: OpenService) -> None:
    write_configs(llm_home / "logs.db", {"panel": SEED_ROW, "bad": "{not json"})
    open_service().store.consortiums.delete.sync("panel")
    write_configs(llm_home / "logs.db", {"second": SEED_ROW})

    assert open_service().store.consortiums.list_names.sync() == ["second"]


def test_a_problem_is_told_once(llm_home: Path, store: Store) -> None:
    write_configs(llm_home / "logs.db", {"bad": "{not json"})

    assert [len(take_over(store, llm_home)) for _ in range(2)] == [1, 0]


def test_what_is_saved_here_is_not_replaced(llm_home: Path, store: Store) -> None:
    ours = Consortium(members=(Member(model="a"),))
    store.consortiums.save.sync("panel", ours)
    write_configs(llm_home / "logs.db", {"panel": SEED_ROW})
    take_over(store, llm_home)

    assert store.consortiums.load.sync("panel") == ours


def test_where_it_came_from_is_noted(llm_home: Path, store: Store) -> None:
    path = write_configs(llm_home / "logs.db", {"panel": SEED_ROW})
    take_over(store, llm_home)

    assert [row[0] for row in store.database.read("SELECT taken_from FROM consortium_configs")] == [str(path)]


@pytest.mark.parametrize("wal", [False, True])
@pytest.mark.parametrize("name", ["logs.db", "consortium_logs.db"])
def test_their_files_stay_as_they_were(llm_home: Path, store: Store, name: str, wal: bool) -> None:
    path = write_configs(llm_home / name, {"panel": SEED_ROW}, wal=wal)
    before = (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_mode)
    problems = take_over(store, llm_home)

    assert (problems, store.consortiums.list_names.sync()) == ([], ["panel"])
    assert (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_mode) == before


def test_rows_that_stand_only_in_their_write_ahead_log_are_seen(llm_home: Path, store: Store) -> None:
    path = write_configs(llm_home / "logs.db", {}, wal=True)
    connection = sqlite3.connect(path)
    connection.execute("INSERT INTO consortium_configs (name, config) VALUES ('panel', ?)", [json.dumps(SEED_ROW)])
    connection.commit()
    log = llm_home / "logs.db-wal"
    before = (path.read_bytes(), log.read_bytes())
    take_over(store, llm_home)

    assert (path.read_bytes(), log.read_bytes()) == before
    assert store.consortiums.list_names.sync() == ["panel"]
    connection.close()


@pytest.mark.parametrize("wal", [False, True])
def test_a_read_only_folder_can_be_read(store: Store, wal: bool) -> None:
    store.consortiums.save.sync("ours", SEED_CONSORTIUM)
    with shared_folder() as folder:
        path = write_configs(folder / "logs.db", {"panel": SEED_ROW}, wal=wal)
        path.chmod(0o444)
        before = path.read_bytes()
        with read_only(folder):
            problems = take_over(store, folder)

        assert (problems, store.consortiums.list_names.sync(), path.read_bytes()) == ([], ["ours", "panel"], before)


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("bad", "{not json"),
        ("bad", "[1]"),
        ("bad", "5"),
        ("bad", '{"arbiter": "arbiter"}'),
        ("bad", '{"models": {"a": 0}}'),
        ("bad", '{"models": {"a": "many"}}'),
        ("bad", '{"models": {"a": 1}, "confidence_threshold": 500}'),
        ("bad", b'{"models": {"\xff": 1}}'),
        (None, json.dumps(SEED_ROW)),
        (b"\x00bad", json.dumps(SEED_ROW)),
    ],
)
def test_B19_a_damaged_row_is_reported_and_skipped(
    llm_home: Path, store: Store, caplog: pytest.LogCaptureFixture, name: object, row: object
) -> None:
    path = write_configs(llm_home / "logs.db", {name: row, "panel": SEED_ROW})
    problems = take_over(store, llm_home)

    assert store.consortiums.list_all.sync() == ({"panel": SEED_CONSORTIUM}, {})
    assert problems == caplog.messages
    assert [problem.startswith(f"The consortium {name!r} in {path} was not imported: ") for problem in problems] == [
        True
    ]


def test_B19_a_file_that_is_no_database_is_reported_and_the_other_is_read(llm_home: Path, store: Store) -> None:
    (llm_home / "logs.db").write_text("no database " * 100)
    write_configs(llm_home / "consortium_logs.db", {"panel": SEED_ROW})

    problems = take_over(store, llm_home)

    assert store.consortiums.list_names.sync() == ["panel"]
    assert problems == [
        f"The consortiums that llm-consortium saved in {llm_home / 'logs.db'} could not be read: file is not a database"
    ]


@pytest.mark.parametrize("schema", ["CREATE TABLE threads (id)", "CREATE TABLE consortium_configs (name, other)"])
def test_a_file_without_their_table_is_no_problem(llm_home: Path, store: Store, schema: str) -> None:
    connection = sqlite3.connect(llm_home / "logs.db")
    connection.execute(schema)
    connection.close()

    assert take_over(store, llm_home) == []


# databases that the real llm-consortium wrote


def test_what_the_real_seed_saved_is_there_and_can_run(provider: Provider, llm_home: Path) -> None:
    unpack("seed", llm_home)
    listed = json.loads(command("list", "--json").stdout)["consortiums"]
    found = {one["name"]: one["definition"] for one in listed}

    assert {name: {member["model"]: member["count"] for member in row["members"]} for name, row in found.items()} == {
        "counted": {"a": 2, "b": 1},
        "itself": {"itself": 1, "b": 1},
        "my-consortium": {"claude-3-opus-20240229": 1, "gpt-4": 1},
        "partly": {"b": 2},
        "unbounded": {"a": 1},
    }
    mine, counted, unbounded = found["my-consortium"], found["counted"], found["unbounded"]
    assert (mine["arbiter"], mine["confidence_threshold"]) == ("claude-3-opus-20240229", 0.9)
    assert (mine["max_iterations"], mine["system_prompt"]) == (5, "Your custom system prompt")
    assert (counted["confidence_threshold"], counted["min_iterations"]) == (0.75, 1)
    assert (unbounded["max_iterations"], unbounded["min_iterations"]) == (100, 1)
    assert [one["name"] for one in listed if one["problem"]] == ["itself", "my-consortium"]


def test_what_of_the_real_seeds_rows_is_not_as_it_was_is_told(llm_home: Path, store: Store) -> None:
    unpack("seed", llm_home)

    assert [problem.replace(f" in {llm_home / 'logs.db'}", "") for problem in take_over(store, llm_home)] == [
        "The consortium 'unbounded' was imported with changes: max_iterations is 100, not 500.",
        "The consortium 'partly' was imported with changes: 'a' is left out, because its count is 0.",
        "The consortium 'nobody' was not imported: Consortium not valid: the consortium: a consortium needs at least "
        "one member.",
        "The consortium 'crowd' was not imported: Consortium not valid: members.0.count is 300: Input should be less "
        "than or equal to 256.",
    ]


def test_what_the_real_later_release_saved_is_there_and_says_why_it_cannot_run(
    provider: Provider, llm_home: Path
) -> None:
    unpack("later", llm_home)
    listed = json.loads(command("list", "--json").stdout)["consortiums"]
    found = {one["name"]: one["definition"] for one in listed}

    assert {name: (row["strategy"], row["judging_method"]) for name, row in found.items()} == {
        "counted": ("refine", "synthesize"),
        "elimination": ("eliminate", "rank"),
        "my-consortium": ("refine", "synthesize"),
        "ranked": ("refine", "rank"),
        "role": ("role", "synthesize"),
        "semantic": ("semantic", "synthesize"),
        "split": ("refine", "synthesize"),
        "voting": ("voting", "synthesize"),
    }
    problems = {one["name"]: one["problem"] for one in listed}
    assert problems["voting"] == "There is no strategy 'voting'. There are: refine, debate, eliminate."
    assert [name for name in found if problems[name] is None] == ["counted", "elimination", "ranked"]


def test_what_of_the_real_later_rows_means_nothing_here_is_told(llm_home: Path, store: Store) -> None:
    unpack("later", llm_home)

    told = {problem.split("'")[1]: problem.partition("changes: ")[2] for problem in take_over(store, llm_home)}
    nothing = "is left out, because it has no meaning here"
    assert told == {
        "elimination": f"strategy_params {nothing}.",
        "role": f"strategy_params {nothing}.",
        "semantic": f"strategy_params {nothing}; embedding_backend {nothing}; embedding_model {nothing}.",
        "voting": f"manual_context {nothing}.",
    }


@pytest.mark.parametrize("line", ["seed", "later"])
def test_a_conversation_that_began_there_goes_on_here(provider: Provider, llm_home: Path, line: str) -> None:
    unpack(line, llm_home)
    provider.on("arbiter", verdict("Seven months."))
    (logged,) = json.loads(command("logs", "--json", "-m", "counted", program="llm").stdout)

    done = command("--cid", logged["conversation_id"], "How long does it take to get there?", program="llm")

    assert (done.returncode, done.stdout) == (0, "Seven months.\n")
    assert [message["content"] for message in provider.requests_to("b")[0].messages if message["role"] != "system"] == [
        "Tell me about the planet Mars.",
        "Mars is a planet.",
        "How long does it take to get there?",
    ]


# the way back


def test_our_row_is_readable_by_the_seed(store: Store, tmp_path: Path) -> None:
    store.consortiums.save.sync("panel", SEED_CONSORTIUM)

    connection = sqlite3.connect(tmp_path / "taken.db")
    [(config,)] = connection.execute("SELECT config FROM consortium_configs WHERE name = 'panel'")
    connection.close()
    assert SeedConfig(**json.loads(config)).model_dump() == SEED_ROW


def test_our_row_gives_the_seed_the_sum_of_a_models_instances(store: Store) -> None:
    twice = Consortium(members=(Member(model="a", count=2), Member(model="a", system_prompt="Doubt.")))

    assert SeedConfig(**twice.saved_form()).models == {"a": 3}
