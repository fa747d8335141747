"""Estimates a consult before any paid call: all possible calls, and ranges of tokens and dollars."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median

from pydantic import JsonValue

from consortium_mcp._util.counts import counted
from consortium_mcp._util.frozen_model import FrozenModel
from consortium_mcp.engine.adaptive import cheapest_first, first_count
from consortium_mcp.engine.judging import judging_methods
from consortium_mcp.engine.strategies import system_text
from consortium_mcp.engine.trust import earned, why_unreachable
from consortium_mcp.models.catalogue import Models, with_short_texts
from consortium_mcp.models.prices import price_usd
from consortium_mcp.records import Budget
from consortium_mcp.records.consortium import Consortium, instances
from consortium_mcp.service.spending import (
    ASSUMED_OUTPUT_TOKENS,
    TYPICAL_OUTPUT_TOKENS,
    calls_per_iteration,
    typical_price,
)
from consortium_mcp.store import RunUsage

FORM_TOKENS = 100
"""The estimated tokens of our own text in a question to a member."""

JUDGING_TOKENS = 700
"""The estimated tokens of our own text and the schema in a question to an arbiter or a peer."""


class PlannedCalls(FrozenModel):
    """Calls to one model."""

    model: str
    """The llm model id."""

    role: str
    """`member`, `consortium` (a member that is a consortium), `arbiter`, `peer` (a member that ranks the others), or
    `grouping` (the arbiter groups answers, where rules cannot).
    """

    options: dict[str, JsonValue] = {}
    """The llm options of the calls, with llm's own defaults, without each instance's seed."""

    per_iteration: int
    """The number of calls in each iteration; of the role `grouping`, the most."""

    input_tokens: int
    """The estimated tokens of one question in the first iteration, if the responses in it are short."""

    priced: bool
    """Whether the prices of the model and of each backup are known."""


class Likely(FrozenModel):
    """The likely usage of a consult."""

    calls: int
    """The number of calls."""

    tokens: int
    """The tokens of questions and replies."""

    cost_usd: float | None
    """US dollars; None if a price is unknown."""

    basis: str
    """The basis of these figures, in a few words."""


class Estimate(FrozenModel):
    """The plan of a consult, and what it may cost."""

    consortium: Consortium
    """The consortium of the consult, with its arbiter."""

    calls: tuple[PlannedCalls, ...]
    """The calls to each model, if the arbiter's first verdict is enough."""

    asked_first: tuple[str, ...] = ()
    """The models of the instances that are asked first, cheapest first; empty if all instances are asked at once."""

    min_calls: int
    """The number of calls, if the first iteration is enough."""

    max_calls: int
    """The number of calls with every iteration and every repair by the arbiter, without retries and backups."""

    tokens: tuple[int, int]
    """The likely range of tokens, questions and replies together."""

    cost_usd: tuple[float, float] | None
    """The likely range of US dollars; None if a price is unknown."""

    likely: Likely | None = None
    """The likely usage within these ranges; None if the consult cannot run."""

    unreachable: str | None = None
    """Why no agreement of the members can reach the threshold; None if it can."""

    notes: tuple[str, ...] = ()
    """What the figures leave out, and which attachments which model does not take, a sentence each."""

    problems: tuple[str, ...]
    """The problems that would stop the consult; empty if it can run."""


