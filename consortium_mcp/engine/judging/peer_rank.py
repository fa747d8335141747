"""`peer_rank`: the members rank the others' anonymous responses; there is no arbiter."""

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
    """The iteration judged by normalised Borda counts: each member that gave a response ranks those of the others.

    The confidence is the winner's mean Borda score, 0.0-1.0: 1.0 if every ballot puts it first. Of two responses both
    authors rank both, without knowing the authors; one wins only if its rival's author puts it first.
    """
    usable = [iteration.responses[place] for place in sorted(iteration.shown_order)]
    voters = [one for one in usable if one.model != OWN_ANSWER]  # its author is not a member that can be asked
    if len(usable) < 3 and len(voters) < 2:
        return _unranked(iteration, usable)
    ballots: dict[str, list[str]] = {}

    async def vote(voter: MemberResponse) -> None:
        if ballot := await _ballot(run, iteration, voter, call, reads_schema):
            ballots[voter.response_id] = ballot

    async with anyio.create_task_group() as group:
        for voter in voters:
            group.start_soon(vote, voter)
    if len(usable) == 2 and len(ballots) == 1:  # that ballot may favour its author's own response
        return _unranked(iteration, usable)
    return _judged(iteration, usable, ballots, len(voters))


def borda(ballots: dict[str, list[str]], candidates: list[str]) -> dict[str, float | None]:
    """Each candidate's mean normalised Borda score over the ballots that name it; None if none does.

    On a ballot of n candidates, the first scores 1 and the last 0. Candidates that a ballot leaves out get no score
    from it. If it names one candidate only, that one scores 1.

    Args:
        ballots: the candidates in each voter's order, best first.
    """
    scores: dict[str, list[Fraction]] = {candidate: [] for candidate in candidates}
    for ballot in ballots.values():
        last = max(1, len(ballot) - 1)
        for place, candidate in enumerate(ballot):
            scores[candidate].append(1 - Fraction(place, last))  # exact arithmetic, so that equal counts tie
    return {candidate: float(sum(given) / len(given)) if given else None for candidate, given in scores.items()}


async def _ballot(
    run: Run, iteration: Iteration, voter: MemberResponse, call: CallModel, reads_schema: ReadsSchema
) -> list[str]:
    """The response ids in the voter's order, best first; empty if the ballot cannot be read.

    If there is only one other response, the voter's own is shown beside it.
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
    """The iteration with the first response as its answer, because there are too few for a ranking."""
    few = "there is one response" if len(usable) == 1 else "there are two responses, and one author did not rank them"
    verdict = Verdict(
        synthesis=answer_of(usable[0]),
        problem=f"{few}; the first one is taken",
        chosen=usable[0].response_id,
    )
    return iteration.model_copy(update={"verdict": verdict})


def _judged(iteration: Iteration, usable: list[MemberResponse], ballots: dict[str, list[str]], asked: int) -> Iteration:
    """The iteration with the verdict of the ballots. `ballots` is by voter; `asked` is the number of voters."""
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
