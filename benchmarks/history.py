"""Compares a long history with a short one: listing, searching, reading and adding runs, through a client.

python -m benchmarks.history --runs 1000000 --folder /tmp/histories

The sides are measured in turn, through a client of a server in this process. SQL builds the histories from one run that
was really made. In a named folder they are kept for the next measurement.
"""

import argparse
import hashlib
import os
import random
import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread
from anyio.from_thread import BlockingPortal, start_blocking_portal
from mcp import Client
from mcp_types import ResourceTemplateReference

from benchmarks.figures import Figure, interleaved, ratios, report, shown
from consortium_mcp._util.caller import calling
from consortium_mcp.server import build_server
from consortium_mcp.server.base.cursors import write_cursor
from consortium_mcp.service.runner import Runner
from consortium_mcp.service.service import ConsortiumService
from consortium_mcp.settings import load_settings
from consortium_mcp.store import Store
from tests.consulted import consulted
from tests.provider import Provider, verdict

RUNS = 1_000_000
SHORT = 1_000
SHOWN = (100, 10_000)
"""Lengths that are only shown, besides the short and the long one."""

RATIO = 3.0
"""The largest ratio of a duration with the long history to that with the short one."""

CONSULT = "a consult"
NOISE = 1.25
"""The largest ratio for a consult, which should not depend on the history."""

TIMES = 25
"""The repetitions of each operation on each side."""

STATS = "consortium://stats"
STATS_TIMES = 5
"""The repetitions of an operation that takes a second, because it reads 1,000 runs."""

OWN = 20
"""The number of runs of the caller `ann` in every history, and of runs of the consortium `rarely`."""

Deed = Callable[[], Awaitable[object]]