def make_estimate(
    prompt: str,
    consortium: Consortium,
    models: Models,
    problems: Sequence[str],
    notes: Sequence[str] = (),
    earlier: Sequence[RunUsage] = (),
) -> Estimate:
    """The estimate of a consult.

    Args:
        models: the models to be called with their backups; empty if one of them cannot be called.
        problems: the reasons why the consult cannot run, one sentence each.
        notes: what the figures leave out, and which model does not take which attachment, one sentence each.
        earlier: the usage of earlier runs of the same definition.
    """
    least, most = consortium.min_iterations, consortium.iteration_limit
    first = _asked_first(consortium, models)
    rows = _rows(prompt, consortium, models, TYPICAL_OUTPUT_TOKENS)
    cheap = [_usage(models, row, TYPICAL_OUTPUT_TOKENS) for row in rows if row.role != "grouping"]
    further = _most_asked(consortium) - 1
    dear = [
        _usage(models, row, ASSUMED_OUTPUT_TOKENS, max, further if row.role == "arbiter" else 0)
        for row in _rows(prompt, consortium, models, ASSUMED_OUTPUT_TOKENS)
    ]
    low, high = [usd for _, usd in cheap if usd is not None], [usd for _, usd in dear if usd is not None]
    cost = (sum(low) * least, sum(high) * most) if len(high) == len(rows) else None
    calls = calls_per_iteration(consortium)
    tokens = sum(tokens for tokens, _ in cheap) * least
    min_calls = calls * least
    can_settle = earned(len(first), len(first)) >= consortium.confidence_threshold
    if first and least == 1 and can_settle:  # if all agree, there is no judging
        spared = _usage_of(first, models, rows)
        tokens, min_calls = spared[0], len(first)
        cost = (spared[1], cost[1]) if cost else None
    return Estimate(
        consortium=consortium,
        calls=tuple(rows),
        asked_first=first,
        min_calls=min_calls,
        max_calls=(calls + further + any(row.role == "grouping" for row in rows)) * most,
        tokens=(tokens, sum(tokens for tokens, _ in dear) * most),
        cost_usd=cost,
        likely=None if problems else _likely(earlier, min_calls, tokens, cost and cost[0], least),
        unreachable=why_unreachable(consortium),
        notes=tuple(notes),
        problems=tuple(problems),
    )


def _likely(earlier: Sequence[RunUsage], calls: int, tokens: int, cost_usd: float | None, iterations: int) -> Likely:
    """The median of earlier runs; without any, the fewest calls with short replies."""
    if not earlier:
        basis = f"{counted(iterations, 'iteration')}, replies of {TYPICAL_OUTPUT_TOKENS} tokens; no earlier run"
        return Likely(calls=calls, tokens=tokens, cost_usd=cost_usd, basis=basis)
    costs = [one.cost_usd for one in earlier if one.cost_usd is not None]
    return Likely(
        calls=round(median(one.calls for one in earlier)),
        tokens=round(median(one.tokens for one in earlier)),
        cost_usd=median(costs) if costs else None,
        basis=f"median of {counted(len(earlier), 'earlier run')} of the same consortium",
    )


def _asked_first(consortium: Consortium, models: Models) -> tuple[str, ...]:
    """The models of the instances that are asked first in adaptive asking; empty if all are asked at once."""
    if consortium.ask != "adaptive":
        return ()
    asked = [member.model for member, _ in instances(consortium) if member.response is None]
    return tuple(cheapest_first(asked, partial(typical_price, models))[: first_count(consortium)])


def _usage_of(asked: Sequence[str], models: Models, rows: Sequence[PlannedCalls]) -> tuple[int, float]:
    """Tokens and US dollars of one call to each of these models; an unknown price counts as 0."""
    row_of = {row.model: row.model_copy(update={"per_iteration": 1}) for row in reversed(rows)}
    usage = [_usage(models, row_of[model], TYPICAL_OUTPUT_TOKENS) for model in asked]
    return sum(tokens for tokens, _ in usage), sum(usd or 0.0 for _, usd in usage)


def budget_problems(
    consortium: Consortium,
    budget: Budget,
    models: Models,
    used: tuple[int, int, float] = (0, 0, 0.0),
    whose: str = "the run's budget",
) -> list[str]:
    """Why a budget, or its remainder, does not suffice for one iteration; empty if it does.

    Args:
        used: calls, tokens and US dollars.
    """
    used_calls, used_tokens, used_usd = used
    problems = []
    needed = calls_per_iteration(consortium)
    if budget.max_calls is not None and budget.max_calls - used_calls < needed:
        left = f", of which {max(0, budget.max_calls - used_calls)} are left," if used_calls else ""
        problems.append(
            f"max_calls={budget.max_calls} ({whose}){left} cannot pay for one iteration: "
            f"{counted(consortium.asked_count, 'response')} and their judging are {counted(needed, 'call')}. "
            "Raise it, or ask fewer instances."
        )
    if budget.max_tokens is not None and used_tokens >= budget.max_tokens:
        problems.append(f"max_tokens={budget.max_tokens} ({whose}) is used up; come back after 00:00 UTC, or raise it.")
    if budget.max_cost_usd is not None:
        if used_usd >= budget.max_cost_usd:
            spent = f"max_cost_usd={budget.max_cost_usd:.2f} ({whose}) is used up"
            problems.append(f"{spent}; come back after 00:00 UTC, or raise it.")
        unknown = [one.model_id for backups in models.values() for one in backups if price_usd(one, 1, 1) is None]
        if consortium.embedding_model:
            unknown.append(consortium.embedding_model)
        if unknown:
            problems.append(
                f"max_cost_usd ({whose}) cannot be enforced: the price of {', '.join(dict.fromkeys(unknown))} is "
                "unknown. Limit max_calls instead, or give prices (CONSORTIUM_PRICES)."
            )
    return problems


