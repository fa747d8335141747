"""`vote`: the responses are grouped by their final answer, and the largest group wins; no arbiter is needed."""

from collections.abc import Collection, Sequence
from itertools import combinations

from consortium_mcp.engine.judging.asking import ReadsSchema
from consortium_mcp.engine.members import CallModel
from consortium_mcp.errors import ModelUnavailableError
from consortium_mcp.models.embeddings import cosine, embed
from consortium_mcp.records import CallResult, Iteration, Run, Verdict, Votes
from consortium_mcp.text.comparing import final_answer, may_mean_the_same, same_answer
from consortium_mcp.text.confidence_line import without_confidence

SAME_MEANING = 0.9
"""From which cosine of their vectors two answers mean the same: what is merely about the same thing stays below it."""


async def judge_by_vote(run: Run, iteration: Iteration, call: CallModel, reads_schema: ReadsSchema) -> Iteration:
    """The answer of the largest group; of equal groups the one whose first response was declared first.

    The confidence is the group's share of the votes, those that nobody waited for counted against it.
    """
    usable = [iteration.responses[place] for place in sorted(iteration.shown_order)]
    groups = count_votes([(one.response_id, final_answer(one.text or "")) for one in usable])
    if not groups:
        return iteration.model_copy(update={"arbiter_error": "no response holds an answer that could be counted"})
    groups, problem = await _joined_by_meaning(groups, run.consortium.embedding_model)
    largest = groups[0]
    cast = sum(len(group.response_ids) for group in groups)
    kind = "majority" if 2 * len(largest.response_ids) > cast else "plurality"
    others = [f"{len(group.response_ids)} for {group.answer!r}" for group in groups[1:]]
    chosen = next(one for one in usable if one.response_id == largest.response_ids[0])
    verdict = Verdict(
        synthesis=without_confidence(chosen.text or ""),
        confidence=len(largest.response_ids) / (cast + sum(one.late for one in iteration.responses)),
        analysis=f"{kind.capitalize()}: {len(largest.response_ids)} of {cast} votes, a margin of {margin(groups)}.",
        dissent="; ".join(others),
        problem=problem,
        chosen=chosen.response_id,
        votes=tuple(groups),
    )
    return iteration.model_copy(update={"verdict": verdict})


def count_votes(answers: list[tuple[str, str]]) -> list[Votes]:
    """The groups of answers of which each equals each other or nearly so, the largest first, then as they began.

    Args:
        answers: (response id, final answer), as declared; an empty answer is no vote.
    """
    groups: list[tuple[dict[str, None], list[str]]] = []
    for response_id, answer in answers:
        if not answer:
            continue
        known = next((group for group in groups if all(same_answer(one, answer) for one in group[0])), None)
        if known is None:
            known = ({}, [])
            groups.append(known)
        known[0].setdefault(answer)
        known[1].append(response_id)
    ordered = sorted(groups, key=lambda group: -len(group[1]))
    return [Votes(answer=next(iter(wordings)), response_ids=tuple(members)) for wordings, members in ordered]


async def _joined_by_meaning(groups: list[Votes], embedding_model: str | None) -> tuple[list[Votes], str | None]:
    """The groups, those of one meaning as one, the largest first; and why that could not be seen, None where it could.

    A group joins the largest one before it whose answer means the same.
    """
    if embedding_model is None or not any(
        may_mean_the_same(one.answer, other.answer) for one, other in combinations(groups, 2)
    ):
        return groups, None
    try:
        vectors = await embed(embedding_model, [group.answer for group in groups])
    except ModelUnavailableError as error:
        return groups, f"the embedding model {embedding_model} failed ({error}), so answers are compared by wording"
    joined: list[tuple[Votes, list[float]]] = []
    for group, vector in zip(groups, vectors, strict=True):
        place = next((at for at, known in enumerate(joined) if _means_the_same(*known, group, vector)), None)
        if place is None:
            joined.append((group, vector))
        else:
            known, known_vector = joined[place]
            ids = (*known.response_ids, *group.response_ids)
            joined[place] = (known.model_copy(update={"response_ids": ids}), known_vector)
    return sorted((group for group, _ in joined), key=lambda group: -len(group.response_ids)), None


def _means_the_same(one: Votes, its_vector: list[float], other: Votes, other_vector: list[float]) -> bool:
    return may_mean_the_same(one.answer, other.answer) and cosine(its_vector, other_vector) >= SAME_MEANING


def margin(groups: Sequence[Votes]) -> int:
    """By how many votes the largest group is ahead of the next."""
    largest, second = (len(group.response_ids) for group in (*groups, Votes(answer="", response_ids=()))[:2])
    return largest - second


def is_decided(run: Run, results: Collection[CallResult], asked: int) -> bool:
    """Whether the votes that are still out change neither which answer wins nor whether it reaches the threshold."""
    out = asked - len(results)
    if out >= len(results) or run.consortium.embedding_model:  # by their meaning groups can still become one
        return False
    groups = count_votes([(str(place), final_answer(one.text or "")) for place, one in enumerate(results) if one.ok])
    if not groups:
        return False
    largest = len(groups[0].response_ids)
    cast = sum(len(group.response_ids) for group in groups)
    return margin(groups) > out and _is_settled(run, largest / (cast + out), (largest + out) / (cast + out))


def _is_settled(run: Run, least: float, most: float) -> bool:
    """Whether a share of the votes somewhere between these ends, or goes on, in the same way."""
    rules = run.consortium
    reaches = [share >= rules.confidence_threshold for share in (least, most)]
    return rules.stop_on == "arbiter" and reaches[0] == reaches[1]
