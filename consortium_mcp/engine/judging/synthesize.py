"""`synthesize`: the arbiter combines the responses into one answer and states its confidence."""

from functools import partial
from typing import Any

from consortium_mcp.engine.judging.asking import Form
from consortium_mcp.engine.judging.claims import read_claims
from consortium_mcp.engine.judging.fields import (
    areas_of,
    as_json,
    completeness_of,
    confidence_of,
    dissent_of,
    flag_of,
    text_of,
)
from consortium_mcp.engine.judging.origin import Origin
from consortium_mcp.engine.judging.partial_reader import beginning_of_synthesis
from consortium_mcp.engine.judging.reader import Found, joined, read_fields
from consortium_mcp.engine.judging.sides import read_sides
from consortium_mcp.records import Iteration, Verdict
from consortium_mcp.text.confidence_line import without_end_tag

VERDICT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "analysis": {
            "type": "string",
            "description": "Your reasons. What did you calculate again or test? On what do the responses agree? "
            "Where do they contradict each other, and which one is right? What did only one of them see?",
        },
        "claims": {
            "type": "array",
            "description": "Where responses contradict each other: each disputed claim; leave it out if nowhere.",
            "items": {
                "type": "object",
                "properties": {
                    "claim": {"type": "string", "description": "The statement, in one sentence."},
                    "supported_by": {"type": "array", "items": {"type": "integer"}, "description": "Response numbers."},
                    "opposed_by": {"type": "array", "items": {"type": "integer"}, "description": "Response numbers."},
                    "quote_for": {"type": "string", "description": "A few words of one that holds it."},
                    "quote_against": {"type": "string", "description": "A few words of one that denies it."},
                },
                "required": ["claim", "supported_by", "opposed_by", "quote_for", "quote_against"],
                "additionalProperties": False,
            },
        },
        "synthesis": {
            "type": "string",
            "description": "The best answer, complete in itself, written to the user, without a word about responses.",
        },
        "agreeing_responses": {
            "type": "array",
            "items": {"type": "integer"},
            "description": "The numbers of the responses that give this answer, in any words; empty if none does.",
        },
        "contradicting_responses": {
            "type": "array",
            "items": {"type": "integer"},
            "description": "The numbers of the responses that contradict its main point; empty if none does.",
        },
        "confidence": {
            "type": "number",
            "minimum": 0,
            "maximum": 1,
            "description": "How likely it is that the answer is right.",
        },
        "completeness": {
            "type": "number",
            "minimum": 0,
            "maximum": 1,
            "description": "How much of what the prompt asks for the answer contains; 1 if nothing is missing.",
        },
        "dissent": {
            "type": "string",
            "description": "What a response holds against the answer and may be right about; empty if nothing.",
        },
        "needs_iteration": {
            "type": "boolean",
            "description": "True only if asking the models again would make the answer better.",
        },
        "refinement_areas": {
            "type": "array",
            "items": {"type": "string"},
            "description": "What they should work on then; empty if nothing.",
        },
    },
    "required": [
        "analysis",
        "synthesis",
        "agreeing_responses",
        "contradicting_responses",
        "confidence",
        "completeness",
        "dissent",
        "needs_iteration",
        "refinement_areas",
    ],
    "additionalProperties": False,
}
"""The schema for models that support schemas. Its fields are written in this order, so that reasons come first."""


def read_verdict(reply: str, iteration: Iteration, origin: Origin, follows_schema: bool = False) -> Verdict | None:
    """The verdict of a reply; None if there is none.

    Args:
        follows_schema: whether the synthesis must be an object, because the caller gave a schema.
    """
    found = read_fields(reply, "synthesis", origin)
    if found is None or (follows_schema and not isinstance(found.fields["synthesis"], dict)):
        return None
    return verdict_of(found, iteration, follows_schema)


def verdict_of(found: Found, iteration: Iteration, follows_schema: bool = False) -> Verdict:
    """The verdict from the fields of a reply; see `read_verdict`."""
    fields = found.fields
    synthesis = as_json(fields["synthesis"]) if follows_schema else without_end_tag(text_of(fields["synthesis"]))
    confidence = confidence_of(fields)
    claims = read_claims(fields.get("claims"), iteration)
    sides = read_sides(fields, iteration)
    return Verdict(
        claims=claims.claims,
        synthesis=synthesis,
        confidence=confidence.value,
        completeness=completeness_of(fields),
        agreeing=sides.agreeing,
        contradicting=sides.contradicting,
        analysis=text_of(fields.get("analysis")),
        dissent=dissent_of(fields.get("dissent"), synthesis),
        needs_iteration=flag_of(fields.get("needs_iteration")),
        refinement_areas=areas_of(fields.get("refinement_areas")),
        problem=joined(confidence.problem, found.cut, *claims.problems, sides.problem),
    )


FORM = Form(
    template="verdict", schema=lambda shown: VERDICT_SCHEMA, read=read_verdict, beginning=beginning_of_synthesis
)
"""How a synthesis is asked for and read."""


def following(schema: dict[str, Any]) -> Form:
    """The form for a synthesis that is a JSON object in the caller's schema; the schema's `$defs` move to the top."""
    shared: dict[str, Any] = {name: schema[name] for name in ("$defs", "definitions") if name in schema}
    synthesis = {name: value for name, value in schema.items() if name not in shared}
    properties: dict[str, Any] = {**VERDICT_SCHEMA["properties"], "synthesis": synthesis}
    verdict: dict[str, Any] = {**VERDICT_SCHEMA, "properties": properties, **shared}
    return Form(
        template="verdict",
        schema=lambda shown: verdict,
        read=partial(read_verdict, follows_schema=True),
        takes_text=False,
    )