def main() -> None:
    """Print the table; exit with 1 if a ratio is above its bound."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=RUNS, help="how long the long history is")
    parser.add_argument("--folder", type=Path, help="where the histories are built, and stay")
    parser.add_argument("--only-build", action="store_true", help="measure nothing")
    arguments = parser.parse_args()
    if arguments.only_build:
        with _provider():
            _histories(arguments.folder, arguments.runs)
        return
    report(figures(arguments.runs, arguments.folder))


def figures(runs: int = RUNS, folder: Path | None = None) -> list[Figure]:
    """The duration of each operation with each history, and the ratio of the long one to the short one.

    Args:
        runs: the number of runs in the long history.
        folder: where the histories are found or built; None means a temporary folder.
    """
    with ExitStack() as stack:
        stack.enter_context(_provider())
        folder = folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        paths = _histories(folder, runs)
        portal = stack.enter_context(start_blocking_portal())
        sides = {count: stack.enter_context(_Side.open(portal, count, path)) for count, path in paths.items()}
        measured = [_measure(portal, sides, what) for what in sides[SHORT].deeds]
    return [figure for one in measured for figure in one]


def _measure(portal: BlockingPortal, sides: "dict[int, _Side]", what: str) -> list[Figure]:
    longest = max(sides)
    named: dict[str, Callable[[], float]] = {
        str(count): partial(portal.call, _timed, side.deeds[what]) for count, side in sides.items()
    }
    values = interleaved(named, STATS_TIMES if what == STATS else TIMES, warm_up=2)
    each = [Figure(f"{what}, {count:,} runs", "ms", tuple(values[str(count)])) for count in sides]
    ratio = Figure(
        f"{what}: {longest:,} runs against {SHORT:,}",
        "x",
        ratios(values[str(longest)], values[str(SHORT)]),
        most=NOISE if what == CONSULT else RATIO,
    )
    return [*each, ratio]


async def _timed(deed: Deed) -> float:
    began = time.perf_counter()
    await deed()
    return (time.perf_counter() - began) * 1000


class _Side:
    """One history and its operations."""

    def __init__(self, runs: int, client: Client, store: Store) -> None:
        self._runs = runs
        self._client = client
        self._store = store
        self._consulted: list[str] = []
        middle = run_id(runs // 2)
        after = write_cursor("run", middle)
        uri = f"consortium://runs/{middle}"
        template = ResourceTemplateReference(uri="consortium://runs/{run_id}")

        def runs_of(**arguments: Any) -> Deed:
            return lambda: client.call_tool("list_runs", arguments)

        self.deeds: dict[str, Deed] = {
            "resources/list, newest page": client.list_resources,
            "resources/list, a page in the middle": lambda: client.list_resources(cursor=after),
            "consortium://runs": lambda: client.read_resource("consortium://runs"),
            "one run": lambda: client.read_resource(uri),
            "its transcript": lambda: client.read_resource(f"{uri}/transcript.md"),
            "list_runs, newest page": runs_of(),
            "list_runs, a page in the middle": runs_of(cursor=after),
            "search: a word in five runs": runs_of(query=RARE_WORD),
            "search: a word in all runs": runs_of(query=COMMON_WORD),
            "search: a word in all runs, from the middle": runs_of(query=COMMON_WORD, cursor=after),
            "search: two words, each in many runs": runs_of(query="even third"),
            "search: a word in all runs, of a rare consortium": runs_of(query=COMMON_WORD, consortium="rarely"),
            "list_runs of a consortium": runs_of(consortium="panel"),
            "list_runs of a rare consortium": runs_of(consortium="rarely"),
            "list_runs of a status": runs_of(status="failed"),
            "list_runs of a status that no run has": runs_of(status="cancelled"),
            "list_runs of a consortium and a status": runs_of(consortium="panel", status="failed"),
            "a caller with few runs: resources/list": _as("ann", client.list_resources),
            "a caller with few runs: list_runs": _as("ann", runs_of()),
            "a caller with few runs: a word in all runs": _as("ann", runs_of(query=COMMON_WORD)),
            "a caller with few runs: a status": _as("ann", runs_of(status="converged")),
            "a caller with nearly all runs: a page in the middle": _as("bob", runs_of(cursor=after)),
            "a caller with nearly all runs: a word in all": _as("bob", runs_of(query=COMMON_WORD)),
            "completion of a run id": lambda: client.complete(template, {"name": "run_id", "value": middle[:-2]}),
            STATS: lambda: client.read_resource(STATS),
            CONSULT: self._consult,
            "removing a run": self._remove,
        }

    async def _consult(self) -> None:
        models = {"models": ["a", "b", "c"], "arbiter": "arbiter", "max_iterations": 1}
        prompt = f"Which is the question {self._runs} {time.time()}?"
        answered = await self._client.call_tool("consult_consortium", {"prompt": prompt, **models})
        assert answered.structured_content and not answered.is_error, answered
        self._consulted.append(answered.structured_content["run_id"])

    async def _remove(self) -> None:
        """Prune one of the added runs, so that the history keeps its length."""
        gone = [self._consulted.pop()]
        assert await to_thread.run_sync(next, self._store.pruning.delete_runs(gone)) == gone

    @classmethod
    @contextmanager
    def open(cls, portal: BlockingPortal, runs: int, path: Path) -> "Iterator[_Side]":
        """All operations, with an open connection."""
        with ConsortiumService(load_settings(None, database=path)) as service, ExitStack() as stack:
            runner = stack.enter_context(portal.wrap_async_context_manager(Runner(service)))
            client = stack.enter_context(portal.wrap_async_context_manager(Client(build_server(runner))))
            yield cls(runs, client, service.store)


def _as(caller: str, deed: Deed) -> Deed:
    """The same operation for a caller."""

    async def do() -> object:
        with calling(caller):
            return await deed()

    return do


# the histories


COMMON_WORD, RARE_WORD = "case", "zyzzyva"

_VOCABULARY = 20_000
_TEXTS = 5_003


def run_id(number: int) -> str:
    """The id of a run in a history, older than any real one."""
    return f"00{number:024d}"


@contextmanager
def _provider() -> Iterator[None]:
    """Models that answer at once."""
    with tempfile.TemporaryDirectory() as folder, Provider() as provider:
        provider.write_llm_config(Path(folder), ["a", "b", "c"], schema=["arbiter"])
        os.environ["LLM_USER_PATH"] = folder
        for model in ("a", "b", "c"):
            provider.on(model, f"What {model} thinks of it. " * 10)
        provider.on("arbiter", verdict("What they agree on. " * 10))
        yield


def _histories(folder: Path, runs: int) -> dict[int, Path]:
    """The files by their length; missing ones are built."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {count: folder / f"{count}.db" for count in sorted({SHORT, runs, *SHOWN})}
    for count, path in paths.items():
        if not path.exists():
            began = time.perf_counter()
            unfinished = path.with_suffix(".building")
            build(unfinished, count)
            unfinished.rename(path)
            seconds, size = time.perf_counter() - began, path.stat().st_size / 1e6
            print(f"Built {count:,} runs: {shown(seconds)} s, {shown(size)} MB", flush=True)
    return paths


