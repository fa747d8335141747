"""`pick` and `rank`: the arbiter names the best response, or ranks them all; the best one's text is the answer."""

from typing import Any

from consortium_mcp.engine.judging.asking import Form
from consortium_mcp.engine.judging.fields import (
    areas_of,
    completeness_of,
    confidence_of,
    dissent_of,
    flag_of,
    numbers_of,
    text_of,
)
from consortium_mcp.engine.judging.origin import Origin
from consortium_mcp.engine.judging.reader import Found, joined, read_fields
from consortium_mcp.engine.judging.sides import read_sides
from consortium_mcp.engine.judging.synthesize import VERDICT_SCHEMA
from consortium_mcp.records import Iteration, MemberResponse, Verdict
from consortium_mcp.text.confidence_line import without_confidence
from consortium_mcp.text.thinking import outside_thinking


def _schema(main: str, definition: dict[str, Any]) -> dict[str, Any]:
    """The verdict's schema with another main field instead of the synthesis."""
    fields = {name: VERDICT_SCHEMA["properties"][name] for name in VERDICT_SCHEMA["required"]}
    properties = {main if name == "synthesis" else name: value for name, value in fields.items()}
    return {**VERDICT_SCHEMA, "properties": {**properties, main: definition}, "required": list(properties)}


def read_pick(reply: str, iteration: Iteration, origin: Origin) -> Verdict | None:
    """Read the number of the picked response; None if that number was not shown."""
    found = read_fields(reply, "best", origin)
    numbers = numbers_of(found.fields.get("best")) if found else []
    return _verdict(found, iteration, numbers) if found and len(numbers) == 1 else None


def read_ranking(reply: str, iteration: Iteration, origin: Origin) -> Verdict | None:
    """Read the ranking of the responses, best first; None unless each one that was shown stands in it exactly once."""
    found = read_fields(reply, "ranking", origin)
    numbers = numbers_of(found.fields.get("ranking")) if found else []
    complete = sorted(numbers) == list(range(1, len(iteration.shown_order) + 1))
    return _verdict(found, iteration, numbers) if found and complete else None


def pick_schema(shown: int) -> dict[str, Any]:
    """The schema of a pick, which allows only the numbers of the responses."""
    numbers = {"type": "integer", "enum": list(range(1, shown + 1))}
    return _schema("best", {**numbers, "description": "The number of the best response."})


def ranking_schema(shown: int) -> dict[str, Any]:
    """The schema of a ranking of this many responses."""
    numbers = {"type": "integer", "enum": list(range(1, shown + 1))}
    length = {"minItems": shown, "maxItems": shown}
    described = {"description": "The numbers of all responses, each once, the best first."}
    return _schema("ranking", {"type": "array", "items": numbers, **length, **described})


def ballot_schema(shown: int) -> dict[str, Any]:
    """The schema of a ballot: reasons first, then the ranking."""
    schema = ranking_schema(shown)
    fields = ("analysis", "ranking")
    return {**schema, "properties": {name: schema["properties"][name] for name in fields}, "required": list(fields)}


PICK = Form(template="pick", schema=pick_schema, read=read_pick, takes_text=False)
"""How the best response is asked for and read."""

RANK = Form(template="rank", schema=ranking_schema, read=read_ranking, takes_text=False)
"""How the ranking of the responses is asked for and read."""


def _verdict(found: Found, iteration: Iteration, numbers: list[int]) -> Verdict | None:
    """The verdict whose best response is the first of the numbers; None if one of the numbers was not shown."""
    if not all(1 <= number <= len(iteration.shown_order) for number in numbers):
        return None
    ordered = [iteration.responses[iteration.shown_order[number - 1]] for number in numbers]
    fields = found.fields
    confidence = confidence_of(fields)
    text = answer_of(ordered[0])
    sides = read_sides(fields, iteration)
    return Verdict(
        synthesis=text,
        confidence=confidence.value,
        completeness=completeness_of(fields),
        agreeing=sides.agreeing,
        contradicting=sides.contradicting,
        analysis=text_of(fields.get("analysis")),
        dissent=dissent_of(fields.get("dissent"), text),
        needs_iteration=flag_of(fields.get("needs_iteration")),
        refinement_areas=areas_of(fields.get("refinement_areas")),
        problem=joined(confidence.problem, found.cut, sides.problem),
        chosen=ordered[0].response_id,
        ranking=tuple(response.response_id for response in ordered) if len(ordered) > 1 else (),
    )


def answer_of(response: MemberResponse) -> str:
    """The text of a response as an answer: without its thinking and its own confidence."""
    text = response.text or ""
    return without_confidence(outside_thinking(text)) or text
