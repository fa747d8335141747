"""How the first iteration's responses relate to an answer: the independent evidence for it."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from consortium_mcp.engine.meaning import are_told_apart, by_grouping, side_of
from consortium_mcp.engine.measures import answering, mean_stated
from consortium_mcp.records import CallId, Iteration, MemberResponse, Run, Verdict, Votes
from consortium_mcp.text.answers import (
    DIFFERENT,
    NOT_COMPARABLE,
    SAME,
    Answer,
    Comparison,
    compare_answers,
    final_answer,
)
from consortium_mcp.text.same_text import same_text


class Count(NamedTuple):
    """How the responses of the first iteration relate to the verdict's answer."""

    same: int
    """The number of responses with the answer."""

    different: int
    """The number of responses with another answer."""

    stated_by_members: float | None = None
    """The mean confidence of the members with the answer; None if none states one."""

    by_arbiter: int = 0
    """The number of these responses that only the arbiter can compare with the answer."""

    same_by: tuple[str, ...] = ()
    """The models of the responses with the answer."""

    different_by: tuple[str, ...] = ()
    """The models of the responses with another answer."""

    later: int = 0
    """The number of instances that gave the answer only after they had seen other responses."""


def count_first(run: Run, iteration: Iteration, verdict: Verdict) -> Count:
    """The count of the first iteration's responses for the verdict's answer.

    Args:
        run: the run with its earlier iterations.
        iteration: the iteration that gave the verdict.
    """
    first = run.iterations[0] if run.iterations else iteration
    given = answering(first)
    if verdict.votes and first is iteration:  # the judging method has already counted it
        return _of_groups(verdict.votes[0], verdict.votes, first, is_option=verdict.chosen is None)
    if verdict.votes and verdict.chosen is None:  # given options, which no response states in words
        votes = first.verdict.votes if first.verdict else ()
        won = next((group for group in votes if group.answer == verdict.votes[0].answer), None)
        return _with_later(_of_groups(won, votes, first, is_option=True), iteration, verdict, first, won)
    answer = final_answer(verdict.synthesis)
    answers: dict[str, Answer] = {one.response_id: final_answer(one.text or "") for one in given}
    by_rules: dict[str, Comparison] = {one.response_id: _compared(verdict.chosen, answer, one) for one in given}
    found = dict(by_rules)
    for one in given:
        if by_rules[one.response_id] == NOT_COMPARABLE:
            found[one.response_id] = _by_meaning(one, first, iteration, verdict, by_rules)
    same = _largest_consistent([one for one, compared in found.items() if compared == SAME], answers)
    different = [one for one, compared in found.items() if compared != NOT_COMPARABLE and one not in same]
    count = _count(first, same, different, sum(found[one] != by_rules[one] for one in found))
    if first is iteration:
        return _without_origin(count, verdict, given)
    count = _with_later(count, iteration, verdict, first, Votes(answer="", response_ids=tuple(same)))
    return count if count.later else _without_origin(count, verdict, given)


def found_later(run: Run, iteration: Iteration) -> int | None:
    """The iteration in which members first gave the answer before any synthesis did; None if that is unknown.

    They had seen other responses by then, but none with this answer.
    """
    verdict = iteration.verdict
    if verdict is None or verdict.votes:
        return None
    answer = final_answer(verdict.synthesis)
    for one in (*run.iterations, iteration):
        if one.number > 1 and any(_compared(verdict.chosen, answer, each) == SAME for each in one.responses if each.ok):
            return one.number
        if one.verdict and one.number < iteration.number and _is_same(one.verdict.synthesis, answer):
            return None
    return None


def is_tied(iteration: Iteration, verdict: Verdict) -> bool:
    """Whether another answer had equally many votes, or an equally high rank; one that is not comparable is no tie."""
    if verdict.ballots is not None:
        return verdict.ballots.tied
    if not verdict.votes:
        return False
    won, *others = verdict.votes
    rivals = [group for group in others if len(group.response_ids) == len(won.response_ids)]
    return any(verdict.chosen is None or _differ(won, group, iteration) for group in rivals)


def _count(first: Iteration, same: Sequence[str], different: Sequence[str], by_arbiter: int) -> Count:
    stated = mean_stated(one for one in first.responses if one.response_id in same)
    return Count(len(same), len(different), stated, by_arbiter, _models(first, same), _models(first, different))


def _without_origin(count: Count, verdict: Verdict, given: Sequence[MemberResponse]) -> Count:
    """The count; none if it holds only the chosen response, whose own text is no evidence of agreement."""
    alone = verdict.chosen is not None and count.same + count.different == 1 < len(given)
    return Count(0, 0) if alone else count


def _of_groups(won: Votes | None, groups: Sequence[Votes], first: Iteration, *, is_option: bool) -> Count:
    """The count from votes or ballots that the judging method has counted.

    Args:
        won: the group of the answer; None if it got no vote.
        is_option: whether the groups are for given options, of which any two are different.
    """
    same = won.response_ids if won else ()
    different = [
        one
        for group in groups
        if group is not won and (is_option or won is None or _differ(won, group, first))
        for one in group.response_ids
    ]
    return _count(first, same, different, _grouped(first, same[:1]))


