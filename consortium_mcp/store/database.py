"""The SQLite file: migrated to the newest schema, read through a few connections, written by one thread."""

import asyncio
import errno
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from contextvars import copy_context
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakValueDictionary

import anyio
import anyio.to_thread

from consortium_mcp._util.caller import current_caller
from consortium_mcp._util.lazy import LazyModule
from consortium_mcp._util.private_files import create_private
from consortium_mcp._util.processes import has_ended
from consortium_mcp._util.sqlite_writer import Job, Writer
from consortium_mcp.errors import StoreUnusableError
from consortium_mcp.store.file_place import FilePlace
from consortium_mcp.store.ownership import show_own
from consortium_mcp.store.readers import Readers, given_up_by

if TYPE_CHECKING:
    import sqlite_utils

    import consortium_mcp.store.migrations as schema
else:
    sqlite_utils = LazyModule("sqlite_utils")
    schema = LazyModule("consortium_mcp.store.migrations")

T = TypeVar("T")

NEWEST_SCHEMA = "m014_attachments"
"""The name of the last migration: a file that has it is opened without importing the migrations."""

READERS = 4
"""The number of statements that read at once."""

READ_SECONDS = 20.0
"""The time limit of a reading statement in seconds, if the settings name none."""

_READS_PER_CALLER = 2
"""The number of simultaneous reads of one caller, so that readers remain for others."""

_BUSY_SECONDS = 30.0
"""The longest wait for another process's lock."""

_creating = threading.Lock()
"""Held while a file is created; see `_create_private`."""


class DatabaseFile:
    """One open database; safe to use from several threads, and with other processes on the same file."""

    def __init__(
        self,
        path: Path,
        shared: bool = False,
        read_seconds: float = READ_SECONDS,
        busy_seconds: float | None = None,
    ) -> None:
        """Open the file; create it if it is missing (readable by its owner only), and migrate its schema.

        Args:
            shared: whether callers see each other's runs and consortiums.
            read_seconds: the time limit of a reading statement.
            busy_seconds: how long is waited for the lock of another process; None means 30.

        Raises:
            StoreUnusableError: it cannot be opened, is not a database, or was written by a newer release.
        """
        self.path = path
        self.shared = shared
        self._busy_seconds = _BUSY_SECONDS if busy_seconds is None else busy_seconds
        self._reading = anyio.CapacityLimiter(READERS)
        self._turns: WeakValueDictionary[str | None, anyio.CapacityLimiter] = WeakValueDictionary()
        self._read_all = Readers(self.connect, read_seconds, READERS)
        self._read_own = Readers(self._connect_own, read_seconds, READERS)
        self._read_version = Readers(self.connect, read_seconds, 1)  # it differs between connections
        try:
            _create_private(path)
            self._place = FilePlace(path)
            self._read_all.keep(_connect_up_to_date(path, self._busy_seconds))
        except (OSError, sqlite3.Error) as error:
            raise StoreUnusableError(why_unusable(path, error)) from error
        self._writer = Writer(self.connect, "consortium-store", partial(_bring_to_disk, path), self._place.require)

    def reader(self) -> str | None:
        """The caller for whom rows are read and saved; None without a caller, or if callers share."""
        return None if self.shared else current_caller()

    def close(self) -> None:
        """Finish pending writes and close the file; closing twice is allowed."""
        self._writer.close()
        for readers in (self._read_all, self._read_own, self._read_version):
            readers.close()

    def check(self) -> str:
        """The size and the schema of the file, in a few words. Raises StoreUnusableError if it is damaged.

        The file is read completely, and an empty transaction is committed.
        """
        damage = self.read("PRAGMA quick_check(1)", is_limited=False)[0][0]
        if damage != "ok":
            raise StoreUnusableError(why_unusable(self.path, sqlite3.DatabaseError(f"database is malformed: {damage}")))
        self.write(lambda connection: None)
        newest = self.read("SELECT name FROM _sqlite_migrations ORDER BY name DESC LIMIT 1")[0]["name"]
        return f"{self.path.stat().st_size / 1e6:,.1f} MB, schema {newest}"

    def read(self, sql: str, values: Iterable[Any] = (), *, is_limited: bool = True) -> list[sqlite3.Row]:
        """The rows of a query.

        Args:
            is_limited: whether the time limit applies.

        Raises:
            ReadTooLongError: the query exceeded its time limit.
            StoreUnusableError: the file cannot be read.
        """
        # With one rule for both, SQLite could use the index of neither.
        readers = self._read_all if self.reader() is None else self._read_own
        return self._rows(partial(readers.read, sql, values, is_limited=is_limited))

    def data_version(self) -> int:
        """A number that changes with every commit to the file; reading it is very cheap."""
        version: int = self._rows(partial(self._read_version.read, "PRAGMA data_version", ()))[0][0]
        return version

    def _rows(self, read: Callable[[], list[sqlite3.Row]]) -> list[sqlite3.Row]:
        try:
            return read()
        except sqlite3.Error as error:
            raise StoreUnusableError(why_unusable(self.path, error)) from error

    async def in_reader(self, call: Callable[[], T]) -> T:
        """Run a reading call in one of the few reader threads; it stops soon after its caller has left."""
        left = threading.Event()

        def read() -> T:
            with given_up_by(left):
                return call()

        turn = self._turns.setdefault(current_caller(), anyio.CapacityLimiter(_READS_PER_CALLER))
        async with turn:
            try:
                return await anyio.to_thread.run_sync(read, limiter=self._reading, abandon_on_cancel=True)
            except BaseException:
                left.set()
                raise

    def connect(self) -> sqlite3.Connection:
        """A connection that waits for other processes' locks. Raises StoreUnusableError if the file has gone."""
        self._place.require()
        connection = _open(self.path, self._busy_seconds)
        try:
            _set_up(connection, self._busy_seconds)
        except BaseException:
            connection.close()
            raise
        return connection

    def _connect_own(self) -> sqlite3.Connection:
        """A connection that shows only what the current caller may see."""
        connection = self.connect()
        try:
            show_own(connection, self.reader)
        except BaseException:  # without the rule it must not be read
            connection.close()
            raise
        return connection

    def check_writable(self) -> None:
        """Raise StoreUnusableError if the file cannot be written now."""
        self.write(lambda connection: None)  # its transaction takes the write lock

    def write(self, job: Job[T]) -> T:
        """Run a job in a transaction, and return after the commit. Raises StoreUnusableError."""
        try:
            return self._writer.write(job)
        except sqlite3.Error as error:
            raise StoreUnusableError(why_unusable(self.path, error)) from error

    async def in_writer(self, call: Callable[[], T]) -> T:
        """Run a writing call in the writer thread, to its end even if we are cancelled.

        An accepted call is always executed; calls that arrive at the same time form one transaction. Raises what the
        call raises.
        """
        context = copy_context()
        try:
            with anyio.CancelScope(shield=True):
                result = await asyncio.wrap_future(self._writer.submit(lambda connection: context.run(call)))
        except sqlite3.Error as error:
            raise StoreUnusableError(why_unusable(self.path, error)) from error
        return result


