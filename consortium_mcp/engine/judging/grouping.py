"""The grouping call: the arbiter groups responses with the same answer if no rule can compare them."""

import json
import random
import re
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from consortium_mcp._util.counts import counted
from consortium_mcp.engine.judging.asking import ReadsSchema
from consortium_mcp.engine.judging.fields import numbers_of, text_of
from consortium_mcp.engine.judging.origin import origin_of
from consortium_mcp.engine.judging.question import grouping_question
from consortium_mcp.engine.judging.reader import read_fields
from consortium_mcp.engine.judging.vote import count_votes, votes_cast
from consortium_mcp.engine.members import CallModel
from consortium_mcp.records import Iteration, Measures, Run, Votes
from consortium_mcp.text.answers import DIFFERENT, NOT_COMPARABLE, Answer, compare_answers

MOST_GROUPS = 40
"""The most different answers in a grouping call."""

_GROUP_NAME = re.compile(r"^\W*group\s+\w{1,3}\s*[:.)=-]", re.IGNORECASE)

_Pair = tuple[int, int]


async def with_groups(run: Run, iteration: Iteration, call: CallModel, reads_schema: ReadsSchema) -> Iteration:
    """The iteration with the arbiter's groups in its measures; unchanged if the result does not need them.

    Answers that a rule can compare stay as the rule has them. A grouping that contradicts a rule, or that does not hold
    each response exactly once, is not used, and the measures say why.
    """
    usable = [iteration.responses[place] for place in sorted(iteration.shown_order)]
    answers = votes_cast([(one.response_id, one.text or "") for one in usable])
    groups = count_votes(answers)
    if len(groups) > MOST_GROUPS:
        few = f"The arbiter can group at most {MOST_GROUPS} different answers, and there are {len(groups)}."
        return _measured(iteration, not_grouped=few)
    if not _is_needed(run, groups, _open_pairs(groups, answers)):
        return iteration
    ids: list[str] = [response.response_id for response in iteration.responses]
    shown = [ids.index(group.response_ids[0]) for group in groups]
    random.Random(f"{run.shuffle_seed}/{iteration.number}/grouping").shuffle(shown)
    model = run.consortium.arbiter or ""
    asked = grouping_question(run, iteration, shown, _schema(len(shown)) if reads_schema(model) else None, model)
    result = await call(asked)
    if not result.ok:
        return _measured(iteration, not_grouped=f"The arbiter gave no groups: {result.error}")
    found = read_fields(result.text or "", "response_groups", origin_of(run, iteration, asked.call_id))
    numbers = read_groups(found.fields["response_groups"], len(shown)) if found else None
    if numbers is None:
        return _measured(iteration, not_grouped="The arbiter's groups do not contain each response exactly once.")
    told = [[ids[shown[number - 1]] for number in group] for group in numbers]
    if any(_compared(answers, *pair) == DIFFERENT for group in told for pair in combinations(group, 2)):
        return _measured(iteration, not_grouped="The arbiter's groups join answers that a rule tells apart.")
    members = {group.response_ids[0]: group.response_ids for group in groups}
    return _measured(iteration, groups=tuple(tuple(one for first in group for one in members[first]) for group in told))


def read_groups(value: object, count: int) -> list[list[int]] | None:
    """The groups of a reply, as numbers of responses; None unless each number from 1 to `count` is in exactly one.

    Args:
        value: a list of lists, or a text with a group on each line.
    """
    if isinstance(value, str):
        value = _listed(value)
    if not isinstance(value, list) or any(isinstance(item, int) for item in value):
        return None
    groups = [numbers for item in value if (numbers := numbers_of(item))]
    together = sorted(number for group in groups for number in group)
    return groups if together == list(range(1, count + 1)) else None


def _listed(text: str) -> object:
    """A text as a list with an item for each group."""
    if text.lstrip().startswith("["):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return None
    return [_GROUP_NAME.sub("", line) for line in re.split(r"[\n;]", text_of(text))]


def _open_pairs(groups: Sequence[Votes], answers: Mapping[str, Answer]) -> list[_Pair]:
    """The pairs of groups, by index, that no rule can compare."""
    firsts = [group.response_ids[0] for group in groups]
    return [
        (one, other)
        for one, other in combinations(range(len(firsts)), 2)
        if _compared(answers, firsts[one], firsts[other]) == NOT_COMPARABLE
    ]


def _compared(answers: Mapping[str, Answer], one: str, other: str) -> str:
    return compare_answers(answers[one], answers[other])


def _is_needed(run: Run, groups: Sequence[Votes], pairs: Sequence[_Pair]) -> bool:
    """Whether groups can change the result.

    In a vote that stops on the confidence, only a change of the winner or its votes counts.
    """
    rules = run.consortium
    if not pairs or rules.stop_on in ("agreement", "both") or rules.judging_method != "vote":
        return bool(pairs)
    sizes = [len(group.response_ids) for group in groups]
    most = list(sizes)
    for one, other in pairs:
        most[one] += sizes[other]
        most[other] += sizes[one]
    touched = {place for pair in pairs for place in pair}
    return any(most[place] >= sizes[0] for place in touched)


def _measured(iteration: Iteration, **found: Any) -> Iteration:
    measures = iteration.measures or Measures()
    return iteration.model_copy(update={"measures": measures.model_copy(update=found)})


def _schema(shown: int) -> dict[str, Any]:
    numbers = {"type": "integer", "enum": list(range(1, shown + 1))}
    described = f"The groups; each of the {counted(shown, 'number')} is in exactly one."
    groups = {"type": "array", "items": {"type": "array", "items": numbers}, "description": described}
    return {
        "type": "object",
        "properties": {"response_groups": groups},
        "required": ["response_groups"],
        "additionalProperties": False,
    }
