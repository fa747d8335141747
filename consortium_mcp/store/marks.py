"""Marks: by what a reader sees that something was written, here or by another process."""

import time
from dataclasses import dataclass

from consortium_mcp.store.consortiums import SavedConsortiums


@dataclass(frozen=True)
class Marks:
    """What differs when one of our lists has changed."""

    runs: tuple[str | None, str | None]
    """The oldest and the newest run id: runs are opened at one end and pruned from the other."""

    under_way: dict[str, tuple[int, int, int]]
    """Of each run that a process works on: the iteration, the calls that gave their result, the verdicts."""

    consortiums: dict[str, str]
    """When each consortium was saved last, by name."""

    ratings: int
    """Grows with each rating."""


class Marking(SavedConsortiums):
    """Notices what was written."""

    def data_version(self) -> int:
        """A number that changes with every commit to the file; asking costs next to nothing."""
        version: int = self.read("PRAGMA data_version")[0][0]
        return version

    def load_marks(self) -> Marks:
        """The marks as they stand."""
        ends = self.read("SELECT (SELECT min(run_id) FROM runs), (SELECT max(run_id) FROM runs)")[0]
        under_way = (
            "SELECT run_id, coalesce(max(calls.iteration), 0), count(*) FILTER (WHERE calls.state = 'done'), "
            "(SELECT count(*) FROM iterations WHERE iterations.run_id = runs.run_id) "
            "FROM runs LEFT JOIN calls USING (run_id) WHERE status = 'running' AND lease_until >= ? GROUP BY run_id"
        )
        ratings = self.read("SELECT max(rowid) FROM ratings")[0][0]
        return Marks(
            runs=(ends[0], ends[1]),
            under_way={row[0]: (row[1], row[2], row[3]) for row in self.read(under_way, [time.time()])},
            consortiums=self.list_save_times(),
            ratings=ratings or 0,
        )
