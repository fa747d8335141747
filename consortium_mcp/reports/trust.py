"""The trust line: the trust in an answer and its reasons, in one or two sentences."""

from collections.abc import Iterator

from consortium_mcp._util.counts import counted
from consortium_mcp.engine.measures import overall_agreement
from consortium_mcp.records import Run, Trust
from consortium_mcp.records.consortium import OWN_ANSWER
from consortium_mcp.records.trust import Measurement

_BOUNDS: dict[Measurement, str] = {
    "agreement": "the agreement",
    "members": "the members' own confidence",
    "order": "the reversed order",
    "ballots": "the ballots",
    "ratings": "the ratings",
}


def trust_of(run: Run) -> Trust | None:
    """The trust of the selected iteration; None if there is none."""
    return run.iterations[run.selected_iteration - 1].trust if run.selected_iteration else None


def trust_line(run: Run) -> str | None:
    """The trust line of a run: the figure and its bound, then the measurements; None without a trust."""
    trust = trust_of(run)
    if trust is None:
        return None
    facts = "; ".join(_facts(trust, run))
    advice = " Check it before use." if needs_check(trust) or _contradict_each_other(trust, run) else ""
    return f"Trust: {_figure(trust, run)}. {facts[:1].upper()}{facts[1:]}.{advice}"


def needs_check(trust: Trust) -> bool:
    """Whether the measurements contradict the answer."""
    return trust.order_held is False or trust.tied or trust.same < trust.different


def _contradict_each_other(trust: Trust, run: Run) -> bool:
    """Whether most independent responses contradict each other, and none is comparable with the answer."""
    agreement = overall_agreement(run.iterations[0].measures)
    return trust.compared == 0 and agreement is not None and agreement < 0.5


def _figure(trust: Trust, run: Run) -> str:
    if trust.confidence is None:
        return f"unknown, because no confidence could be read{_complete(trust)}"
    verdict = run.iterations[run.selected_iteration - 1].verdict if run.selected_iteration else None
    how = "counted" if verdict and (verdict.votes or verdict.ballots) else "stated"
    if trust.stated is None or trust.bound is None:
        return f"{trust.confidence:.2f}, as {how}{_complete(trust)}"
    is_raised = trust.bound == "ratings" and trust.confidence > (trust.before_ratings or 0.0)
    verb = "raised" if is_raised else "bounded"
    return f"{trust.confidence:.2f}, {verb} by {_BOUNDS[trust.bound]}, {how} as {trust.stated:.2f}{_complete(trust)}"


def _complete(trust: Trust) -> str:
    """The completeness that the arbiter states for its answer; empty if it states none."""
    return "" if trust.completeness is None else f". Complete: {trust.completeness:.2f}, as stated"


def _facts(trust: Trust, run: Run) -> Iterator[str]:
    yield _agreement(trust, run)
    if trust.by_arbiter:
        yield f"{_judge(run)} compared {counted(trust.by_arbiter, 'response')}, which rules cannot compare"
    if trust.missing:
        yield f"missing{_when(run)}: {', '.join(trust.missing)}"
    if unasked := _unasked(run):
        yield f"{counted(unasked, 'instance')} {'was' if unasked == 1 else 'were'} not asked"
    if 0 < trust.declined < trust.asked - len(trust.missing):
        yield f"{trust.declined} declined to answer"
    if trust.independent_votes is not None:
        yield f"the {trust.compared} compared answers count as {trust.independent_votes:.1f} independent votes"
    if trust.order_held is not None:
        yield f"in reversed order the verdict was {'the same' if trust.order_held else 'different'}"
    if trust.tied:
        yield "another answer had as many votes"
    if trust.ballots is not None:
        yield f"{trust.ballots.read} of {counted(trust.ballots.asked, 'ballot')} could be read"
    if trust.rated is not None:
        verb = "was" if trust.rated.right == 1 else "were"
        yield f"of {counted(trust.rated.rated, 'rated answer')} at this level, {trust.rated.right} {verb} right"


def _judge(run: Run) -> str:
    """The name of the judge in the line: the arbiter, or the model that judged in its place."""
    judged_by = run.iterations[run.selected_iteration - 1].judged_by if run.selected_iteration else None
    return f"{judged_by}, which judged in the arbiter's place," if judged_by else "the arbiter"


def _unasked(run: Run) -> int:
    """The number of instances that adaptive asking has left out of the first iteration."""
    if run.consortium.ask != "adaptive":
        return 0
    return run.consortium.instance_count - sum(one.model != OWN_ANSWER for one in run.iterations[0].responses)


def _agreement(trust: Trust, run: Run) -> str:
    answered, total = trust.first_answers, trust.asked - len(trust.missing)
    after = f"{counted(trust.later, 'instance')} gave this answer only after they had seen other responses"
    if total and not answered:
        who = "the only one" if total == 1 else f"all {total}"
        return f"{who} that responded declined to answer{_when(run)}{f', and {after}' if trust.later else ''}"
    if trust.compared == 0 and trust.later:
        return f"no response of the first iteration can be compared with the answer, and {after}"
    if trust.compared == 0:
        return (
            f"agreement was not measured, because no response can be compared with the answer{_among_themselves(run)}"
        )
    is_own_counted = OWN_ANSWER in (*trust.same_by, *trust.different_by)
    if trust.same == 0 and trust.found_later is not None:
        return f"members first gave this answer in iteration {trust.found_later}, after they had seen other responses"
    if trust.same == 0:
        return f"no {'response' if is_own_counted else 'member'} gave this answer, and {trust.different} gave another"
    if answered == 1 and is_own_counted:
        return "your own answer is the only one, and no member confirms it"
    if answered == 1:
        return f"only one member answered{_when(run)}, and no other confirms it"
    rest = answered - trust.compared
    others = f", and {rest} cannot be compared" if rest else ""
    later = f"; {after}" if trust.later else ""
    return f"{_members(trust, run)}{others}{later}"


def _members(trust: Trust, run: Run) -> str:
    """The number of members that gave the answer, of those that answered; the caller's own answer apart."""
    has_own = any(one.model == OWN_ANSWER for one in run.iterations[0].responses)
    same = trust.same - (OWN_ANSWER in trust.same_by)
    gave = f"{same} of {counted(trust.first_answers - has_own, 'member')} gave this answer independently"
    if OWN_ANSWER in trust.same_by:
        return f"{gave}, and your own answer is the same"
    return f"{gave}, and your own answer is another" if OWN_ANSWER in trust.different_by else gave


def _among_themselves(run: Run) -> str:
    """The agreement of the independent responses with each other, if any two are comparable."""
    measures = run.iterations[0].measures
    agreement = overall_agreement(measures)
    if agreement is None or measures is None or measures.compared == 0:
        return ""
    pairs = f" ({measures.compared} of {measures.pairs})" if measures.compared < measures.pairs else ""
    return f", and of the responses that can be compared with each other, {agreement:.0%} of pairs{pairs} agree"


def _when(run: Run) -> str:
    """When independent answers were given, if a later iteration gave the answer."""
    return " in the first iteration" if (run.selected_iteration or 1) > 1 else ""
