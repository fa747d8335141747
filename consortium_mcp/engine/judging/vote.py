"""`vote`: groups the responses by their final answer, and the largest group wins; there is no arbiter."""

from collections.abc import Collection, Mapping, Sequence
from itertools import combinations

from consortium_mcp._util.counts import counted
from consortium_mcp.engine.judging.asking import ReadsSchema
from consortium_mcp.engine.meaning import are_told_apart, by_grouping
from consortium_mcp.engine.members import CallModel
from consortium_mcp.engine.trust import earned
from consortium_mcp.errors import ModelUnavailableError
from consortium_mcp.models.embeddings import cosine, embed
from consortium_mcp.records import CallResult, Iteration, Measures, MemberResponse, Run, Verdict, Votes
from consortium_mcp.text.answers import SAME, Answer, compare_answers, final_answer, may_mean_the_same
from consortium_mcp.text.confidence_line import without_confidence
from consortium_mcp.text.refusals import is_refusal
from consortium_mcp.text.thinking import strip_thinking

SAME_MEANING = 0.9
"""The smallest cosine of two embeddings at which answers mean the same; answers on the same topic score lower."""

_SHOWN_CHARACTERS = 200
"""The number of characters of an answer that are shown beside its votes."""


async def judge_by_vote(run: Run, iteration: Iteration, call: CallModel, reads_schema: ReadsSchema) -> Iteration:
    """The iteration with the answer of the largest group; in a tie, the group whose first response comes first.

    The confidence is the group's share of all that were asked: failures, refusals and late responses lower it.
    """
    usable = [iteration.responses[place] for place in sorted(iteration.shown_order)]
    answers = votes_cast([(one.response_id, one.text or "") for one in usable])
    groups = count_votes(answers)
    if not groups:
        return iteration.model_copy(update={"arbiter_error": "no response contains an answer that can be counted"})
    groups = _joined_by_arbiter(groups, iteration.measures)
    groups, problem = await _joined_by_meaning(groups, answers, run.consortium.embedding_model)
    chosen = next(one for one in usable if one.response_id == groups[0].response_ids[0])
    rivals = [one for one in groups[1:] if len(one.response_ids) == len(groups[0].response_ids)]
    rivals = [one for one in rivals if _are_apart(groups[0], one, answers, iteration.measures)]
    verdict = Verdict(
        synthesis=without_confidence(strip_thinking(chosen.text or "")),
        confidence=len(groups[0].response_ids) / len(iteration.responses),
        analysis=_analysis(groups, rivals, iteration.responses),
        dissent=_dissent(groups, rivals),
        problem=problem or (iteration.measures.not_grouped if iteration.measures else None),
        chosen=chosen.response_id,
        votes=tuple(groups),
    )
    return iteration.model_copy(update={"verdict": verdict})


def votes_cast(responses: Sequence[tuple[str, str]]) -> dict[str, Answer]:
    """The final answers by response id, in the given order; a refusal or an empty text casts no vote.

    Args:
        responses: pairs of response id and text.
    """
    answers = {response_id: final_answer(text) for response_id, text in responses if not is_refusal(text)}
    return {response_id: answer for response_id, answer in answers.items() if answer.kind != "none"}


def count_votes(answers: Mapping[str, Answer]) -> list[Votes]:
    """The groups of equal answers, the largest first; groups of equal size keep their order.

    Answers that are not comparable form separate groups.

    Args:
        answers: the final answers by response id, in the order of the consortium.
    """
    groups: list[tuple[list[Answer], list[str]]] = []
    for response_id, answer in answers.items():
        known = next((group for group in groups if all(compare_answers(one, answer) == SAME for one in group[0])), None)
        if known is None:
            known = ([], [])
            groups.append(known)
        if answer not in known[0]:
            known[0].append(answer)
        known[1].append(response_id)
    ordered = sorted(groups, key=lambda group: -len(group[1]))
    return [Votes(answer=_shown(wordings[0]), response_ids=tuple(members)) for wordings, members in ordered]


def _shown(answer: Answer) -> str:
    return answer.text if len(answer.text) <= _SHOWN_CHARACTERS else f"{answer.text[:_SHOWN_CHARACTERS]} …"


def _are_apart(one: Votes, other: Votes, answers: Mapping[str, Answer], measures: Measures | None) -> bool:
    return are_told_apart(one.response_ids, other.response_ids, answers, measures)


