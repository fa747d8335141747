"""A few seconds of each fuzzer, always the same examples; `python -m tests.soak.fuzz` tries others for longer."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from consortium_mcp.store import Store
from consortium_mcp.store.llm_consortium_import import take_over
from tests.soak.fuzz import TARGETS, fuzz

EXAMPLES = {"tools": 40, "searches": 40, "uris": 60, "takeovers": 25}
"""Fewer where each example is a request or a file."""


@pytest.mark.parametrize("name", TARGETS)
def test_no_random_input_raises_an_unhandled_error(name: str, tmp_path: Path) -> None:
    fuzz(name, tmp_path, EXAMPLES.get(name, 300), 20)


@pytest.mark.parametrize("config", ["[" * 100_000, '{"models":' * 50_000, b"\xff"], ids=["list", "object", "bytes"])
def test_a_row_that_goes_too_deep_is_damaged_and_not_taken_over(config: str | bytes, tmp_path: Path) -> None:
    """Found by the fuzzers, as is the next one."""
    store = Store(tmp_path / "here.db")
    sql = "INSERT INTO consortium_configs (name, config, created_at) VALUES ('deep', ?, '')"
    store.database.write(lambda connection: connection.execute(sql, [config]) and None)
    written(tmp_path / "logs.db", "other", config)

    problems = take_over(store, tmp_path)

    assert [*store.consortiums.list_all.sync()[1]] == ["deep"]
    assert len(problems) == 1 and "was not imported" in problems[0]
    store.close()


def test_a_name_that_is_no_text_keeps_no_server_from_starting(tmp_path: Path) -> None:
    store = Store(tmp_path / "here.db")
    written(tmp_path / "logs.db", b"\xff\xfe", json.dumps({"models": {"a": 1}}))

    assert take_over(store, tmp_path) == [] and len(store.consortiums.list_names.sync()) == 1
    store.close()


def written(path: Path, name: str | bytes, config: str | bytes) -> None:
    """A file of llm-consortium with one row."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE consortium_configs (name, config)")
        connection.execute("INSERT INTO consortium_configs VALUES (CAST(? AS TEXT), ?)", [name, config])
