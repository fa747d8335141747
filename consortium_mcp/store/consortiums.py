"""Saved consortiums: one row for each, which llm-consortium can read too."""

import json
from collections.abc import Sequence
from typing import Any
from unicodedata import normalize

from consortium_mcp.errors import ConsortiumError, NextStep, NotFoundError
from consortium_mcp.records import now_utc
from consortium_mcp.records.consortium import Consortium, load_saved_form
from consortium_mcp.store.database import insert
from consortium_mcp.store.names import SavedNames
from consortium_mcp.store.part import reads, writes


class SavedConsortiums(SavedNames):
    """The saved definitions by name."""

    @writes
    def save(self, name: str, consortium: Consortium, taken_from: str | None = None) -> None:
        """Save a definition under a name; an existing one is replaced."""
        config = json.dumps(consortium.saved_form())
        row: dict[str, str | None] = {"name": name, "config": config, "created_at": now_utc()}
        if caller := self.database.reader():
            table, row["caller"] = "caller_consortiums", caller
        else:
            table, row["taken_from"] = "consortium_configs", taken_from
        self.database.write(lambda c: insert(c, table, row, replace=True))

    @reads
    def load(self, name: str) -> Consortium:
        """Load a definition.

        Raises:
            NotFoundError: nothing is saved under that name.
            InvalidConsortiumError: the saved row breaks a rule.
        """
        sql = "SELECT CAST(config AS BLOB) AS config FROM consortium_configs WHERE name = ?"
        rows = self.database.read(sql, [name]) or self.database.read(sql, [self._as_saved(name)])
        if not rows:
            raise self._not_found(name)
        return load_saved_form(_json_row(rows[0]["config"], name))

    @reads
    def list_own_names(self) -> list[str]:
        """The names that the caller saved, damaged rows included; a caller without a name owns all."""
        if caller := self.database.reader():
            rows = self.database.read("SELECT name FROM caller_consortiums WHERE caller = ? ORDER BY name", [caller])
            return [row["name"] for row in rows]
        return self.list_names.sync()

    @reads
    def list_save_times(self) -> dict[str, str]:
        """The time of each consortium's last save, ISO 8601 in UTC, by name in alphabetical order."""
        rows = self.database.read("SELECT name, created_at FROM consortium_configs ORDER BY name")
        return {row["name"]: row["created_at"] for row in rows}

    @reads
    def list_all(self) -> tuple[dict[str, Consortium], dict[str, str]]:
        """Every saved definition by name, and the reason for each row that cannot be read, by name."""
        loaded: dict[str, Consortium] = {}
        damaged: dict[str, str] = {}
        # As bytes: one text that is not UTF-8 would otherwise stop the whole query.
        for row in self.database.read(
            "SELECT name, CAST(config AS BLOB) AS config FROM consortium_configs ORDER BY name"
        ):
            try:
                loaded[row["name"]] = load_saved_form(_json_row(row["config"], row["name"]))
            except ConsortiumError as error:
                damaged[row["name"]] = str(error)
        return loaded, damaged

    @writes
    def delete(self, name: str) -> Consortium | None:
        """Delete a definition and return it; None if its row was damaged.

        Raises:
            NotFoundError: there is none.
            ConsortiumError: it does not belong to the caller.
        """
        try:
            removed = self.load.sync(name)
        except NotFoundError:
            raise
        except ConsortiumError:
            removed = None
        name = self._as_saved(name)
        table, owned = "consortium_configs", {"name": name}
        if caller := self.database.reader():
            table, owned = "caller_consortiums", {"name": name, "caller": caller}
        where = " AND ".join(f"{column} = :{column}" for column in owned)
        if not self.database.write(lambda c: c.execute(f"DELETE FROM {table} WHERE {where}", owned).rowcount):
            if caller is None or name not in self.list_names.sync():  # another process was faster
                raise self._not_found(name)
            raise ConsortiumError(f"The consortium {name!r} belongs to the server, so a caller cannot remove it.")
        return removed

    def _as_saved(self, name: str) -> str:
        """The name in the Unicode form in which it is saved; itself if it is not."""
        names = self.list_names.sync()
        return next((one for one in names if one == name or normalize("NFC", one) == normalize("NFC", name)), name)

    def _not_found(self, name: str) -> NotFoundError:
        names = self.list_names.sync()
        close = next((one for one in names if _folded(one) == _folded(name)), None)
        meant = "" if close is None else f" Did you mean {close!r}?"
        saved = ", ".join(names) or "none"
        return NotFoundError(f"No consortium named {name!r}.{meant} Saved: {saved}.", NextStep.LIST_CONSORTIUMS)

    @reads
    def list_takeovers(self) -> dict[str, list[str]]:
        """The llm-consortium files that were imported, with the names that each contained at that time."""
        return {
            row["path"]: json.loads(row["names"]) for row in self.database.read("SELECT path, names FROM takeovers")
        }

    @writes
    def save_takeover(self, path: str, names: Sequence[str] = ()) -> None:
        """Note that an llm-consortium file was imported completely, and the names in it."""
        row = (path, now_utc(), json.dumps(names))
        self.database.write(lambda c: c.execute("INSERT OR REPLACE INTO takeovers VALUES (?, ?, ?)", row) and None)


def _folded(name: str) -> str:
    """A name without the differences of letter case and Unicode form."""
    return normalize("NFKC", name).casefold().strip()


def _json_row(text: bytes, name: str) -> dict[str, Any]:
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _damaged(name, f"not JSON ({error})") from error
    if not isinstance(row, dict):
        raise _damaged(name, "not a JSON object")
    return row


def _damaged(name: str, what: str) -> ConsortiumError:
    return ConsortiumError(f"The saved consortium {name!r} is damaged: its row is {what}.", NextStep.REPLACE_DAMAGED)
