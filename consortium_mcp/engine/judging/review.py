"""`review`: the members report findings, and the arbiter merges them; each finding names who raised it."""

from collections.abc import Sequence
from typing import Any, get_args

from consortium_mcp.engine.judging.asking import Form, ReadsSchema
from consortium_mcp.engine.judging.fields import numbers_of, squeezed, text_of
from consortium_mcp.engine.judging.origin import Origin
from consortium_mcp.engine.judging.reader import read_fields
from consortium_mcp.engine.judging.synthesize import VERDICT_SCHEMA, verdict_of
from consortium_mcp.records import CallSpec, Iteration, Run, Verdict
from consortium_mcp.records.verdict import Finding, Severity
from consortium_mcp.text.templates import fill

SEVERITIES: tuple[Severity, ...] = get_args(Severity)
"""The severities, the worst first."""


def with_review(run: Run, specs: Sequence[CallSpec], reads_schema: ReadsSchema) -> list[CallSpec]:
    """The calls to members, with the form of a finding."""
    form = fill("review_member")
    return [
        spec.model_copy(update={"prompt": f"{spec.prompt}\n\n{form}"}) if spec.response is None else spec
        for spec in specs
    ]


def review_schema(shown: int) -> dict[str, Any]:
    """The schema of the merged findings of this many responses."""
    finding = {
        "type": "object",
        "properties": {
            "severity": {"type": "string", "enum": list(SEVERITIES)},
            "place": {"type": "string", "description": "The file and line, or a few quoted words."},
            "finding": {"type": "string", "description": "What is wrong, and how to repair it."},
            "raised_by": {
                "type": "array",
                "items": {"type": "integer", "enum": list(range(1, shown + 1))},
                "description": "The numbers of all responses that raised it.",
            },
        },
        "required": ["severity", "place", "finding", "raised_by"],
        "additionalProperties": False,
    }
    sides = ("agreeing_responses", "contradicting_responses")  # each finding says who raised it
    required = [name for name in VERDICT_SCHEMA["required"] if name not in sides]
    others = {name: VERDICT_SCHEMA["properties"][name] for name in required}
    findings = {"type": "array", "items": finding, "description": "Each fault once; empty if there is none."}
    summary = {"type": "string", "description": "The summary of the review, in one to three sentences."}
    return {
        **VERDICT_SCHEMA,
        "properties": {"findings": findings, **others, "synthesis": summary},
        "required": ["findings", *required],
    }


def read_review(reply: str, iteration: Iteration, origin: Origin) -> Verdict | None:
    """Read the merged findings; None if there is no verdict. An unknown response number is ignored."""
    found = read_fields(reply, "synthesis", origin)
    if found is None:
        return None
    verdict = verdict_of(found, iteration)
    listed = found.fields.get("findings")
    if isinstance(listed, list):
        rows, summary = [one for one in listed if isinstance(one, dict)], verdict.synthesis
    else:
        lines = verdict.synthesis.splitlines()
        rows = [row for line in lines if (row := _row(line))]
        summary = "\n".join(line for line in lines if line.strip() and not _row(line))
    findings = _merged([one for row in rows if (one := _finding(row, iteration))])
    return verdict.model_copy(update={"findings": findings, "synthesis": as_text(findings, summary)})


def as_text(findings: Sequence[Finding], summary: str) -> str:
    """The findings as a numbered list below their summary."""
    lines = [
        f"{number}. [{one.severity}] {one.place}: {one.finding} (raised by {', '.join(one.raised_by) or 'the arbiter'})"
        for number, one in enumerate(findings, start=1)
    ]
    return "\n\n".join(part for part in (summary, "\n".join(lines)) if part) or "No findings."


def _row(line: str) -> dict[str, Any] | None:
    """The finding on a line of the tagged form; None for any other line."""
    parts = [part.strip() for part in line.split("|")]
    if len(parts) < 4:
        return None
    severity = parts[0].strip("-* ").lower()
    if severity not in SEVERITIES:
        return None
    return {"severity": severity, "place": parts[1], "finding": " | ".join(parts[2:-1]), "raised_by": parts[-1]}


def _finding(row: dict[str, Any], iteration: Iteration) -> Finding | None:
    """A finding with instances in place of response numbers; None if it has no text."""
    text, severity = text_of(row.get("finding")), text_of(row.get("severity")).lower()
    if not text:
        return None
    shown = [iteration.responses[place].label for place in iteration.shown_order]
    numbers = [number for number in numbers_of(row.get("raised_by")) if 1 <= number <= len(shown)]
    return Finding(
        severity=next((known for known in SEVERITIES if known == severity), "minor"),
        place=text_of(row.get("place")),
        finding=text,
        raised_by=tuple(dict.fromkeys(shown[number - 1] for number in numbers)),
    )


def _merged(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """The findings, the worst first; findings with the same words at the same place become one."""
    merged: dict[tuple[str, str], Finding] = {}
    for one in findings:
        key = (squeezed(one.place).casefold(), squeezed(one.finding).casefold())
        if known := merged.get(key):
            worst = min(known.severity, one.severity, key=SEVERITIES.index)
            raised_by = tuple(dict.fromkeys([*known.raised_by, *one.raised_by]))
            one = known.model_copy(update={"severity": worst, "raised_by": raised_by})
        merged[key] = one
    return tuple(sorted(merged.values(), key=lambda one: SEVERITIES.index(one.severity)))


FORM = Form(template="review", schema=review_schema, read=read_review)
"""How merged findings are asked for and read."""
