"""One iteration: the members are asked once, then the arbiter once, and the result is measured."""

from consortium_mcp._util.frozen_model import FrozenModel
from consortium_mcp.records.response import MemberResponse
from consortium_mcp.records.trust import Trust
from consortium_mcp.records.verdict import Verdict


class Measures(FrozenModel):
    """The measurements of an iteration, beside the arbiter's own figure."""

    agreement_within: float | None = None
    """The share of pairs of one model's instances with the same answer, 0.0-1.0; None if no pair can be compared."""

    agreement_across: float | None = None
    """The share of pairs of different models with the same answer, 0.0-1.0; None if no pair can be compared."""

    pairs: int = 0
    """The pairs of responses behind the agreement: across models if there are several, else within one."""

    compared: int = 0
    """The number of these pairs that can be compared."""

    stated_confidence: float | None = None
    """The mean confidence that members stated in their responses, 0.0-1.0; None if none was stated."""

    groups: tuple[tuple[str, ...], ...] = ()
    """The responses that give the same answer, as the arbiter groups them; empty if it was not asked for groups."""

    not_grouped: str | None = None
    """Why the arbiter's groups could not be used, in one sentence; None if they could, or it was not asked."""

    order_held: bool | None = None
    """Whether the verdict was the same with the responses in reversed order; None if it was judged once."""


class Iteration(FrozenModel):
    """One round of asking the members, then the arbiter."""

    number: int
    """The number of the iteration, from 1."""

    responses: tuple[MemberResponse, ...]
    """The responses, one for each instance, in the order of the consortium."""

    shown_order: tuple[int, ...] = ()
    """The indices of the responses (from 0), in the order that the arbiter saw."""

    verdict: Verdict | None = None
    """The verdict on the responses; None if there is none."""

    judged_by: str | None = None
    """The backup or member that judged in the arbiter's place; None if the arbiter judged."""

    arbiter_error: str | None = None
    """Why the arbiter gave no verdict, or what it did not see, in one sentence; None if nothing was missing."""

    arbiter_unseen: str | None = None
    """The attachments that the arbiter's model does not take, by name and type; None if it got all."""

    raw_verdict: str | None = None
    """The arbiter's unchanged reply; None if there was none."""

    measures: Measures | None = None
    """The measurements of the iteration; None until it is judged."""

    trust: Trust | None = None
    """The trust in the iteration's answer; None until it is judged, and in runs of older releases."""

    @property
    def confidence(self) -> float | None:
        """The verdict's confidence, bounded by the measurements; None without one."""
        if self.trust is not None:
            return self.trust.confidence
        return self.verdict.confidence if self.verdict else None
