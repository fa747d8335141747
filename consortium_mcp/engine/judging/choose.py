"""`choose`: each member casts a ballot for one of the given options, and the option with the most ballots wins."""

import re
from collections.abc import Sequence
from string import ascii_uppercase
from typing import Any

from consortium_mcp._util.counts import counted
from consortium_mcp.engine.judging.asking import ReadsSchema
from consortium_mcp.engine.judging.json_objects import json_objects
from consortium_mcp.engine.judging.origin import unquoted
from consortium_mcp.engine.judging.vote import margin
from consortium_mcp.engine.members import CallModel
from consortium_mcp.records import CallSpec, Iteration, Run, Verdict, Votes
from consortium_mcp.text.templates import fill
from consortium_mcp.text.thinking import outside_thinking

_LABELLED = re.compile(r"\b(?:answer|choice)\b[^\w\n]*(?:is\b)?[^\w\n]*([A-Za-z])\b(?![^\W\d_])", re.IGNORECASE)
_LINE = re.compile(
    r"^[ \t*_#(-]*(?:my |the )?(?:final )?(?:answer|choice)\b[^\w\n]*(?:is\b)?[^\w\n]*([A-Za-z])\b(?![^\W\d_])",
    re.IGNORECASE | re.MULTILINE,
)
_LETTER = re.compile(r"[(\[*]*([A-Z])[)\].:*]*(?:\s.*)?")


def with_ballots(run: Run, specs: Sequence[CallSpec], reads_schema: ReadsSchema) -> list[CallSpec]:
    """The calls to members, with the options and the form of a ballot: as a schema for models that support schemas."""
    options = run.consortium.choices or ()
    listed = "\n".join(f"{letter}) {option}" for letter, option in zip(ascii_uppercase, options, strict=False))

    def with_ballot(spec: CallSpec) -> CallSpec:
        by_schema = reads_schema(spec.model)
        form = fill("choose_json" if by_schema else "choose_text", choices=listed)
        schema = _schema(len(options)) if by_schema else None
        return spec.model_copy(update={"prompt": f"{spec.prompt}\n\n{form}", "output_schema": schema})

    return [with_ballot(spec) if spec.response is None else spec for spec in specs]


async def judge_by_ballots(run: Run, iteration: Iteration, call: CallModel, reads_schema: ReadsSchema) -> Iteration:
    """The iteration with the option that got the most ballots; in a tie, the first option in the list, and a note.

    The confidence is its share of all that were asked: failures and ballots that cannot be read lower it.
    """
    options = run.consortium.choices or ()
    chosen_by: dict[str, list[str]] = {option: [] for option in options}
    reasons: dict[str, str] = {}
    read = "\n".join([run.prompt, *(turn.text for turn in run.history), run.consortium.system_prompt or ""])
    for place in sorted(iteration.shown_order):
        response = iteration.responses[place]
        option, reason = read_ballot(response.text or "", options, read)
        if option is not None:
            chosen_by[option].append(response.response_id)
            reasons.setdefault(option, reason)
    cast = [Votes(answer=option, response_ids=tuple(ids)) for option, ids in chosen_by.items() if ids]
    groups = sorted(cast, key=lambda group: -len(group.response_ids))
    if not groups:
        return iteration.model_copy(update={"arbiter_error": "no response names one of the options"})
    largest = groups[0]
    verdict = Verdict(
        synthesis=largest.answer,
        confidence=len(largest.response_ids) / len(iteration.responses),
        analysis=_analysis(groups, len(iteration.responses), reasons[largest.answer]),
        dissent="; ".join(_dissent(group, reasons[group.answer]) for group in groups[1:]),
        chosen=None,
        votes=tuple(groups),
    )
    return iteration.model_copy(update={"verdict": verdict})


def read_ballot(reply: str, options: Sequence[str], read: str = "") -> tuple[str | None, str]:
    """The option that a ballot names, and its reason; None if it names none of the options.

    These forms are tried in order: a reply that is a JSON object with a `choice`; the last line that begins with
    `Answer:` and a letter; the last object in the reply; the last `answer` with a letter; the last line, if it is an
    option or its letter.

    Args:
        read: the texts that the member was shown. An object or a line that stands in them is quoted, and is no ballot.
    """
    reply = outside_thinking(reply)
    quoted = unquoted(read)
    bare = reply.strip().removeprefix("```json").strip("`\n ")
    ballots = []
    for value, start, end in list(json_objects(bare)):
        ballot = _ballot_in(value)
        if ballot and (start, end) == (0, len(bare)):
            return _by_object(ballot, options)
        if unquoted(source := bare[start:end]) in quoted:
            reply = reply.replace(source, "")
        elif ballot:
            ballots.append(ballot)
    lines = [line.strip() for line in reply.splitlines() if line.strip()]
    lines = [line for line in lines if not line.lower().startswith("confidence")]
    reason = " ".join(lines[:-1])
    stated = list(_LINE.finditer(reply))
    if own := [line for line in stated if unquoted(line[0]) not in quoted] or stated:
        return _option(own[-1][1].upper(), options), reason
    if ballots:
        return _by_object(ballots[-1], options)
    if labelled := _LABELLED.findall(reply):
        return _option(labelled[-1].upper(), options), reason
    return (_option(re.sub(r"(?i)^\W*answer\W+", "", lines[-1]), options) if lines else None), reason


def _by_object(ballot: dict[str, Any], options: Sequence[str]) -> tuple[str | None, str]:
    return _option(str(ballot["choice"]), options), str(ballot.get("reason") or "").strip()


def _option(text: str, options: Sequence[str]) -> str | None:
    """The option that a text names by its letter, its words, or both; None if it names none."""
    text = text.strip()
    same = [option for option in options if option.casefold() == text.strip(" .*`\"'").casefold()]
    if same:
        return same[0]
    letter = _LETTER.fullmatch(text)
    place = ascii_uppercase.index(letter[1]) if letter else len(options)
    if place >= len(options):
        return None
    rest = re.sub(r"^\W*[A-Z]\W*", "", text).strip(" .*")
    return options[place] if not rest or rest.casefold() == options[place].casefold() else None


def _ballot_in(value: dict[str, Any]) -> dict[str, Any] | None:
    """The object that has a `choice`: this one, or one inside it; None without a `choice`."""
    inner = (one for one in value.values() if isinstance(one, dict) and "choice" in one)
    return value if "choice" in value else next(inner, None)


def _schema(count: int) -> dict[str, Any]:
    letters = {"type": "string", "enum": list(ascii_uppercase[:count])}
    return {
        "type": "object",
        "properties": {
            "reason": {"type": "string", "description": "Why, in one to three sentences."},
            "choice": {**letters, "description": "The letter of the best option."},
        },
        "required": ["reason", "choice"],
        "additionalProperties": False,
    }


def _analysis(groups: Sequence[Votes], asked: int, reason: str) -> str:
    sizes = [len(group.response_ids) for group in groups]
    cast, tied = sum(sizes), sizes.count(sizes[0])
    won = f"{sizes[0]} of {counted(cast, 'ballot')} are for {groups[0].answer!r}, a margin of {margin(groups)}."
    if tied > 1:
        won = f"Tie: {tied} options have {sizes[0]} of {counted(cast, 'ballot')} each; the first one is shown."
    unread = f" {asked - cast} of {asked} gave no ballot that could be read." if asked > cast else ""
    return f"{won}{unread}" + (f" A reason given: {reason}" if reason else "")


def _dissent(group: Votes, reason: str) -> str:
    return f"{len(group.response_ids)} for {group.answer!r}" + (f": {reason}" if reason else "")