def nested_problems(budget: Budget, models: Models) -> list[str]:
    """Why the calls budget of a run cannot be enforced; empty if it can. The day's budget counts all runs' calls."""
    nested = [one.model_id for backups in models.values() for one in backups if one.is_consortium]
    if budget.max_calls is None or not nested:
        return []
    names = ", ".join(dict.fromkeys(nested))
    return [
        f"max_calls (the run's budget) cannot be held: what the consortium {names} asks inside counts in runs of its "
        "own. Limit the day's calls (CONSORTIUM_MAX_CALLS), or ask its members directly."
    ]


def _rows(prompt: str, consortium: Consortium, models: Models, response_tokens: int) -> list[PlannedCalls]:
    """The calls of the first iteration.

    Args:
        response_tokens: the tokens of each response that is judged; the caller's own answer already exists.
    """
    asked = [member for member, _ in instances(consortium) if member.response is None]
    counts = Counter((member.model, json.dumps(consortium.options_of(member))) for member in asked)
    models_asked = Counter(member.model for member in asked)
    systems: dict[str, int] = {}
    for member in asked:
        system = system_text(consortium, member, short=member.model in with_short_texts(models))
        systems[member.model] = max(systems.get(member.model, 0), _tokens(system))
    question = _tokens(prompt) + FORM_TOKENS
    heard = _tokens(prompt) + JUDGING_TOKENS + _tokens(consortium.system_prompt or "") + len(asked) * response_tokens
    heard += sum(_tokens(member.response) for member in consortium.members if member.response is not None)
    nested = {model for model in models_asked if any(entry.is_consortium for entry in models.get(model, ()))}
    rows = [
        _row(models, model, "consortium" if model in nested else "member", count, question + systems[model], options)
        for (model, options), count in counts.items()
    ]
    method = judging_methods()[consortium.judging_method]
    if method.needs_arbiter:
        options = json.dumps(consortium.options_of(None))
        rows.append(_row(models, consortium.arbiter or "", "arbiter", 1, heard, options))
    elif method.calls(len(asked)):
        options = json.dumps(consortium.llm_options or {})
        rows += [_row(models, model, "peer", count, heard, options) for model, count in models_asked.items()]
    if method.groups_answers(consortium):
        options = json.dumps(consortium.options_of(None))
        rows.append(_row(models, consortium.arbiter or "", "grouping", 1, heard, options))
    return rows


def _tokens(text: str) -> int:
    """The estimated number of tokens of a text: one for four characters, as in English."""
    return -(-len(text) // 4)


def _row(models: Models, model: str, role: str, per_iteration: int, input_tokens: int, options: str) -> PlannedCalls:
    """The row of a model.

    Args:
        options: the llm options of its calls, as JSON.
    """
    entries = models.get(model, ())
    return PlannedCalls(
        model=model,
        role=role,
        options=entries[0].options_for(json.loads(options)) if entries else json.loads(options),
        per_iteration=per_iteration,
        input_tokens=input_tokens,
        priced=bool(entries) and all(price_usd(one, 1, 1) is not None for one in entries),
    )


def _most_asked(consortium: Consortium) -> int:
    """The largest number of arbiter calls in an iteration: a repair for each order of the responses."""
    if not judging_methods()[consortium.judging_method].needs_arbiter:
        return 1
    responses = sum(member.count for member in consortium.members)
    return 4 if consortium.check_order and responses > 1 else 2


def _usage(
    models: Models,
    row: PlannedCalls,
    output_tokens: int,
    which: Callable[[list[float]], float] = lambda prices: prices[0],
    further: int = 0,
) -> tuple[int, float | None]:
    """Tokens and US dollars of a row's calls in one iteration.

    Args:
        which: chooses among the prices of the model and its backups.
        further: the number of additional calls.
    """
    count = row.per_iteration + further
    prices = [price_usd(one, row.input_tokens, output_tokens) for one in models.get(row.model, ()) if row.priced]
    known = [price for price in prices if price is not None]
    return (row.input_tokens + output_tokens) * count, which(known) * count if known else None
