"""What was made of one iteration's responses: synthesis, dissent, claims, votes, ballots, ranking."""

from typing import Literal

from consortium_mcp._util.frozen_model import FrozenModel

Severity = Literal["critical", "major", "minor"]
"""How bad a finding is, from the worst to the least."""


class Votes(FrozenModel):
    """The responses that came to the same final answer."""

    answer: str
    """It, in the form in which equal answers are equal."""

    response_ids: tuple[str, ...]
    """Whose, in the declared order."""


class Ballots(FrozenModel):
    """The ballots of members that rank each other's responses."""

    asked: int
    """How many were asked for."""

    read: int
    """How many could be read."""

    about_winner: int
    """How many of these name the winner; no member ranks its own response."""

    won: float
    """What they gave the winner, from 0.0 to `about_winner`: 1.0 for each first place, 0.0 for a last one."""

    tied: bool = False
    """Whether another response has the same mean score as the winner."""


class Claim(FrozenModel):
    """One statement on which responses differ."""

    claim: str
    """It, in one sentence."""

    supported_by: tuple[str, ...] = ()
    """The instances that hold it, as in `gpt-5#2`."""

    opposed_by: tuple[str, ...] = ()
    """The instances that hold the contrary."""

    quote_for: str = ""
    """What one that holds it says."""

    quote_against: str = ""
    """What one that holds the contrary says."""


class Finding(FrozenModel):
    """One fault that a review found."""

    severity: Severity
    """How bad it is."""

    place: str
    """Where it is: the file and line, or a few quoted words."""

    finding: str
    """What is wrong, and how to repair it."""

    raised_by: tuple[str, ...] = ()
    """The instances that raised it, as in `gpt-5#2`."""


class Verdict(FrozenModel):
    """What was made of one iteration's responses: by the arbiter, or by the members themselves."""

    synthesis: str
    """The combined answer."""

    confidence: float | None = None
    """The arbiter's stated trust in this synthesis, 0.0-1.0; None when it cannot be read."""

    analysis: str = ""
    """Why the arbiter combined the responses in this way."""

    dissent: str = ""
    """Disagreement that is not folded into the synthesis; empty when there is none."""

    claims: tuple[Claim, ...] = ()
    """The disagreement as data; empty when there is none, or when the arbiter cannot give it."""

    findings: tuple[Finding, ...] = ()
    """What a review found, the worst first; empty when there is nothing, or nothing was reviewed."""

    needs_iteration: bool = False
    """Whether the arbiter asks for another iteration."""

    refinement_areas: tuple[str, ...] = ()
    """What the next iteration should work on."""

    problem: str | None = None
    """Why the reply, or its confidence, could not be read; None when all was read."""

    chosen: str | None = None
    """The response whose text the synthesis is; None when it was written by the arbiter."""

    ranking: tuple[str, ...] = ()
    """All judged responses, the best first; empty when they were not ordered."""

    by_agreement: bool = False
    """Whether nothing was judged, since all responses that were asked for agree."""

    votes: tuple[Votes, ...] = ()
    """Who came to the same answer, the largest group first; empty without a count."""

    ballots: Ballots | None = None
    """The ballots of members that ranked each other; None when none was asked for."""