def _differ(won: Votes, other: Votes, first: Iteration) -> bool:
    answers: dict[str, Answer] = {one.response_id: final_answer(one.text or "") for one in first.responses if one.ok}
    return are_told_apart(won.response_ids, other.response_ids, answers, first.measures)


def _largest_consistent(same: Sequence[str], answers: Mapping[str, Answer]) -> Sequence[str]:
    """The largest group of these responses in which no rule tells two apart; of equal ones, the first.

    `Paris, France` and `Paris, Texas` are each comparable with `Paris`, but only one of them gives it.
    """
    groups: list[list[str]] = []
    for one in same:
        fits = (group for group in groups if all(compare_answers(answers[one], answers[x]) != DIFFERENT for x in group))
        group = next(fits, None)
        if group is None:
            groups.append([one])
        else:
            group.append(one)
    return max(groups, key=len, default=[])


def _by_meaning(
    response: MemberResponse,
    first: Iteration,
    iteration: Iteration,
    verdict: Verdict,
    by_rules: Mapping[str, Comparison],
) -> Comparison:
    """How the arbiter relates a response of the first iteration to the answer, where no rule can."""
    found: Comparison = NOT_COMPARABLE
    origins = [one for one, compared in by_rules.items() if compared == SAME]
    if verdict.chosen is not None and origins:
        found = _by_groups(first, origins, response.response_id)
    if found == NOT_COMPARABLE and (first is iteration or _is_first_answer(first, verdict)):
        found = side_of(first, response.response_id)
    if found == NOT_COMPARABLE and first is not iteration:
        found = _by_later_verdict(response, iteration)
    return found


def _by_groups(first: Iteration, origins: Sequence[str], response_id: str) -> Comparison:
    """How the first iteration's groups relate a response to those with the answer."""
    votes = first.verdict.votes if first.verdict else ()
    if any(response_id in group.response_ids and set(origins) & set(group.response_ids) for group in votes):
        return SAME
    return by_grouping(first.measures, origins, [response_id])


def _is_first_answer(first: Iteration, verdict: Verdict) -> bool:
    return first.verdict is not None and _is_same(first.verdict.synthesis, final_answer(verdict.synthesis))


def _by_later_verdict(response: MemberResponse, iteration: Iteration) -> Comparison:
    """How a later verdict relates a first response to its answer, by the same instance's later response.

    That the later one gives the answer says nothing of the first one, unless the text is the same.
    """
    later = next((one for one in iteration.responses if one.label == response.label and one.ok), None)
    if later is None:
        return NOT_COMPARABLE
    side = side_of(iteration, later.response_id)
    is_unchanged = same_text(later.text or "", response.text or "")
    return side if side == DIFFERENT or is_unchanged else NOT_COMPARABLE


def _with_later(count: Count, iteration: Iteration, verdict: Verdict, first: Iteration, won: Votes | None) -> Count:
    """The count with the instances that give the answer now, and neither gave it first nor agreed on one then."""
    ids = set(won.response_ids) if won else set()
    if first.verdict and not verdict.votes:
        ids |= set(first.verdict.agreeing)
    before = {one.label for one in first.responses if one.response_id in ids}
    now = {one.label for one in answering(iteration) if _gives(one, iteration, verdict)}
    return count._replace(later=len(now - before))


def _gives(response: MemberResponse, iteration: Iteration, verdict: Verdict) -> bool:
    """Whether a response of the judged iteration gives the answer."""
    if verdict.votes:
        return response.response_id in verdict.votes[0].response_ids
    compared = _compared(verdict.chosen, final_answer(verdict.synthesis), response)
    if compared == NOT_COMPARABLE:
        compared = side_of(iteration, response.response_id)
    return compared == SAME


def _is_same(text: str, answer: Answer) -> bool:
    return compare_answers(final_answer(text), answer) == SAME


def _models(first: Iteration, response_ids: Collection[str]) -> tuple[str, ...]:
    """The models of some responses of the first iteration."""
    return tuple(one.model for one in first.responses if one.response_id in response_ids)


def _grouped(first: Iteration, winner: Sequence[str]) -> int:
    """The number of responses that only the arbiter's groups relate to the winner."""
    if first.measures is None or not first.measures.groups or not winner:
        return 0
    grouped = {response_id for group in first.measures.groups for response_id in group}
    answers: dict[str, Answer] = {
        one.response_id: final_answer(one.text or "") for one in first.responses if one.response_id in grouped
    }
    won = answers.get(CallId(winner[0]))
    return sum(compare_answers(won, one) == NOT_COMPARABLE for one in answers.values()) if won else 0


def _compared(chosen: str | None, answer: Answer, response: MemberResponse) -> Comparison:
    """How a response relates to the verdict's answer; a chosen response has the same answer as itself."""
    if chosen == response.response_id:
        return "same"
    return compare_answers(final_answer(response.text or ""), answer)
