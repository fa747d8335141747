"""The trust in an answer: the measurements, and the confidence that they allow."""

from typing import Literal

from consortium_mcp._util.frozen_model import FrozenModel
from consortium_mcp.records.verdict import Ballots

Measurement = Literal["agreement", "members", "order", "ballots", "ratings"]
"""The measurements that can bound a stated confidence."""


class RatedLevel(FrozenModel):
    """The ratings of earlier answers of the same consortium in one band of confidence."""

    level: str
    """The band of confidence, as in `0.8-0.9`."""

    rated: int
    """The number of rated answers in the band."""

    right: int
    """The number of these with a score of 0.5 or more."""

    confidence: float
    """The mean score of these, 0.0-1.0, pulled towards this answer's confidence if few are rated."""


class Trust(FrozenModel):
    """The trust in the answer of one iteration."""

    confidence: float | None = None
    """The stated figure, bounded by the measurements, 0.0-1.0; None if none could be read."""

    stated: float | None = None
    """The verdict's own figure, 0.0-1.0; None if none could be read."""

    completeness: float | None = None
    """How much of what the prompt asks for the answer contains, as stated, 0.0-1.0; None if nothing is stated."""

    before_ratings: float | None = None
    """The figure before ratings, which selects the band, 0.0-1.0; None if none could be read."""

    bound: Measurement | None = None
    """The measurement that bounds the confidence; None if none does."""

    bounded_by: str | None = None
    """The reason of the bound, in one sentence; None if the stated figure holds."""

    asked: int = 0
    """The number of instances in the first iteration, with the caller's own answer."""

    same: int = 0
    """The number of instances that gave this answer independently, in the first iteration."""

    different: int = 0
    """The number of instances with another answer; a response that is not comparable counts in neither number."""

    same_by: tuple[str, ...] = ()
    """The models of the instances that gave this answer; empty in runs of older releases."""

    different_by: tuple[str, ...] = ()
    """The models of the instances with another answer; empty in runs of older releases."""

    by_arbiter: int = 0
    """The number of these responses that only the arbiter could compare; a rule compared the others."""

    declined: int = 0
    """The number of instances that declined to answer in the first iteration; they count in neither."""

    found_later: int | None = None
    """The later iteration in which members first found this answer themselves; None if there is none."""

    later: int = 0
    """The number of instances that gave this answer only after they had seen other responses."""

    stated_by_members: float | None = None
    """The mean confidence of the members that gave this answer, 0.0-1.0; None if none states one."""

    missing: tuple[str, ...] = ()
    """The instances that gave no response in the first iteration, as in `gpt-5#2`."""

    independent_votes: float | None = None
    """The independent votes that the compared answers count as, since models err together; None if unknown."""

    order_held: bool | None = None
    """Whether the verdict was the same with the responses in reversed order; None if unknown."""

    tied: bool = False
    """Whether another answer had as many votes, or as high a rank."""

    ballots: Ballots | None = None
    """The members' ballots; None if the judging method uses none."""

    rated: RatedLevel | None = None
    """The ratings of answers in this band; None if none is rated."""

    not_calibrated: str | None = None
    """Why the threshold applies to the bounded figure instead of the ratings, as a clause; None if it does not."""

    @property
    def compared(self) -> int:
        """The number of independent answers that are comparable with this one."""
        return self.same + self.different

    @property
    def first_answers(self) -> int:
        """The number of instances that answered in the first iteration, without failures and refusals."""
        return self.asked - len(self.missing) - self.declined


class PairRecord(FrozenModel):
    """How two models err together."""

    models: tuple[str, str]
    """The two models, in alphabetical order; one model twice stands for two of its instances."""

    runs: int
    """The number of rated runs that show for both whether their answers were right."""

    correlation: float
    """The correlation of their errors, from 0.0 (independent) to 1.0."""


class TrackRecord(FrozenModel):
    """The evidence from the rated runs of a consortium for its next answer."""

    scores: tuple[tuple[float, float], ...] = ()
    """The confidence before ratings and the score of each rated answer, each 0.0-1.0."""

    correlation: float | None = None
    """The correlation of the members' errors, from 0.0 (independent) to 1.0; None if too few runs are rated."""

    pairs: tuple[PairRecord, ...] = ()
    """The pairs of models whose correlation is known, from all rated runs of the database."""
