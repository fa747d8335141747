"""The trust line: how far to trust an answer and why, in one or two sentences."""

from collections.abc import Iterator

from consortium_mcp.records import Run, Trust
from consortium_mcp.records.trust import Measurement

_BOUNDS: dict[Measurement, str] = {
    "agreement": "the agreement",
    "order": "the reversed order",
    "ballots": "the ballots",
    "ratings": "the ratings",
}


def trust_of(run: Run) -> Trust | None:
    """The trust of the iteration whose synthesis is the answer; None when there is none."""
    return run.iterations[run.selected_iteration - 1].trust if run.selected_iteration else None


def trust_line(run: Run) -> str | None:
    """How far to trust a run's answer: the figure and what bounds it, then what was measured; None without one."""
    trust = trust_of(run)
    if trust is None:
        return None
    facts = "; ".join(_facts(trust))
    advice = " Check it before use." if needs_check(trust) else ""
    return f"Trust: {_figure(trust)}. {facts[:1].upper()}{facts[1:]}.{advice}"


def needs_check(trust: Trust) -> bool:
    """Whether what was measured speaks against the answer."""
    return trust.order_held is False or trust.tied or trust.same < trust.different


def _figure(trust: Trust) -> str:
    if trust.confidence is None:
        return "unknown, since no confidence could be read"
    if trust.stated is None or trust.bound is None:
        return f"{trust.confidence:.2f}, as stated"
    return f"{trust.confidence:.2f}, bounded by {_BOUNDS[trust.bound]}, stated as {trust.stated:.2f}"


def _facts(trust: Trust) -> Iterator[str]:
    yield _agreement(trust)
    if trust.missing:
        yield f"{', '.join(trust.missing)} did not answer"
    if trust.independent_votes is not None:
        yield f"they count as {trust.independent_votes:.1f} independent votes"
    if trust.order_held is not None:
        yield f"in reversed order the verdict was {'the same' if trust.order_held else 'another'}"
    if trust.tied:
        yield "another answer had as many votes"
    if trust.ballots is not None:
        yield f"{trust.ballots.read} of {trust.ballots.asked} ballots could be read"
    if trust.rated is not None:
        yield f"of {trust.rated.rated} rated answers at this level, {trust.rated.right} were right"


def _agreement(trust: Trust) -> str:
    answered = trust.asked - len(trust.missing)
    if trust.compared == 0:
        return "agreement was not measured, since no response can be compared with the answer"
    if trust.same == 0:
        return f"no member gave this answer, and {trust.different} gave another"
    rest = answered - trust.compared
    others = f", and {rest} cannot be compared" if rest else ""
    if answered == 1:
        return "only one member answered, and no other confirms it"
    return f"{trust.same} of {answered} members gave this answer independently{others}"
