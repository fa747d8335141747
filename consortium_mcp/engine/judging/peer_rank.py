"""`peer_rank`: the members rank the others' anonymous responses; no arbiter is needed."""

import random
from fractions import Fraction

import anyio

from consortium_mcp._util.counts import counted
from consortium_mcp.engine.judging.asking import ReadsSchema
from consortium_mcp.engine.judging.fields import numbers_of
from consortium_mcp.engine.judging.origin import origin_of
from consortium_mcp.engine.judging.pick_and_rank import answer_of, ballot_schema
from consortium_mcp.engine.judging.question import question
from consortium_mcp.engine.judging.reader import read_fields
from consortium_mcp.engine.members import CallModel
from consortium_mcp.records import Ballots, Iteration, MemberResponse, Run, Verdict
from consortium_mcp.records.consortium import OWN_ANSWER
from consortium_mcp.text.answers import SAME, compare


async def judge_by_peers(run: Run, iteration: Iteration, call: CallModel, reads_schema: ReadsSchema) -> Iteration:
    """Each member that gave a response orders those of the others; normalised Borda counts decide.

    The confidence is the winner's mean Borda score, 0.0-1.0: 1.0 when every ballot puts it first. Of two responses
    both authors order both, without being told whose is whose: one wins only where its rival's author puts it first.
    """
    usable = [iteration.responses[place] for place in sorted(iteration.shown_order)]
    voters = [one for one in usable if one.model != OWN_ANSWER]  # its author is no member whom we could ask
    if len(usable) < 3 and len(voters) < 2:
        return _unranked(iteration, usable)
    ballots: dict[str, list[str]] = {}

    async def vote(voter: MemberResponse) -> None:
        if ballot := await _ballot(run, iteration, voter, call, reads_schema):
            ballots[voter.response_id] = ballot

    async with anyio.create_task_group() as group:
        for voter in voters:
            group.start_soon(vote, voter)
    if len(usable) == 2 and len(ballots) == 1:  # that one may be for its author's own
        return _unranked(iteration, usable)
    return _judged(iteration, usable, ballots, len(voters))


def borda(ballots: dict[str, list[str]], candidates: list[str]) -> dict[str, float | None]:
    """Each candidate's mean normalised Borda score over the ballots that name it; None where none does.

    On a ballot of n, the first scores 1, the last 0. A ballot that leaves candidates out ranks those that it names;
    one that names a single candidate says only that it is better than those left out, and scores it 1.

    Args:
        ballots: what each voter ordered, best first.
    """
    scores: dict[str, list[Fraction]] = {candidate: [] for candidate in candidates}
    for ballot in ballots.values():
        last = max(1, len(ballot) - 1)
        for place, candidate in enumerate(ballot):
            scores[candidate].append(1 - Fraction(place, last))  # exact: equal counts tie
    return {candidate: float(sum(given) / len(given)) if given else None for candidate, given in scores.items()}


async def _ballot(
    run: Run, iteration: Iteration, voter: MemberResponse, call: CallModel, reads_schema: ReadsSchema
) -> list[str]:
    """The response ids in the order in which a voter puts the others' responses; empty when that cannot be read.

    Where there is but one other, its own stands beside it.
    """
    others = [place for place in sorted(iteration.shown_order) if iteration.responses[place] is not voter]
    others = others if len(others) > 1 else sorted(iteration.shown_order)
    random.Random(f"{run.shuffle_seed}/{iteration.number}/{voter.response_id}").shuffle(others)
    place = iteration.responses.index(voter) + 1
    schema = ballot_schema(len(others)) if reads_schema(voter.model) else None
    asked = question(
        run, iteration, others, "ballot", schema, role=f"peer{place}", model=voter.model, label=f"{voter.label} (peer)"
    )
    result = await call(asked)
    found = read_fields(result.text or "", "ranking", origin_of(run, iteration, asked.call_id)) if result.ok else None
    numbers = list(dict.fromkeys(numbers_of(found.fields["ranking"]))) if found else []
    if not all(1 <= number <= len(others) for number in numbers):
        return []
    return [iteration.responses[others[number - 1]].response_id for number in numbers]


def _unranked(iteration: Iteration, usable: list[MemberResponse]) -> Iteration:
    """The first response, where there are too few for a ranking."""
    few = "there is one response" if len(usable) == 1 else "there are two responses, and one author did not rank them"
    verdict = Verdict(
        synthesis=answer_of(usable[0]),
        problem=f"{few}; the first one is taken",
        chosen=usable[0].response_id,
    )
    return iteration.model_copy(update={"verdict": verdict})


def _judged(iteration: Iteration, usable: list[MemberResponse], ballots: dict[str, list[str]], asked: int) -> Iteration:
    """The verdict of the ballots, by voter, of so many that were asked for."""
    if not ballots:
        return iteration.model_copy(update={"arbiter_error": "no member's ranking of the others could be read"})
    scores = borda(ballots, [one.response_id for one in usable])
    ordered = sorted(usable, key=lambda one: scores.get(one.response_id) or 0.0, reverse=True)
    best = ordered[0]
    table = ", ".join(f"{one.label} {scores.get(one.response_id) or 0.0:.2f}" for one in ordered)
    about_winner = sum(best.response_id in ballot for ballot in ballots.values())
    score = scores.get(best.response_id)
    verdict = Verdict(
        synthesis=answer_of(best),
        confidence=score,
        analysis=f"Mean Borda scores from {counted(len(ballots), 'ballot')}: {table}.",
        chosen=best.response_id,
        ranking=tuple(one.response_id for one in ordered),
        ballots=Ballots(
            asked=asked,
            read=len(ballots),
            about_winner=about_winner,
            won=(score or 0.0) * about_winner,
            tied=any(
                scores.get(one.response_id) == score and compare(one.text or "", best.text or "") != SAME
                for one in ordered[1:]
            ),
        ),
    )
    return iteration.model_copy(update={"verdict": verdict})
