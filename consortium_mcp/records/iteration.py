"""Members asked once, then the arbiter once, and what was measured of it."""

from consortium_mcp._util.frozen_model import FrozenModel
from consortium_mcp.records.response import MemberResponse
from consortium_mcp.records.trust import Trust
from consortium_mcp.records.verdict import Verdict


class Measures(FrozenModel):
    """What was measured of an iteration, beside the arbiter's own figure."""

    agreement_within: float | None = None
    """The share of pairs of one model's instances with the same answer, 0.0-1.0; None when no pair can be compared."""

    agreement_across: float | None = None
    """The share of pairs of different models with the same answer, 0.0-1.0; None when no pair can be compared."""

    pairs: int = 0
    """How many pairs of responses the agreement is of: across models where there are several, else within one."""

    compared: int = 0
    """How many of these pairs can be compared."""

    stated_confidence: float | None = None
    """The mean of the members' own trust in their responses, 0.0-1.0; None when none stated it."""

    order_held: bool | None = None
    """Whether the verdict was the same with the responses in reversed order; None when it was not asked again."""


class Iteration(FrozenModel):
    """Members asked once, then the arbiter once."""

    number: int
    """Which one, from 1."""

    responses: tuple[MemberResponse, ...]
    """One for each instance, in the order of the consortium."""

    shown_order: tuple[int, ...] = ()
    """The places (from 0) of the responses in the order in which the arbiter saw them."""

    verdict: Verdict | None = None
    """What the arbiter made of them; None when it could not be asked or gave nothing."""

    judged_by: str | None = None
    """The backup or member that gave the verdict in the arbiter's place; None when it was the arbiter."""

    arbiter_error: str | None = None
    """Why the arbiter gave no verdict, or what it did not see, in one sentence; None when neither is so."""

    raw_verdict: str | None = None
    """The arbiter's reply, untouched; None when there was none."""

    measures: Measures | None = None
    """What was measured of it; None until it is judged."""

    trust: Trust | None = None
    """How far its answer is to be trusted; None until it is judged, and in runs of older releases."""

    @property
    def confidence(self) -> float | None:
        """The verdict's confidence, bounded by what was measured; None without one."""
        if self.trust is not None:
            return self.trust.confidence
        return self.verdict.confidence if self.verdict else None
