"""Ratings: people's later judgements of answers."""

import json
from collections.abc import Sequence
from functools import cache
from itertools import islice

from consortium_mcp.records import Rating, Trust, now_utc
from consortium_mcp.records.consortium import Consortium, asks_and_judges_alike
from consortium_mcp.store.part import Part, reads, writes

NEWEST_RATINGS = 5_000
"""The number of newest ratings among which those of a consortium are searched."""


class Ratings(Part):
    """The ratings, one per run; a later one replaces it."""

    @writes
    def save(self, rating: Rating) -> None:
        """Save a rating."""
        row = (rating.run_id, rating.score, rating.note, now_utc(), rating.run_id)
        sql = (
            "INSERT OR REPLACE INTO ratings (run_id, score, note, datetime_utc, caller) "
            "VALUES (?, ?, ?, ?, (SELECT caller FROM runs WHERE run_id = ?))"
        )
        self.database.write(lambda c: c.execute(sql, row) and None)

    @reads
    def find(self, run_ids: Sequence[str]) -> dict[str, Rating]:
        """The ratings of some runs by id; runs without a rating are left out."""
        sql = "SELECT run_id, score, note FROM ratings WHERE run_id IN (SELECT value FROM json_each(?))"
        return {row["run_id"]: Rating(**dict(row)) for row in self.database.read(sql, [json.dumps(list(run_ids))])}

    @reads
    def list_newest(self, limit: int = 1000) -> list[Rating]:
        """The newest ratings."""
        rows = self.database.read("SELECT run_id, score, note FROM ratings ORDER BY datetime_utc DESC LIMIT ?", [limit])
        return [Rating(**dict(row)) for row in rows]

    @reads
    def list_trust_everywhere(self, limit: int = 500) -> list[tuple[Trust, float]]:
        """The trust in the newest rated answers of all consortiums, with their scores; replays are left out.

        Args:
            limit: the number of newest ratings that are read.
        """
        sql = (
            "SELECT iterations.trust, newest.score FROM "
            "(SELECT run_id, score FROM ratings ORDER BY datetime_utc DESC LIMIT ?) AS newest "
            "CROSS JOIN runs ON runs.run_id = newest.run_id "  # in this order, which is that of the index
            "CROSS JOIN iterations ON iterations.run_id = runs.run_id AND iterations.number = runs.selected_iteration "
            "WHERE iterations.trust IS NOT NULL AND runs.replay_of IS NULL"
        )
        return [(Trust.model_validate_json(row["trust"]), row["score"]) for row in self.database.read(sql, [limit])]

    @reads
    def list_trust(self, name: str | None, consortium: Consortium, limit: int = 500) -> list[tuple[Trust, float]]:
        """The trust in each rated answer of a consortium, and its score, the newest first; replays are left out.

        Runs that a definition of the same name with other members or another judging made are left out.

        Args:
            name: its saved name; None means inline definitions.
            limit: the largest number of results, from the `NEWEST_RATINGS` of all consortiums.
        """
        sql = (
            "SELECT iterations.trust, newest.score, runs.consortium FROM "
            "(SELECT run_id, score FROM ratings ORDER BY datetime_utc DESC LIMIT ?) AS newest "
            "CROSS JOIN runs ON runs.run_id = newest.run_id "  # in this order, which is that of the index
            "CROSS JOIN iterations ON iterations.run_id = runs.run_id AND iterations.number = runs.selected_iteration "
            "WHERE iterations.trust IS NOT NULL AND runs.replay_of IS NULL AND runs.consortium_name IS ?"
        )
        rows = self.database.read(sql, [NEWEST_RATINGS, name])

        @cache  # most runs have the same definition, and each one is read once
        def is_alike(definition: str) -> bool:
            return asks_and_judges_alike(Consortium.model_validate_json(definition), consortium)

        alike = (row for row in rows if is_alike(row["consortium"]))
        return [(Trust.model_validate_json(row["trust"]), row["score"]) for row in islice(alike, limit)]
