"""Change markers: the values by which a reader notices a change, in this or another process."""

import time
from dataclasses import dataclass

from consortium_mcp.store.consortiums import SavedConsortiums
from consortium_mcp.store.part import Part, reads


@dataclass(frozen=True)
class ChangeMarkers:
    """The values that differ after a change of one of our lists."""

    runs: tuple[str | None, str | None]
    """The oldest and the newest run id: runs are added at one end and pruned at the other."""

    under_way: dict[str, tuple[int, int, int]]
    """For each active run: the iteration, the number of finished calls, the number of verdicts."""

    consortiums: dict[str, str]
    """The time of each consortium's last save, by name."""

    rated_utc: str | None
    """The time of the newest rating, ISO 8601; None before the first."""


NOTHING = ChangeMarkers(runs=(None, None), under_way={}, consortiums={}, rated_utc=None)
"""The markers of an empty database."""


class Markers(Part):
    """Loads the change markers."""

    @reads
    def data_version(self) -> int:
        """A number that changes with every commit to the file; reading it is very cheap."""
        return self.database.data_version()

    @reads
    def load(self) -> ChangeMarkers:
        """The current markers."""
        end = "SELECT run_id FROM runs ORDER BY run_id {} LIMIT 1"  # min() would read every run
        ends = self.database.read(f"SELECT ({end.format('ASC')}), ({end.format('DESC')})")[0]
        under_way = (
            "SELECT run_id, (SELECT coalesce(max(iteration), 0) FROM calls WHERE calls.run_id = runs.run_id), "
            "(SELECT count(*) FROM calls WHERE calls.run_id = runs.run_id AND calls.state = 'done'), "
            "(SELECT count(*) FROM iterations WHERE iterations.run_id = runs.run_id) "
            "FROM runs WHERE status = 'running' AND lease_until >= ?"
        )
        rated = self.database.read("SELECT datetime_utc FROM ratings ORDER BY datetime_utc DESC LIMIT 1")
        return ChangeMarkers(
            runs=(ends[0], ends[1]),
            under_way={row[0]: (row[1], row[2], row[3]) for row in self.database.read(under_way, [time.time()])},
            consortiums=SavedConsortiums(self.database).list_save_times.sync(),
            rated_utc=rated[0]["datetime_utc"] if rated else None,
        )
