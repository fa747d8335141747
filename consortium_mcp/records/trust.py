"""How far an answer is to be trusted: what was measured of it, and the confidence that this leaves."""

from typing import Literal

from consortium_mcp._util.frozen_model import FrozenModel
from consortium_mcp.records.verdict import Ballots

Measurement = Literal["agreement", "members", "order", "ballots", "ratings"]
"""What can bound a stated confidence."""


class RatedLevel(FrozenModel):
    """How right earlier answers of the same consortium were, at one level of confidence."""

    level: str
    """The band of confidence, as in `0.8-0.9`."""

    rated: int
    """How many answers in it are rated."""

    right: int
    """How many of these have a score of 0.5 or more."""

    confidence: float
    """Their mean score, 0.0-1.0, pulled towards this answer's confidence where few are rated."""


class Trust(FrozenModel):
    """How far the answer of one iteration is to be trusted."""

    confidence: float | None = None
    """The stated figure, bounded by what was measured, 0.0-1.0; None when none could be read."""

    stated: float | None = None
    """The verdict's own figure, 0.0-1.0; None when none could be read."""

    before_ratings: float | None = None
    """The figure bounded by this run alone, by which ratings are looked up, 0.0-1.0; None when none could be read."""

    bound: Measurement | None = None
    """Which measurement bounds the confidence; None when none does."""

    bounded_by: str | None = None
    """The same in one sentence; None when the stated figure holds."""

    asked: int = 0
    """Instances of the first iteration, the caller's own answer included."""

    same: int = 0
    """How many of them gave this answer independently: in the first iteration."""

    different: int = 0
    """How many gave another answer then; one that cannot be compared with the answer counts in neither."""

    declined: int = 0
    """How many declined to answer then; they count in neither."""

    found_later: int | None = None
    """In which later iteration members first gave this answer, which no one had shown them; else None."""

    stated_by_members: float | None = None
    """The mean confidence that those state who gave this answer, 0.0-1.0; None when none of them states one."""

    missing: tuple[str, ...] = ()
    """The instances that gave no response in the first iteration, as in `gpt-5#2`."""

    independent_votes: float | None = None
    """What the compared answers count as, since their models err together; None when that is unknown."""

    order_held: bool | None = None
    """Whether the verdict was the same with the responses in reversed order; None when that is unknown."""

    tied: bool = False
    """Whether another answer had as many votes, or as high a rank."""

    ballots: Ballots | None = None
    """The members' ballots; None when the judging method asks for none."""

    rated: RatedLevel | None = None
    """What ratings say of answers at this level; None when none is rated."""

    @property
    def compared(self) -> int:
        """How many independent answers could be compared with this one."""
        return self.same + self.different


class TrackRecord(FrozenModel):
    """What the rated runs of a consortium say about its next answer."""

    scores: tuple[tuple[float, float], ...] = ()
    """Of each rated answer its confidence before ratings, and its score, each 0.0-1.0."""

    correlation: float | None = None
    """How much its members err together, from 0.0 (independently) to 1.0; None when too few runs are rated."""
