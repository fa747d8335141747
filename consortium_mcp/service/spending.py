"""Spending: the calls of an iteration, the reservation for a call, the day's budget, and the cost of an attempt."""

import json
from collections.abc import Mapping

from consortium_mcp.engine.judging import judging_methods
from consortium_mcp.models.catalogue import ModelEntry, Models
from consortium_mcp.models.prices import price_usd
from consortium_mcp.records import Budget, CallResult, CallSpec
from consortium_mcp.records.consortium import Consortium
from consortium_mcp.settings import Settings
from consortium_mcp.store import Reservation

ASSUMED_OUTPUT_TOKENS = 4_096
"""The output tokens to reserve for a reply that no option bounds."""


TYPICAL_INPUT_TOKENS = 300
"""The tokens of a short question."""

TYPICAL_OUTPUT_TOKENS = 300
"""The tokens of a short reply."""

_OUTPUT_LIMITS = ("max_tokens", "max_output_tokens", "max_completion_tokens", "num_predict")
"""The names of the option that bounds a reply, in different models."""


def day_budget(settings: Settings) -> Budget:
    """The budget of a day for all runs together."""
    return Budget(max_calls=settings.max_calls, max_tokens=settings.max_tokens, max_cost_usd=settings.max_cost_usd)


def calls_per_iteration(consortium: Consortium) -> int:
    """The number of calls of an iteration without retries."""
    instances = consortium.asked_count
    return instances + judging_methods()[consortium.judging_method].calls(instances)


def typical_price(models: Models, model: str) -> float | None:
    """US dollars of a typical question to a model, by its name in the consortium; None if unknown."""
    entries = models.get(model, ())
    return price_usd(entries[0], TYPICAL_INPUT_TOKENS, TYPICAL_OUTPUT_TOKENS) if entries else None


def reservation_of(entry: ModelEntry, spec: CallSpec) -> Reservation:
    """The reservation for a call: half as many tokens as its question has bytes, and its longest possible reply.

    Without an option that bounds the reply, that is `ASSUMED_OUTPUT_TOKENS`; a longer reply is counted on arrival.
    """
    texts = (spec.prompt, spec.system or "", json.dumps(spec.output_schema), *(turn.text for turn in spec.history))
    return _reservation(entry, sum(len(text.encode("utf-8", "replace")) for text in texts), spec.options)


def first_call_problems(prompt: str, consortium: Consortium, budget: Budget, models: Models) -> list[str]:
    """Why a run's budget cannot pay for the response of any member; empty if it can, or if that is unknown."""
    size = len(prompt.encode("utf-8", "replace"))  # the question is longer: a lower bound
    least = [
        _reservation(entry, size, entry.options_for(consortium.options_of(member)))
        for member in consortium.members
        if member.response is None
        for entry in models.get(member.model, ())
        if not entry.is_consortium
    ]
    nested = any(one.is_consortium for backups in models.values() for one in backups)
    if not least or nested:  # a nested run reserves by itself
        return []
    tokens, prices = min(one.tokens for one in least), [one.cost_usd for one in least if one.cost_usd is not None]
    problems = []
    if budget.max_tokens is not None and budget.max_tokens < tokens:
        problems.append(
            f"max_tokens={budget.max_tokens} (the run's budget) cannot pay for one response: "
            f"a call reserves at least {tokens:,} tokens. Raise it, or bound the replies with an llm option."
        )
    if budget.max_cost_usd is not None and len(prices) == len(least) and budget.max_cost_usd < min(prices):
        problems.append(
            f"max_cost_usd={budget.max_cost_usd:g} (the run's budget) cannot pay for one response: "
            f"a call reserves at least ${min(prices):.6f}. Raise it, or bound the replies with an llm option."
        )
    return problems


def _reservation(entry: ModelEntry, question_bytes: int, options: Mapping[str, object]) -> Reservation:
    limits = [limit for name in _OUTPUT_LIMITS if isinstance(limit := options.get(name), int)]
    output_tokens = max(limits, default=ASSUMED_OUTPUT_TOKENS)
    input_tokens = question_bytes // 2 + 50
    return Reservation(input_tokens + output_tokens, price_usd(entry, input_tokens, output_tokens))


def cost_usd(entry: ModelEntry, result: CallResult) -> float | None:
    """The cost of an attempt in US dollars; None if unknown."""
    if result.was_refused or price_usd(entry, 1, 1) == 0:
        return 0.0
    if result.input_tokens is None and result.output_tokens is None:
        return None
    return price_usd(entry, result.input_tokens or 0, result.output_tokens or 0)