def _analysis(groups: Sequence[Votes], rivals: Sequence[Votes], responses: Sequence[MemberResponse]) -> str:
    """The analysis: the winner and its margin, a tie, and the number of instances without a vote.

    Args:
        rivals: the groups of the same size that are known to have another answer than the first.
    """
    sizes = [len(group.response_ids) for group in groups]
    cast, largest, equal = sum(sizes), sizes[0], sizes.count(sizes[0])
    each = f"have {largest} of {counted(cast, 'vote')} each; the first one is shown."
    if rivals:
        sentences = [f"Tie: {len(rivals) + 1} answers {each}"]
    elif equal > 1:
        sentences = [f"No rule can compare the first answer with the others: {equal} answers {each}"]
    else:
        kind = "Majority" if 2 * largest > cast else "Plurality"
        sentences = [f"{kind}: {largest} of {counted(cast, 'vote')}, a margin of {margin(groups)}."]
    if silent := len(responses) - cast:
        sentences.append(f"{silent} of {len(responses)} cast no vote.")
    return " ".join(sentences)


def _dissent(groups: Sequence[Votes], rivals: Sequence[Votes]) -> str:
    others = [(len(one.response_ids), one.answer, " (a tie)" if one in rivals else "") for one in groups[1:]]
    return "; ".join(f"{votes} for {answer!r}{tie}" for votes, answer, tie in others)


def _joined_by_arbiter(groups: Sequence[Votes], measures: Measures | None) -> list[Votes]:
    """The groups, joined if the arbiter says that they have the same meaning; the largest first."""
    joined: list[Votes] = []
    for group in groups:
        place = next(
            (at for at, known in enumerate(joined) if _are_joined(measures, known, group)),
            None,
        )
        if place is None:
            joined.append(group)
        else:
            ids = (*joined[place].response_ids, *group.response_ids)
            joined[place] = joined[place].model_copy(update={"response_ids": ids})
    return sorted(joined, key=lambda group: -len(group.response_ids))


def _are_joined(measures: Measures | None, one: Votes, other: Votes) -> bool:
    return by_grouping(measures, one.response_ids, other.response_ids) == SAME


async def _joined_by_meaning(
    groups: list[Votes], answers: Mapping[str, Answer], embedding_model: str | None
) -> tuple[list[Votes], str | None]:
    """The groups, joined by meaning and sorted by size; and why meanings could not be compared, or None.

    A group joins the largest earlier group whose answer has the same meaning.
    """
    first = [answers[group.response_ids[0]] for group in groups]
    if embedding_model is None or not any(may_mean_the_same(*pair) for pair in combinations(first, 2)):
        return groups, None
    try:
        vectors = await embed(embedding_model, [answer.text for answer in first])
    except ModelUnavailableError as error:
        return groups, f"the embedding model {embedding_model} failed ({error}), so answers are compared by wording"
    joined: list[tuple[Votes, Answer, list[float]]] = []
    for group, answer, vector in zip(groups, first, vectors, strict=True):
        place = next((at for at, known in enumerate(joined) if _means_the_same(*known[1:], answer, vector)), None)
        if place is None:
            joined.append((group, answer, vector))
        else:
            known, known_answer, known_vector = joined[place]
            ids = (*known.response_ids, *group.response_ids)
            joined[place] = (known.model_copy(update={"response_ids": ids}), known_answer, known_vector)
    return sorted((group for group, _, _ in joined), key=lambda group: -len(group.response_ids)), None


def _means_the_same(one: Answer, its_vector: list[float], other: Answer, other_vector: list[float]) -> bool:
    return may_mean_the_same(one, other) and cosine(its_vector, other_vector) >= SAME_MEANING


def margin(groups: Sequence[Votes]) -> int:
    """The lead of the largest group over the next one, in votes."""
    largest, second = (len(group.response_ids) for group in (*groups, Votes(answer="", response_ids=()))[:2])
    return largest - second


def is_decided(run: Run, results: Collection[CallResult], asked: int) -> bool:
    """Whether the missing votes can change neither the winner nor whether it reaches the threshold."""
    out = asked - len(results)
    by_meaning = run.consortium.embedding_model or run.consortium.group_answers
    if out >= len(results) or by_meaning:  # groups can still be joined by their meaning
        return False
    groups = count_votes(votes_cast([(str(place), one.text or "") for place, one in enumerate(results) if one.ok]))
    if not groups:
        return False
    largest = len(groups[0].response_ids)
    cast = sum(len(group.response_ids) for group in groups)
    return margin(groups) > out and _is_settled(run, largest, cast, largest + out, asked)


def _is_settled(run: Run, largest: int, cast: int, most: int, asked: int) -> bool:
    """Whether the run will end, or continue, in the same way with any missing votes."""
    now = min(largest / asked, earned(largest, cast))
    ends = (min(largest / asked, earned(largest, asked)), min(most / asked, earned(most, asked)))
    reaches = {figure >= run.consortium.confidence_threshold for figure in (now, *ends)}
    return run.consortium.stop_on == "arbiter" and len(reaches) == 1
