"""A run as text for people and models: the short answer, and the whole transcript as Markdown."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from consortium_mcp._util.counts import counted
from consortium_mcp.engine.judging import judging_methods
from consortium_mcp.engine.judging.vote import margin
from consortium_mcp.engine.measures import (
    agreement_text,
    agrees_too_late,
    all_decline,
    independent_agreement,
    reaches_threshold,
    why_unknown,
)
from consortium_mcp.engine.trust import is_bounded_for_good
from consortium_mcp.records import (
    Attachment,
    Claim,
    Iteration,
    Measures,
    MemberResponse,
    Rating,
    Run,
    Usage,
    Verdict,
    Votes,
)
from consortium_mcp.records.attachment import described
from consortium_mcp.records.consortium import OWN_ANSWER, Consortium, alternatives
from consortium_mcp.reports.foreign_text import on_line, under_heading
from consortium_mcp.reports.plans import options_text
from consortium_mcp.reports.trust import trust_line
from consortium_mcp.text.answers import DIFFERENT, NOT_COMPARABLE, SAME, compare
from consortium_mcp.text.figures import figure_text, shown_beside
from consortium_mcp.text.templates import clip

_OWN_ANSWER = {
    SAME: "it agrees with this answer",
    DIFFERENT: "it differs from this answer",
    NOT_COMPARABLE: "it cannot be compared with this answer",
}

SHOWN_GROUPS = 5
"""The most groups of votes that are shown, the largest first."""

DISSENT_LIMIT = 4_000
"""The most characters of the dissent in a short report."""

QUOTE_LIMIT = 500
"""The most characters of a text quoted on a line; the responses contain the complete text."""


def short_report(run: Run) -> str:
    """The answer and its facts, for a model that will use it."""
    trust = trust_line(run)
    lines = [*_incomplete(run), *([trust, ""] if trust else []), _answer(run), "", about_answer(run)]
    return "\n".join(lines)


def answer_text(run: Run, between: str = "\n") -> str:
    """The answer, or why there is none, after the sentences about what it lacks.

    Args:
        between: the separator of these parts; Markdown needs an empty line.
    """
    return between.join([*_incomplete(run), _answer(run)])


def _incomplete(run: Run) -> list[str]:
    return [f"Incomplete: {sentence}" for sentence in run.degraded]


def _answer(run: Run) -> str:
    if run.answer is None:
        return run.error or f"The run is {run.status}; it has no answer."
    return run.answer


def about_answer(run: Run) -> str:
    """The trust in the answer, whose response it is, and where the rest is: one line each."""
    lines = []
    if run.answer is not None:
        lines.append(f"Confidence: {confidence_text(run)}")
    lines += _next_points(run)
    if (chosen := chosen_label(run)) is not None:
        lines.append(f"Chosen: the response of {chosen}")
    lines += _counted(run)
    if (own := _own_answer_text(run)) is not None:
        lines.append(f"Your own answer: {own}")
    if (best := selected_verdict(run)) and best.by_agreement:
        lines.append(f"Asked: {best.analysis}")
    if run.dissent:
        lines.append(f"Dissent: {clip(run.dissent, DISSENT_LIMIT)}")
    if run.iterations:
        lines.append(f"Responses: {responses_text(run.iterations[-1])}")
    lines.append(f"The full record: {run.uri}")
    return "\n".join(lines)


def _next_points(run: Run) -> Iterator[str]:
    """The open points, if the threshold was not reached."""
    verdict = selected_verdict(run)
    if verdict is not None and run.status != "converged" and verdict.refinement_areas:
        yield f"Open: {clip('; '.join(verdict.refinement_areas), DISSENT_LIMIT)}"


def _counted(run: Run) -> Iterator[str]:
    """The result of votes or a ranking."""
    verdict = selected_verdict(run)
    if verdict is None or not run.selected_iteration:
        return
    judged = run.iterations[run.selected_iteration - 1].responses
    labels: dict[str, str] = {response.response_id: response.label for response in judged}
    if verdict.votes:
        yield f"Votes: {'; '.join(_group_text(group, labels) for group in verdict.votes[:SHOWN_GROUPS])}"
    if verdict.ranking:
        yield f"Ranking: {', '.join(labels.get(one, one) for one in verdict.ranking)}"


def _group_text(group: Votes, labels: Mapping[str, str]) -> str:
    who = ", ".join(labels.get(one, one) for one in group.response_ids)
    return f"{len(group.response_ids)} for {_quoted(group.answer)} ({who})"


def _own_answer_text(run: Run) -> str | None:
    """How the caller's own answer relates to the consortium's; None if either is missing."""
    own = next((member.response for member in run.consortium.members if member.model == OWN_ANSWER), None)
    if own is None or run.answer is None:
        return None
    return _OWN_ANSWER[compare(own, run.answer)]


def chosen_label(run: Run) -> str | None:
    """The instance whose response is the answer; None if the arbiter wrote it, or several gave it."""
    selected = run.iterations[run.selected_iteration - 1] if run.selected_iteration else None
    if selected is None or selected.verdict is None or selected.verdict.votes:
        return None
    chosen = selected.verdict.chosen
    return next((response.label for response in selected.responses if response.response_id == chosen), None)


def selected_verdict(run: Run) -> Verdict | None:
    """The verdict whose synthesis is the answer; None without one."""
    return run.iterations[run.selected_iteration - 1].verdict if run.selected_iteration else None


def confidence_text(run: Run) -> str:
    """The confidence and its meaning for this run, on one line."""
    limit = run.consortium.confidence_threshold
    stated, threshold = ("unknown", f"{limit:.2f}") if run.confidence is None else shown_beside(run.confidence, limit)
    method = judging_methods().get(run.consortium.judging_method)
    rounds = f"iteration {run.selected_iteration} of {len(run.iterations)}"
    if len(run.iterations) < run.consortium.iteration_limit and not run.replay_of:
        rounds += f" (at most {run.consortium.iteration_limit})"
    selected = run.iterations[run.selected_iteration - 1] if run.selected_iteration else None
    if selected and selected.verdict and selected.verdict.by_agreement:
        by = "agreement"
    elif method is None or method.needs_arbiter:
        by = arbiter_text(run.consortium, selected.judged_by if selected else None)
    else:
        by = method.name.replace("_", " ")
    agreement = independent_agreement(run.iterations[0].measures, selected.measures) if selected else None
    met = "reached" if reaches_threshold(run.consortium, run.confidence, agreement) else "not reached"
    if met == "not reached" and selected and is_bounded_for_good(selected, run.consortium):
        met = "not reached, and a further iteration could not reach it"
    if selected and agrees_too_late(run.consortium, run.iterations[0].measures, selected.measures):
        met = "not reached by what the members gave before they saw other responses, though it was"
    if selected and all_decline(selected):
        met = "not applied, because every member declined to answer"
    return f"{stated}, by {by} in {rounds}; the threshold of {threshold} was {met}{_by_what(run.consortium, selected)}"


def _by_what(consortium: Consortium, selected: Iteration | None) -> str:
    """The figures that the threshold applies to, if it is not the confidence alone."""
    if consortium.stop_on == "arbiter":
        return ""
    if consortium.stop_on == "ratings":
        why = selected.trust.not_calibrated if selected and selected.trust else None
        return f" by the bounded confidence, because {why}" if why else " by the ratings"
    reason = why_unknown(selected) if selected else None
    agreement = agreement_text(selected.measures) if selected else "unknown"
    measured = f"the agreement, {agreement}" + (f", because {reason}" if reason else "")
    return f" by {measured}" if consortium.stop_on == "agreement" else f" by the confidence and {measured}"


def arbiter_text(consortium: Consortium, judged_by: str | None = None) -> str:
    """The arbiter, and whether it judges responses of its own model, which it may prefer although they are anonymous.

    Args:
        judged_by: the model that judged in its place; None if the arbiter judged.
    """
    judge = judged_by or f"{consortium.arbiter}"
    asked = {name for member in consortium.members for name in alternatives(member.model)}
    return judge if asked.isdisjoint(alternatives(judge)) else f"{judge} (also a member)"


def responses_text(iteration: Iteration) -> str:
    """The time of each response, and the instances without one, on one line."""
    return ", ".join(f"{response.label} {outcome_text(response)}" for response in iteration.responses)


def outcome_text(response: MemberResponse) -> str:
    """`1.2 s`, with the backup that answered, or the kind of failure, or `late`."""
    seconds = f"{response.duration_ms / 1000:.1f} s"
    if response.late:
        return f"late after {seconds}"
    if response.ok and response.answered_by:
        seconds += f" by {response.answered_by}"
    if response.error_kind is None:
        return seconds
    if response.attempts > 1 and response.tried_ms is not None:
        seconds = f"{response.attempts} attempts in {response.tried_ms / 1000:.1f} s"
    return f"{response.error_kind} after {seconds}"


def usage_text(usage: Usage) -> str:
    """Calls, tokens and cost on one line, with unknown values marked."""
    cost = "unknown" if usage.cost_usd is None else f"${usage.cost_usd:.4f}"
    tokens = f"tokens in: {_count(usage.input_tokens)}, out: {_count(usage.output_tokens)}"
    return f"calls: {usage.calls}, {tokens}, cost: {cost}"


def transcript(run: Run, rating: Rating | None = None) -> str:
    """The whole run as Markdown.

    Args:
        rating: a person's rating of the answer; None if there is none, or if it is not shown.
    """
    known = "\n".join(f"- {on_line(fact)}" for fact in (*facts(run), *_rated(rating)))
    parts = [f"# Run {run.run_id}", known]
    for section in sections(run):
        parts.append(f"{'#' * section.level} {on_line(section.heading)}")
        if section.text:
            parts.append(under_heading(section.text))
    return "\n\n".join(parts)


def _rated(rating: Rating | None) -> Iterator[str]:
    """A rating on a line."""
    if rating is not None:
        yield f"rated: {rating.score:g}" + (f", {rating.note}" if rating.note else "")


def facts(run: Run) -> Iterator[str]:
    """The facts about a run besides its texts, one line each."""
    yield f"status: {run.status}"
    yield f"opened: {run.created_utc}, ended: {run.ended_utc or 'not yet'}"
    if run.follow_up_to:
        yield f"follow-up to: {run.follow_up_to}"
    if run.replay_of:
        yield f"replay of: {run.replay_of}"
    yield f"consortium: {run.consortium_name or 'given inline'}, of {', '.join(map(str, run.consortium.members))}"
    yield f"arbiter: {arbiter_text(run.consortium)}"
    yield usage_text(run.usage)
    yield from (f"incomplete: {sentence}" for sentence in run.degraded)


class Section(NamedTuple):
    """A part of a transcript."""

    level: int
    """The level of the heading, from 2."""

    heading: str
    """The heading."""

    text: str
    """The original text; empty for a section that has only subsections."""


def sections(run: Run) -> Iterator[Section]:
    """All texts of the run, in order of time."""
    for turn in run.history:
        yield Section(2, f"Earlier: {turn.role}", turn.text)
        yield from _files(turn.attachments)
    yield Section(2, "Prompt", run.prompt)
    yield from _files(run.attachments)
    for iteration in run.iterations:
        yield from _iteration_sections(iteration)
    if run.answer is not None:
        yield Section(2, f"Answer (confidence {confidence_text(run)})", run.answer)
    if trust := trust_line(run):
        yield Section(3, "Trust", trust)
    if run.error:
        yield Section(2, "No answer", run.error)


def _files(attachments: Sequence[Attachment]) -> Iterator[Section]:
    """The files that came with a prompt."""
    if attachments:
        lines = (f"- {described(one)}, SHA-256 {one.sha256}" for one in attachments)
        yield Section(3, "Attachments", "\n".join(lines))


def _iteration_sections(iteration: Iteration) -> Iterator[Section]:
    yield Section(2, f"Iteration {iteration.number}", "")
    for response in iteration.responses:
        heading = f"{response.label}{options_text(response.options)} ({outcome_text(response)})"
        yield Section(3, heading, response.text or response.error or "no text")
        if response.text and response.unseen:
            yield Section(4, "Not shown to it", response.unseen)
        if response.text and response.late:
            yield Section(4, "Not judged", "It was late: the iteration had continued without it.")
        if response.text and response.error:
            yield Section(4, "Why it is incomplete", response.error)
        if response.thinking:
            yield Section(4, "Thinking", response.thinking)
    if iteration.verdict is not None:
        yield from _verdict_sections(iteration, iteration.verdict)
    if iteration.verdict is None and iteration.arbiter_error:
        yield Section(3, "No verdict", iteration.arbiter_error)
    if iteration.verdict is None and iteration.raw_verdict:
        yield Section(4, "The arbiter's reply", iteration.raw_verdict)
    if iteration.measures and (measured := "\n".join(_measure_lines(iteration, iteration.measures))):
        yield Section(3, "Measured", measured)


def _verdict_sections(iteration: Iteration, verdict: Verdict) -> Iterator[Section]:
    complete = "" if verdict.completeness is None else f", complete {verdict.completeness:.2f}"
    yield Section(3, f"Verdict (confidence {figure_text(verdict.confidence)}{complete})", verdict.synthesis)
    labels: dict[str, str] = {response.response_id: response.label for response in iteration.responses}
    parts = (
        ("Not shown to the arbiter", iteration.arbiter_unseen),
        ("Chosen", f"The response of {labels[verdict.chosen]}." if verdict.chosen in labels else ""),
        ("Analysis", verdict.analysis),
        ("Votes", "\n".join(_vote_lines(verdict.votes, labels))),
        (
            "Ranking",
            "\n".join(f"{place}. {labels.get(one, one)}" for place, one in enumerate(verdict.ranking, start=1)),
        ),
        ("Agreeing responses", ", ".join(labels.get(one, one) for one in verdict.agreeing)),
        ("Contradicting responses", ", ".join(labels.get(one, one) for one in verdict.contradicting)),
        ("Dissent", verdict.dissent),
        ("Disputed claims", "\n".join(line for claim in verdict.claims for line in _claim_lines(claim))),
        ("Not fully readable", verdict.problem),
        ("To refine", "\n".join(f"- {area}" for area in verdict.refinement_areas)),
    )
    for heading, text in parts:
        if text:
            yield Section(4, heading, text)


def _vote_lines(votes: Sequence[Votes], labels: Mapping[str, str]) -> Iterator[str]:
    cast = sum(len(group.response_ids) for group in votes)
    for place, group in enumerate(votes):
        wins = f", the winner by a margin of {margin(votes)}" if place == 0 else ""
        who = ", ".join(labels.get(one, one) for one in group.response_ids)
        yield f"- {_quoted(group.answer)}: {len(group.response_ids)} of {counted(cast, 'vote')}{wins} ({who})"


def _claim_lines(claim: Claim) -> Iterator[str]:
    yield f"- {_quoted(claim.claim)}"
    for side, who, quote in (
        ("supported", claim.supported_by, claim.quote_for),
        ("opposed", claim.opposed_by, claim.quote_against),
    ):
        yield f"  - {side} by {', '.join(who) or 'none'}" + (f": {_quoted(quote)}" if quote else "")


def _measure_lines(iteration: Iteration, measures: Measures) -> Iterator[str]:
    figures = (
        ("agreement within a model", measures.agreement_within),
        ("agreement across models", measures.agreement_across),
        ("the members' stated confidence", measures.stated_confidence),
    )
    yield from (f"- {what}: {figure:.2f}" for what, figure in figures if figure is not None)
    if 0 < measures.compared < measures.pairs:
        yield f"- of {measures.pairs} pairs, {measures.compared} can be compared"
    labels: dict[str, str] = {response.response_id: response.label for response in iteration.responses}
    for group in measures.groups:
        yield f"- the same answer, as the arbiter says: {', '.join(labels.get(one, one) for one in group)}"
    if measures.not_grouped:
        yield f"- answers not grouped: {measures.not_grouped}"
    if reason := why_unknown(iteration):
        yield f"- agreement: unknown, because {reason}"
    if measures.order_held is not None:
        yield f"- the verdict with the responses in reversed order: {'the same' if measures.order_held else 'another'}"


def _quoted(text: str) -> str:
    """A foreign text on one line, where it can begin no heading and no list."""
    line = " ".join(text.split())
    return f"“{line[:QUOTE_LIMIT]}{' …' if len(line) > QUOTE_LIMIT else ''}”"


def _count(tokens: int | None) -> str:
    return "unknown" if tokens is None else str(tokens)
