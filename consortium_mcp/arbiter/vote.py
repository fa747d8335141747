"""`vote`: the responses are grouped by their final answer, and the largest group wins; no arbiter is needed."""

import re
import unicodedata
from collections.abc import Collection

from rapidfuzz import fuzz

from consortium_mcp.arbiter.asking import ReadsSchema
from consortium_mcp.members import Caller
from consortium_mcp.run import CallResult, Iteration, Run, Verdict, Votes
from consortium_mcp.thinking import strip_thinking

NEAR_EQUAL = 92.0
"""How alike (0-100, rapidfuzz's ratio) two longer answers must be to count as one."""

_LABELLED = re.compile(r"(?:final\s+)?answer\s*(?:is|[:=])\s*(.+)", re.IGNORECASE)
_BOXED = re.compile(r"\\boxed\{([^{}]{1,200})\}")
_TAGGED = re.compile(r"<answer>(.{1,2000}?)</answer>", re.IGNORECASE | re.DOTALL)
_CONFIDENCE_LINE = re.compile(r"^\W*(?:<confidence>|confidence\b).*$", re.IGNORECASE | re.MULTILINE)
_NUMBER = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?|[+-]?\d+(?:\.\d+)?")


async def judge_by_vote(run: Run, iteration: Iteration, call: Caller, reads_schema: ReadsSchema) -> Iteration:
    """The answer of the largest group; of equal groups the one whose first response was declared first.

    The confidence is the group's share of the votes, those that nobody waited for counted against it.
    """
    usable = [iteration.responses[place] for place in sorted(iteration.shown_order)]
    groups = count_votes([(one.response_id, final_answer(one.text or "")) for one in usable])
    largest = groups[0]
    cast = len(usable)
    margin = len(largest.response_ids) - (len(groups[1].response_ids) if len(groups) > 1 else 0)
    kind = "majority" if 2 * len(largest.response_ids) > cast else "plurality"
    others = [f"{len(group.response_ids)} for {group.answer!r}" for group in groups[1:]]
    chosen = next(one for one in usable if one.response_id == largest.response_ids[0])
    verdict = Verdict(
        synthesis=_without_confidence(chosen.text or ""),
        confidence=len(largest.response_ids) / (cast + sum(one.late for one in iteration.responses)),
        analysis=f"{kind.capitalize()}: {len(largest.response_ids)} of {cast} votes, a margin of {margin}.",
        dissent="; ".join(others),
        chosen=chosen.response_id,
        votes=tuple(groups),
    )
    return iteration.model_copy(update={"verdict": verdict})


def count_votes(answers: list[tuple[str, str]]) -> list[Votes]:
    """The groups of equal or nearly equal answers, the largest first, then in the order in which they began.

    Args:
        answers: (response id, final answer), as declared.
    """
    groups: list[tuple[str, list[str]]] = []
    for response_id, answer in answers:
        group = next((members for known, members in groups if _same(known, answer)), None)
        if group is None:
            groups.append((answer, [response_id]))
        else:
            group.append(response_id)
    ordered = sorted(groups, key=lambda group: -len(group[1]))
    return [Votes(answer=answer, response_ids=tuple(members)) for answer, members in ordered]


def is_decided(results: Collection[CallResult], asked: int) -> bool:
    """Whether the votes that are still out cannot change which answer wins."""
    cast = [(str(place), final_answer(result.text or "")) for place, result in enumerate(results) if result.ok]
    if not cast:
        return False
    groups = count_votes(cast)
    second = len(groups[1].response_ids) if len(groups) > 1 else 0
    return len(groups[0].response_ids) > second + asked - len(results)


def final_answer(text: str) -> str:
    """The answer that a response comes to, in a form in which equal answers are equal.

    What `Answer:`, `<answer>` or `\\boxed{}` holds, the last of each; else the last line. A number is only its value,
    a text has no case, no accents on its quotation marks, and no punctuation at its ends.
    """
    text = _without_confidence(strip_thinking(text))
    marked = _BOXED.findall(text) or _TAGGED.findall(text) or _LABELLED.findall(text)
    lines = [line for line in text.splitlines() if line.strip()]
    answer = marked[-1] if marked else (lines[-1] if lines else "")
    answer = unicodedata.normalize("NFKC", answer).casefold().strip().strip("*_`'\"“”‘’.,;:!?()[]{}<> ")
    numbers = _NUMBER.findall(answer)
    if len(numbers) == 1 and len(answer) - len(numbers[0]) <= 12:
        return f"{float(numbers[0].replace(',', '')):g}"
    return " ".join(answer.split())


def _same(one: str, other: str) -> bool:
    """Equal, or long enough to be worded differently and nearly so; numbers and letters must be equal."""
    if one == other:
        return True
    return min(len(one), len(other)) >= 12 and fuzz.ratio(one, other) >= NEAR_EQUAL and _digits(one) == _digits(other)


def _digits(text: str) -> list[str]:
    return _NUMBER.findall(text)


def _without_confidence(text: str) -> str:
    """The text without the line that states the member's own confidence."""
    return _CONFIDENCE_LINE.sub("", text).strip()
