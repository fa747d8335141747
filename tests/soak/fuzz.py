"""Random input for parsers of foreign data: `python -m tests.soak.fuzz tools --seconds 600`; without a name, all.

What fails is printed by Hypothesis with its smallest example, and kept in the corpus: it is tried first the next time.
Requests over real HTTP are drawn by `tests/bad_requests.py`, and sent by `test_threats.py`.
"""

import argparse
import json
import os
import random
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from hypothesis.database import DirectoryBasedExampleDatabase
from markdown_it import MarkdownIt
from mcp.shared.exceptions import MCPError
from mcp.types import INTERNAL_ERROR, CallToolResult

from consortium_mcp.errors import ConsortiumError
from consortium_mcp.reports.foreign_text import on_line, under_heading
from consortium_mcp.service.service import ConsortiumService
from consortium_mcp.settings import load_settings
from consortium_mcp.store import Store
from consortium_mcp.store.llm_consortium_import import take_over
from tests.hostile_texts import HOSTILE
from tests.in_process import in_process
from tests.server_process import said

CORPUS = Path(".hypothesis") / "fuzz"

TEXTS = st.one_of(
    st.text(max_size=60),
    st.sampled_from([text[:2_000] for text in HOSTILE.values()]),
    st.lists(
        st.sampled_from(
            [*"#`~<>!-*+=[]()|_\\&:.\"' \n\t1ax", "```", "![", "]:", "<!--", "\u200b", "\u2028", "\ufe0f", "- "]
        ),
        max_size=30,
    ).map("".join),
)
"""Characters and phrases of people, models and attackers."""

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)

FIELDS = ("models", "arbiter", "config", "strategy", "judging_method", "max_iterations", "system_prompt", "description")

TEMPLATES = (
    *("consortium://runs", "consortium://runs/{}", "consortium://runs/{}/transcript.md", "consortium://runs/{}/{}/{}"),
    *("consortium://consortiums/{}", "consortium://runs/01run/responses/{}", "{}", "consortium://{}?{}#{}", "{}:{}"),
)

Check = Callable[..., None]


@contextmanager
def _client(folder: Path) -> Iterator[Callable[[str, Any], Any]]:
    """Calls a tool, or reads a resource (`read`), of a server in this process; returns a refusal unchanged."""
    service = ConsortiumService(load_settings(None, database=str(folder / "fuzz.db")))
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(in_process("auto", service)) as client:

        async def call(name: str, given: Any) -> Any:
            try:
                return await (client.read_resource(given) if name == "read" else client.call_tool(name, given))
            except MCPError as error:
                return error
            except ValueError:  # the client's own, which cannot send it
                return None

        yield lambda name, given: portal.call(call, name, given)
    service.close()


def _is_handled(result: Any) -> None:
    """Fail for an unexpected error of the server: a refusal has a reason and no internal error code."""
    if isinstance(result, MCPError):
        assert result.error.code != INTERNAL_ERROR, result
    elif isinstance(result, CallToolResult):
        assert "failed inside the server" not in said(result), said(result)


@contextmanager
def tools(folder: Path) -> Iterator[Check]:
    """Arguments of tools: each call is answered, or refused with a reason."""
    with _client(folder) as call:
        names = ("consult_consortium", "get_run", "cancel_run", "rate_run", "list_runs", "save_consortium")
        more = ("remove_consortium", "list_consortiums", "list_models")
        fields = ("prompt", "models", "consortium", "run_id", "name", "score", "query", "cursor", "limit", "status")

        @given(
            st.sampled_from([*names, *more]),
            st.dictionaries(st.sampled_from([*fields, *FIELDS]) | TEXTS, JSON, max_size=5),
        )
        def check(name: str, arguments: dict[str, Any]) -> None:
            quiet = {"dry_run": True} if name == "consult_consortium" else {}
            _is_handled(call(name, {**arguments, **quiet}))

        yield check


@contextmanager
def searches(folder: Path) -> Iterator[Check]:
    """Queries and cursors of the list of runs."""
    with _client(folder) as call:

        @given(TEXTS, st.none() | TEXTS)
        def check(query: str, cursor: str | None) -> None:
            _is_handled(call("list_runs", {"query": query, "cursor": cursor}))

        yield check


@contextmanager
def uris(folder: Path) -> Iterator[Check]:
    """URIs of resources: a missing one is refused by the protocol, and nothing else is raised."""
    with _client(folder) as call:

        @given(st.sampled_from(TEMPLATES), TEXTS, TEXTS, TEXTS)
        def check(template: str, first: str, second: str, third: str) -> None:
            _is_handled(call("read", template.format(first, second, third)))

        yield check


