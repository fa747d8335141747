"""Ratings: what people say afterwards about a run's answer."""

from consortium_mcp.records import Rating, now_utc
from consortium_mcp.store.part import Part, reads, writes


class Ratings(Part):
    """One rating a run; a later one replaces it."""

    @writes
    def save(self, rating: Rating) -> None:
        """Save what somebody says of a run."""
        row = (rating.run_id, rating.score, rating.note, now_utc(), rating.run_id)
        sql = (
            "INSERT OR REPLACE INTO ratings (run_id, score, note, datetime_utc, caller) "
            "VALUES (?, ?, ?, ?, (SELECT caller FROM runs WHERE run_id = ?))"
        )
        self.database.write(lambda c: c.execute(sql, row) and None)

    @reads
    def list_newest(self, limit: int = 1000) -> list[Rating]:
        """The newest ratings."""
        rows = self.database.read("SELECT run_id, score, note FROM ratings ORDER BY datetime_utc DESC LIMIT ?", [limit])
        return [Rating(**dict(row)) for row in rows]
