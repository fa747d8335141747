"""Writes our calls to llm's own log for `llm logs`, with one writer; a failure there never fails a run."""

import logging
import sqlite3
import threading
import time
from concurrent.futures import Future
from contextlib import closing, suppress
from functools import partial
from typing import Any

import sqlite_utils

from consortium_mcp._util.lazy import llm, llm_migrations
from consortium_mcp._util.private_files import create_private
from consortium_mcp._util.sqlite_writer import Writer
from consortium_mcp.settings import llm_user_path

logger = logging.getLogger(__name__)

OURS = "00-"
"""The prefix of the ids of our calls and conversations: llm treats the id that sorts last as the newest.

So `llm -c` goes on with the user's own exchange, and `llm logs -n 1` shows it.
"""

CLOSING_SECONDS = 3
"""The seconds that the process's end waits for this log, which another process may have locked."""


QUIET_SECONDS = 1.0
"""The seconds without an ended call before logging, which takes llm 3 ms of processor time per call."""

BEHIND_SECONDS = 15.0
BEHIND_CHARS = 5_000_000
"""The limits of that delay: the longest time, and the most waiting text."""

MOST_BEHIND = 5_000
MOST_CHARS_BEHIND = 50_000_000
"""The limits of calls, and of text in questions and replies, that wait to be logged.

Further ones are not logged, so that memory has a bound. Calls wait if another process holds the log, or if they end
faster than llm can log them.
"""


class LlmLog:
    """Writes finished llm responses to llm's `logs.db`, unless the user has set `llm logs off`.

    It has its own thread, apart from the store's: a process that holds llm's log delays no run. It writes after the
    answers are returned. If the process is killed, our own journal still has the calls.
    """

    def __init__(self, is_on: bool = True) -> None:
        """Create it without starting or opening anything before the first response.

        Args:
            is_on: whether anything is written.
        """
        self._is_on = is_on
        self._writer = Writer(_connect, name="consortium-llm-log")
        self._lock = threading.Lock()
        self._waiting: list[tuple[Any, int]] = []
        """The waiting responses, each with the length of its texts."""
        self._waiting_chars = 0
        self._behind = self._chars_behind = 0
        """The number of responses that are not written yet, and the length of their texts."""
        self._quiet_at = self._latest = 0.0
        """When (`time.monotonic()`) writing begins if no other call ends, and when it begins in any case."""
        self._reported = False
        self._closed = False

    def write(self, response: Any) -> None:
        """Log one response later."""
        if self._closed or not self._is_on:
            return
        chars = sum(map(len, (response.text_or_raise(), response.prompt.prompt or "", response.prompt.system or "")))
        with self._lock:
            if self._behind >= MOST_BEHIND or self._chars_behind >= MOST_CHARS_BEHIND:
                self._report(f"{self._behind:,} calls wait for it already")
                return
            self._quiet_at = time.monotonic() + QUIET_SECONDS
            if not self._waiting:
                self._latest = time.monotonic() + BEHIND_SECONDS
                try:
                    self._look_again(QUIET_SECONDS)
                except RuntimeError as error:  # the thread limit is reached
                    self._report(str(error))
                    return
            self._waiting.append((response, chars))
            self._waiting_chars += chars
            self._behind += 1
            self._chars_behind += chars

    def close(self) -> None:
        """Write what is waiting, as far as possible in a short time."""
        self._closed = True
        self._catch_up()
        if not self._writer.close(CLOSING_SECONDS):
            logger.warning(
                "llm's own log could not be written in %s seconds; the last calls may be missing from it.",
                CLOSING_SECONDS,
            )

    def _look_again(self, seconds: float) -> None:
        timer = threading.Timer(seconds, self._catch_up_when_quiet)
        timer.daemon = True
        timer.start()

    def _catch_up_when_quiet(self) -> None:
        with self._lock:
            quiet_in = min(self._quiet_at, self._latest) - time.monotonic()
            if quiet_in > 0 and self._waiting_chars < BEHIND_CHARS:
                with suppress(RuntimeError):  # if no thread can be started, it is written now
                    self._look_again(quiet_in)
                    return
        self._catch_up()

    def _catch_up(self) -> None:
        """Write everything that waits."""
        with self._lock:
            waiting, self._waiting, self._waiting_chars = self._waiting, [], 0
        is_off = bool(waiting) and (llm_user_path() / "logs-off").exists()
        for response, chars in waiting:
            if is_off:
                self._let_go(chars)
            else:
                written = self._writer.submit(partial(_log, response=response))
                written.add_done_callback(partial(self._end, chars))

    def _end(self, chars: int, written: Future[None]) -> None:
        self._let_go(chars)
        if error := written.exception():
            self._report(str(error))

    def _let_go(self, chars: int) -> None:
        with self._lock:
            self._behind -= 1
            self._chars_behind -= chars

    def _report(self, why: str) -> None:
        """Log once why calls are missing from llm's log."""
        if not self._reported:
            self._reported = True
            logger.warning("llm's own log could not be written (%s); the run is not affected.", why)


def log_state() -> tuple[str, str | None]:
    """The state of llm's log in a few words, and why it cannot be used, or None; nothing is written."""
    path = llm_user_path() / "logs.db"
    if (llm_user_path() / "logs-off").exists():
        return "switched off with `llm logs off`", None
    if not path.exists():
        return f"{path} will be created at the first call", None
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=1)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master")
    except sqlite3.Error as error:
        return str(path), str(error)
    return f"{path}, {path.stat().st_size / 1e6:,.1f} MB", None


def _connect() -> sqlite3.Connection:
    path = llm.user_dir() / "logs.db"
    create_private(path)  # with its -wal and -shm files
    connection = sqlite3.connect(path, isolation_level=None, timeout=30)
    db = sqlite_utils.Database(connection)
    if _is_new(db):
        # llm's migrations lose a race between two processes; an empty database beside the log is the lock.
        lock_path = path.with_name("logs.db-migrating")
        create_private(lock_path)
        with closing(sqlite3.connect(lock_path, isolation_level=None, timeout=30)) as lock:
            lock.execute("BEGIN EXCLUSIVE")
            if db.table_names():
                llm_migrations.migrate(db)
            else:
                _create(connection)
    return connection


def _create(connection: sqlite3.Connection) -> None:
    """Create all of llm's tables at once: after migrations that stop midway, llm can never open its log again."""
    with closing(sqlite3.connect(":memory:")) as complete:
        llm_migrations.migrate(sqlite_utils.Database(complete))
        complete.backup(connection)


def _is_new(db: sqlite_utils.Database) -> bool:
    """Whether llm's migrations have something to do."""
    if "_llm_migrations" not in db.table_names():
        return True
    applied = {row["name"] for row in db.table("_llm_migrations").rows}
    return any(migration.__name__ not in applied for migration in llm_migrations.MIGRATIONS)


def _log(connection: sqlite3.Connection, response: Any) -> None:
    conversation = response.model.conversation()
    conversation.id = f"{OURS}{conversation.id}"
    response.conversation = conversation
    response.id = f"{OURS}{response.id}"
    response.log_to_db(sqlite_utils.Database(connection))