def insert(
    connection: sqlite3.Connection, table: str, row: dict[str, Any], *, ignore: bool = False, replace: bool = False
) -> None:
    """Insert a row of named values."""
    connection.execute(insert_sql(table, row, "OR IGNORE " if ignore else "OR REPLACE " if replace else ""), row)


def insert_sql(table: str, row: dict[str, Any], otherwise: str = "") -> str:
    """The statement that inserts a row of named values."""
    return f"INSERT {otherwise}INTO {table} ({', '.join(row)}) VALUES ({', '.join(':' + name for name in row)})"


def _create_private(path: Path) -> None:
    """Create the file if it is missing, readable by its owner only; SQLite's side files get the same mode.

    An existing file is not opened, because closing it again would drop every lock of this process on it
    (https://sqlite.org/howtocorrupt.html, 2.2). The next process to leave would then delete the WAL that we write to.
    """
    path = Path(os.path.realpath(path))  # a symbolic link may point to a file that does not exist yet
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _creating:
        create_private(path)
    if not os.access(path, os.R_OK | os.W_OK, effective_ids=os.access in os.supports_effective_ids):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _connect_up_to_date(path: Path, busy_seconds: float) -> sqlite3.Connection:
    """A connection to a database with our schema; if several processes open a new file, one creates it."""
    connection = _open(path, busy_seconds)
    try:
        newest = _newest_schema(connection)
        if newest != NEWEST_SCHEMA:
            _refuse_others(sqlite_utils.Database(connection), path)
        if connection.execute("PRAGMA page_count").fetchone()[0] == 0:
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # an older one must be written anew
        _set_up(connection, busy_seconds)
        if newest != NEWEST_SCHEMA:
            _migrate(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _newest_schema(connection: sqlite3.Connection) -> str | None:
    """The last of our migrations in a file; None if there is none."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = '_sqlite_migrations'").fetchone():
        return None
    newest = "SELECT max(name) FROM _sqlite_migrations WHERE migration_set = 'consortium_mcp'"
    name: str | None = connection.execute(newest).fetchone()[0]
    return name


def _migrate(connection: sqlite3.Connection) -> None:
    db = sqlite_utils.Database(connection)
    if schema.migrations.pending(db):
        connection.execute("BEGIN IMMEDIATE")
        schema.migrations.apply(db)
        connection.execute("COMMIT")


def _bring_to_disk(path: Path) -> None:
    """Sync the WAL to the disk: it contains every commit that is not in the file yet.

    A checkpoint would sync too, but it restarts the WAL, and the next commit would then wait for the disk.
    """
    # SQLite's side files are next to the file itself, not next to a symbolic link to it.
    wal = os.open(
        f"{os.path.realpath(path)}-wal", os.O_RDWR
    )  # closing it drops no lock: SQLite's locks are on the other side file
    try:
        os.fsync(wal)
    finally:
        os.close(wal)


def _open(path: Path, busy_seconds: float) -> sqlite3.Connection:
    """A connection to an existing file; SQLite would create one that others can read."""
    uri = f"{path.absolute().as_uri()}?mode=rw"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=busy_seconds)
    connection.row_factory = sqlite3.Row
    return connection


def lease_of(lease_until: float | None, owner: str | None) -> float:
    """When the lease ends, in Unix seconds; 0 if there is none, or if its process on this machine has ended."""
    return 0.0 if lease_until is None or has_ended(owner) else lease_until


def _set_up(connection: sqlite3.Connection, busy_seconds: float) -> None:
    connection.create_function("lease_of", 2, lease_of)
    _use_wal(connection, busy_seconds)
    # A commit is in the kernel and survives the end of this process; `_bring_to_disk` makes it survive a
    # power failure. With FULL each commit would wait for the disk: 4 ms on a common one, some eight times per consult.
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")


def _use_wal(connection: sqlite3.Connection, busy_seconds: float) -> None:
    """Switch to WAL mode. SQLite does not wait for another process that does the same, so we do."""
    ends = time.monotonic() + busy_seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > ends:
                raise
            time.sleep(0.01)


def _refuse_others(db: "sqlite_utils.Database", path: Path) -> None:
    """Raise StoreUnusableError, before any change, if the file belongs to another program or a newer release."""
    with sqlite_utils.Database(memory=True) as empty:
        known = {migration.name for migration in schema.migrations.pending(empty)}
    tables = [name for name in db.table_names() if not name.startswith("sqlite_")]
    if tables and not schema.migrations.applied(db):
        raise StoreUnusableError(
            f"The database {path} belongs to another program (it has a table {tables[0]}); nothing was changed. "
            "Name another file with CONSORTIUM_DATABASE."
        )
    newer = [migration.name for migration in schema.migrations.applied(db) if migration.name not in known]
    if newer:
        raise StoreUnusableError(
            f"The database {path} was written by a newer release of consortium-mcp ({newer[-1]}). "
            "Update with `pip install -U consortium-mcp`, or name another file with CONSORTIUM_DATABASE."
        )


_NOT_WRITABLE = (
    "it cannot be written: check the permissions of the file and its folder, "
    + "or name another one with CONSORTIUM_DATABASE"
)


def why_unusable(path: Path, error: Exception) -> str:
    """Why a database cannot be used, with what to do, in one sentence."""
    text = str(error)
    if isinstance(error, PermissionError):  # its text contains the path, which may contain any of the words below
        remedy = _NOT_WRITABLE
    elif "not a database" in text or "malformed" in text:
        remedy = "it is damaged or no SQLite file: move it away or name another one with CONSORTIUM_DATABASE"
    elif "full" in text or getattr(error, "errno", None) == 28:
        remedy = "the disk is full: free some space"
    elif "I/O error" in text:  # SQLite says this also if there is no room for its side files
        remedy = "the disk is full or has failed: free some space, or name another file with CONSORTIUM_DATABASE"
    elif "readonly" in text or "unable to open" in text:
        remedy = _NOT_WRITABLE
    elif "locked" in text:
        remedy = "another process has held it for too long: end that process or try again"
    else:
        remedy = "name another file with CONSORTIUM_DATABASE"
    return f"The database {path} cannot be used ({text}); {remedy}."
