"""The run list, without the texts of the runs, and the search for ids."""

import time
from typing import NamedTuple

from consortium_mcp.records import RunOutline
from consortium_mcp.records.consortium import Consortium
from consortium_mcp.store.part import Part, reads
from consortium_mcp.store.run_queries import select_runs
from consortium_mcp.store.runs import STATUS_SEEN

_COLUMNS = (
    f"run_id, {STATUS_SEEN} AS status, substr(prompt, 1, 200) AS prompt, consortium_name, confidence, "
    "created_utc, ended_utc, parent_run"
)

NEWEST = 1_000
"""The number of newest runs in which a middle part of an id is searched, because no index finds it."""


class RunUsage(NamedTuple):
    """The usage of an ended run."""

    calls: int
    """The number of attempts."""

    tokens: int
    """The tokens of questions and replies."""

    cost_usd: float | None
    """US dollars; None if a price is unknown."""


class Outlines(Part):
    """Lists of runs whose speed does not depend on the number of runs."""

    @reads
    def find(
        self,
        query: str | None = None,
        consortium: str | None = None,
        status: str | None = None,
        limit: int = 20,
        before: str | None = None,
    ) -> list[RunOutline]:
        """Runs, newest first; the arguments are those of `list_runs`."""
        sql, values = select_runs(_COLUMNS, query, consortium, status, before, limit, self.database.reader())
        return [RunOutline(**dict(row)) for row in self.database.read(sql, [time.time(), *values])]

    @reads
    def list_usage(self, consortium: Consortium, most: int) -> list[RunUsage]:
        """The usage of the latest runs of exactly this definition that ended with an answer, at most `most`.

        Only the `NEWEST` such runs of any definition are looked at.
        """
        sql = (
            "SELECT calls, tokens, CASE unpriced WHEN 0 THEN cost_usd END AS cost_usd FROM (SELECT run_id, consortium "
            "FROM runs WHERE status IN ('converged', 'exhausted') AND replay_of IS NULL ORDER BY run_id DESC LIMIT ?) "
            "AS ended JOIN spending ON scope = 'run:' || run_id WHERE consortium = ? ORDER BY run_id DESC LIMIT ?"
        )
        rows = self.database.read(sql, [NEWEST, consortium.model_dump_json(), most])
        return [RunUsage(row["calls"], row["tokens"], row["cost_usd"]) for row in rows]

    @reads
    def list_ids(self) -> list[str]:
        """Every run's id, newest first."""
        return [row["run_id"] for row in self.database.read("SELECT run_id FROM runs ORDER BY run_id DESC")]

    @reads
    def find_ids(self, part: str, limit: int) -> list[str]:
        """The ids that begin with a text, newest first, then those of the `NEWEST` runs that contain it elsewhere."""
        begin = "SELECT run_id FROM runs WHERE run_id >= ? AND run_id < ? ORDER BY run_id DESC LIMIT ?"
        found = [row["run_id"] for row in self.database.read(begin, [part, f"{part}\U0010ffff", limit])]
        if part and len(found) < limit:
            newest = self.database.read("SELECT run_id FROM runs ORDER BY run_id DESC LIMIT ?", [NEWEST])
            found += [row["run_id"] for row in newest if part in row["run_id"]]
        return list(dict.fromkeys(found))[:limit]