@contextmanager
def transcripts(folder: Path) -> Iterator[Check]:
    """Foreign texts under our headings and on our lines, parsed by a real Markdown parser."""
    markdown = MarkdownIt("commonmark", {"html": True}).enable("table")

    @given(TEXTS, TEXTS)
    def check(text: str, line: str) -> None:
        tokens = markdown.parse(
            f"- {on_line(line)}\n\n## Ours {on_line(line)}\n\n{under_heading(text)}\n\n## Ours too\n"
        )
        kinds = {inner.type for token in tokens for inner in (token, *(token.children or ()))}
        assert [token.tag for token in tokens if token.type == "heading_open" and not token.level] == ["h2", "h2"]
        assert not kinds & {"html_block", "html_inline", "image"}

    yield check


@contextmanager
def rows(folder: Path) -> Iterator[Check]:
    """Rows of saved consortiums: each is read, or refused as damaged."""
    store = Store(folder / "rows.db")

    @given(TEXTS, JSON | st.dictionaries(st.sampled_from(FIELDS), JSON), st.binary(max_size=20) | st.none())
    def check(name: str, config: Any, raw: bytes | None) -> None:
        saved = json.dumps(config).encode() if raw is None else raw
        sql = "INSERT OR REPLACE INTO consortium_configs (name, config, created_at) VALUES (?, CAST(? AS TEXT), '')"
        name = name.encode(errors="replace").decode()
        store.database.write(lambda connection: connection.execute("DELETE FROM consortium_configs") and None)
        store.database.write(lambda connection: connection.execute(sql, [name, saved]) and None)
        loaded, damaged = store.consortiums.list_all.sync()
        assert [*loaded, *damaged] == [name]
        try:
            store.consortiums.load.sync(name)
        except ConsortiumError:
            assert name in damaged

    yield check
    store.close()


@contextmanager
def takeovers(folder: Path) -> Iterator[Check]:
    """Files of llm-consortium, complete or damaged: readable rows are imported, and nothing is raised."""
    store, path = Store(folder / "taken.db"), folder / "logs.db"

    @given(
        st.lists(st.tuples(JSON.map(_cell), JSON.map(_cell)), max_size=3),
        st.binary(max_size=40),
        st.integers(0, 20_000),
    )
    def check(saved: list[tuple[Any, Any]], damage: bytes, place: int) -> None:
        path.unlink(missing_ok=True)
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("CREATE TABLE consortium_configs (name, config)")
            connection.executemany("INSERT INTO consortium_configs VALUES (?, ?)", saved)
        if damage:
            with path.open("r+b") as file:
                file.seek(min(place, path.stat().st_size))
                file.write(damage)
        take_over(store, folder)
        store.consortiums.list_all.sync()

    yield check
    store.close()


def _cell(value: Any) -> Any:
    """A value as a column of SQLite can have it."""
    if isinstance(value, int) and abs(value) >= 2**63:
        return str(value)
    text = json.dumps(value) if isinstance(value, list | dict) else value
    return text.encode(errors="replace").decode() if isinstance(text, str) else text


TARGETS: dict[str, Callable[[Path], Any]] = {
    one.__name__: one for one in (tools, searches, uris, transcripts, rows, takeovers)
}


def fuzz(name: str, folder: Path, examples: int, number: int, corpus: Path | None = None) -> None:
    """Try some examples of a target; raises the first failure.

    Args:
        number: selects the examples.
        corpus: where failures are stored; None stores none.
    """
    database = DirectoryBasedExampleDatabase(corpus / name) if corpus else None
    with TARGETS[name](folder) as check:
        slow = settings(
            max_examples=examples, deadline=None, database=database, suppress_health_check=list(HealthCheck)
        )
        slow(seed(number)(check))()


def main() -> None:
    """Try the targets in turn, each for so long."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", nargs="*", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--corpus", type=Path, default=CORPUS)
    asked = parser.parse_args()
    for name in asked.target or TARGETS:
        tried, ends = 0, time.monotonic() + asked.seconds
        while time.monotonic() < ends:
            with tempfile.TemporaryDirectory() as folder:
                os.environ["LLM_USER_PATH"] = folder
                fuzz(name, Path(folder), 500, random.getrandbits(64), asked.corpus)
            tried += 500
        print(f"{name}: {tried} examples, no fault")


if __name__ == "__main__":
    main()
