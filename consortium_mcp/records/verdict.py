"""The verdict on one iteration's responses: synthesis, dissent, claims, votes, ballots, ranking."""

from typing import Literal

from consortium_mcp._util.frozen_model import FrozenModel

Severity = Literal["critical", "major", "minor"]
"""The severity of a finding, from the worst to the least."""


class Votes(FrozenModel):
    """The responses with the same final answer."""

    answer: str
    """The answer, normalised so that equal answers have equal texts."""

    response_ids: tuple[str, ...]
    """The instances that gave it, in the order of the consortium."""


class Ballots(FrozenModel):
    """The ballots of members that rank each other's responses."""

    asked: int
    """The number of requested ballots."""

    read: int
    """The number of readable ballots."""

    about_winner: int
    """The number of readable ballots that rank the winner; no member ranks its own response."""

    won: float
    """The winner's points, 0.0 to `about_winner`: 1.0 for each first place, 0.0 for a last place."""

    tied: bool = False
    """Whether another response has the same mean score as the winner."""


class Claim(FrozenModel):
    """A statement on which responses differ."""

    claim: str
    """The claim, in one sentence."""

    supported_by: tuple[str, ...] = ()
    """The instances that support the claim, as in `gpt-5#2`."""

    opposed_by: tuple[str, ...] = ()
    """The instances that oppose the claim."""

    quote_for: str = ""
    """A quotation from a supporting response."""

    quote_against: str = ""
    """A quotation from an opposing response."""


class Finding(FrozenModel):
    """One fault that a review found."""

    severity: Severity
    """The severity of the fault."""

    place: str
    """The place of the fault: the file and line, or a few quoted words."""

    finding: str
    """The fault, and how to repair it."""

    raised_by: tuple[str, ...] = ()
    """The instances that raised it, as in `gpt-5#2`."""


class Verdict(FrozenModel):
    """The verdict on one iteration's responses, by the arbiter or by the members."""

    synthesis: str
    """The combined answer."""

    confidence: float | None = None
    """The stated confidence that the synthesis is right, 0.0-1.0; None if none can be read."""

    completeness: float | None = None
    """How much of what the prompt asks for the synthesis contains, as stated, 0.0-1.0; None if nothing is stated."""

    agreeing: tuple[str, ...] = ()
    """The responses that give this answer, as the arbiter says; empty if it names none."""

    contradicting: tuple[str, ...] = ()
    """The responses that contradict this answer, as the arbiter says; empty if it names none."""

    analysis: str = ""
    """Why the arbiter combined the responses in this way."""

    dissent: str = ""
    """Disagreement that the synthesis does not include; empty if there is none."""

    claims: tuple[Claim, ...] = ()
    """The disputed claims; empty if there are none, or if the arbiter lists none."""

    findings: tuple[Finding, ...] = ()
    """The findings of a review, most severe first; empty without findings or without a review."""

    needs_iteration: bool = False
    """Whether the arbiter asks for another iteration."""

    refinement_areas: tuple[str, ...] = ()
    """What the next iteration should work on."""

    problem: str | None = None
    """Why the reply, or its confidence, could not be read; None if everything was read."""

    chosen: str | None = None
    """The response whose text is the synthesis; None if the arbiter wrote the synthesis."""

    ranking: tuple[str, ...] = ()
    """All judged responses, the best first; empty if they were not ordered."""

    by_agreement: bool = False
    """Whether all responses agreed, so that no judging was needed."""

    votes: tuple[Votes, ...] = ()
    """The groups of equal answers, the largest first; empty if the method does not count."""

    ballots: Ballots | None = None
    """The ballots of members that ranked each other; None if the method uses none."""