def build(path: Path, runs: int) -> None:
    """Make a history with this number of runs."""
    path.unlink(missing_ok=True)
    with ConsortiumService(load_settings(None, database=path)) as service:
        models = ("a", "b", "c")
        pattern = anyio.run(lambda: consulted(service, *models, prompt="Which is it, and why?", max_iterations=1))
        service.store.consortiums.save.sync("panel", pattern.consortium)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -1000000", "temp_store = MEMORY"):
            connection.execute(f"PRAGMA {pragma}")
        _add_functions(connection, runs)
        connection.execute("BEGIN")
        later = _take_away(connection)
        _copy(connection, pattern.run_id, runs)
        for sql in later:
            connection.execute(sql)
        connection.execute("INSERT INTO runs_fts (runs_fts) VALUES ('rebuild')")
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = WAL")


def _add_functions(connection: sqlite3.Connection, runs: int) -> None:
    """Register the SQL functions for the values that differ between runs."""
    chance = random.Random(1)
    letters = "bcdfghjklmnprstvwz"
    vocabulary = ["".join(chance.choices(letters, k=chance.randint(3, 9))) for _ in range(_VOCABULARY)]
    weights = [1 / (place + 1) for place in range(_VOCABULARY)]
    texts = [" ".join(chance.choices(vocabulary, weights, k=14)) for _ in range(_TEXTS)]
    few = max(1, runs // OWN)

    def text(number: int, other: int) -> str:
        words = [texts[number * other % _TEXTS], texts[(number // _TEXTS + other) % _TEXTS], COMMON_WORD, str(number)]
        words += ["even"] if number % 2 == 0 else []
        words += ["third"] if number % 3 == 0 else []
        words += [RARE_WORD] if number % max(1, runs // 5) == 1 else []
        return " ".join(words)

    def status(number: int) -> str:
        return "running" if number % 1000 == 4 else "failed" if number % 100 == 7 else "converged"

    def consortium(number: int) -> str | None:
        return "rarely" if number % few == 2 else "panel" if number % 2 else None

    def question(known: str, number: int) -> str:
        return hashlib.sha256(f"{known}{number}".encode()).hexdigest()

    functions: dict[str, tuple[int, Callable[..., Any]]] = {
        "text_of": (2, text),
        "status_of": (1, status),
        "consortium_of": (1, consortium),
        "caller_of": (1, lambda number: "ann" if number % few == 3 else "bob"),
        "question_of": (2, question),
    }
    for name, (count, function) in functions.items():
        connection.create_function(name, count, function, deterministic=True)


def _take_away(connection: sqlite3.Connection) -> list[str]:
    """Drop indices and triggers; returns the statements that create them again."""
    sql = "SELECT type, name, sql FROM sqlite_master WHERE type IN ('index', 'trigger') AND sql IS NOT NULL"
    found = connection.execute(sql).fetchall()
    for kind, name, _ in found:
        connection.execute(f"DROP {kind} {name}")
    return [sql for _, _, sql in found]


_ID = "printf('00%024d', n)"
_CHANGED: dict[str, dict[str, str]] = {
    "runs": {
        "run_id": _ID,
        "prompt": "text_of(n, 1)",
        "answer": "text_of(n, 7919)",
        "status": "status_of(n)",
        "lease_until": "CASE status_of(n) WHEN 'running' THEN 1.0 END",
        "consortium_name": "consortium_of(n)",
        "caller": "caller_of(n)",
        "fingerprint": "printf('%064d', n)",
        "created_utc": "strftime('%Y-%m-%dT%H:%M:%f+00:00', 1700000000 + n * 30, 'unixepoch')",
    },
    "questions": {"question_id": "question_of(question_id, n)"},
    "calls": {"run_id": _ID, "question_id": "question_of(question_id, n)"},
    "attempts": {"run_id": _ID},
    "iterations": {"run_id": _ID},
    "spending": {"scope": "'run:' || " + _ID},
}
"""By table and column: the expression that replaces the copied run's value."""


def _copy(connection: sqlite3.Connection, pattern: str, runs: int) -> None:
    """Copy the run, and remove it; table by table, each in the order of its row ids."""
    chosen = {
        "questions": "question_id IN (SELECT question_id FROM calls WHERE run_id = :run)",
        "spending": "scope = :scope",
    }
    values = {"run": pattern, "scope": f"run:{pattern}", "runs": runs}
    for table in _CHANGED:
        where = chosen.get(table, "run_id = :run")
        connection.execute(f"CREATE TEMP TABLE the_{table} AS SELECT * FROM {table} WHERE {where}", values)
    for table in _CHANGED:
        connection.execute(f"DELETE FROM {table}")
    for table, changed in _CHANGED.items():
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})") if row[1] != "id"]
        connection.execute(
            f"WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :runs) "
            f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(changed.get(one, one) for one in columns)} "
            f"FROM numbers CROSS JOIN the_{table}",
            values,
        )


if __name__ == "__main__":
    main()
