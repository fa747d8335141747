"""The estimate of a consult as text: the calls, their number, and their possible cost."""

import json
from collections.abc import Mapping
from typing import Any

from consortium_mcp._util.counts import counted
from consortium_mcp.service.estimate import Estimate, Likely, PlannedCalls


def plan_text(plan: Estimate) -> str:
    """An estimate in a few lines."""
    who = ", ".join(map(_planned_text, plan.calls))
    cost = "unknown" if plan.cost_usd is None else f"${plan.cost_usd[0]:.4f} to ${plan.cost_usd[1]:.4f}"
    lines = [
        f"Would ask: {who}.",
        f"Calls: {plan.min_calls} to {plan.max_calls}; tokens: {plan.tokens[0]} to {plan.tokens[1]}; cost: {cost}.",
        *([_likely_text(plan.likely)] if plan.likely else []),
        *(
            (f"Not counted: the calls of the nested consortium {row.model}.")
            for row in plan.calls
            if row.role == "consortium"
        ),
        *([f"Note: {plan.unreachable}"] if plan.unreachable else []),
        *(f"Note: {note}" for note in plan.notes),
        *(f"It cannot run: {problem}" for problem in plan.problems),
    ]
    if plan.asked_first:
        lines.insert(1, f"First only {', '.join(plan.asked_first)}; further calls only if they disagree.")
    return "\n".join(lines)


def _likely_text(likely: Likely) -> str:
    cost = "cost unknown" if likely.cost_usd is None else f"${likely.cost_usd:.4f}"
    return f"Likely: {counted(likely.calls, 'call')}, {likely.tokens} tokens, {cost} ({likely.basis})."


def options_text(options: Mapping[str, Any]) -> str:
    """llm options as written after a model's name; empty without any."""
    return f" {json.dumps(options, ensure_ascii=False)}" if options else ""


def _planned_text(row: PlannedCalls) -> str:
    """The calls to one model."""
    most = "at most " if row.role == "grouping" else ""
    return f"{row.model}{options_text(row.options)} ({row.role}) {most}{row.per_iteration}x per iteration"
