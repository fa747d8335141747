"""Generated from request.py by `make generate`: what Python callers give by keyword."""

from collections.abc import Sequence
from typing import Any, Literal, TypedDict

from consortium_mcp.records.call import Turn
from consortium_mcp.records.consortium import Consortium


class ConsultTerms(TypedDict, total=False):
    """What `consult` takes beside the prompt."""

    consortium: str | Consortium | None
    """Name of a saved consortium."""

    models: Sequence[str] | None
    """Each "model:count {llm options} as role" or "model|backup"; "client" is the MCP client's model."""

    count: int | None
    """Instances of each model without a count."""

    preset: Literal["self_consistency", "panel", "vote", "choose", "review"] | None
    """Preset of rules; a rule that is given wins over it."""

    arbiter: str | None
    """Model that judges, or "model|backup"; default: the first member's model."""

    system_prompt: str | None
    """System prompt for the members; default: a built-in one."""

    confidence_threshold: float | None
    """Confidence that ends the run: 0-1, or a percentage above 1."""

    max_iterations: int | None
    """Maximum iterations."""

    min_iterations: int | None
    """Minimum iterations; raises the default maximum."""

    strategy: str | None
    """Who is asked what in each iteration."""

    judging_method: str | None
    """How responses become a verdict."""

    stop_on: Literal["arbiter", "agreement", "both"] | None
    """Figures that must reach the threshold."""

    check_order: bool | None
    """Near the threshold, judge a second time in reversed order."""

    embedding_model: str | None
    """llm embedding model; vote compares meanings with it."""

    group_answers: bool | None
    """In vote and peer_rank, the arbiter groups answers that no rule can compare."""

    quorum: int | None
    """Quorum: responses before silence counts; default: more than half."""

    patience_seconds: float | None
    """Silence that drops a member after the quorum; default: by its model's history."""

    min_responses: int | None
    """Fewest responses for a full answer; default: all."""

    on_partial: Literal["answer", "fail"] | None
    """With fewer responses: answer and say so, or fail."""

    choices: Sequence[str] | None
    """Options of the judging method choose."""

    ask: Literal["all", "adaptive"] | None
    """Ask all members at once, or the cheapest first and more on disagreement."""

    llm_options: dict[str, Any] | None
    """llm options of all members and the arbiter; a member's own options win."""

    max_calls: int | None
    """The limit of model calls; each attempt counts."""

    max_tokens: int | None
    """The limit of tokens, questions and replies together."""

    max_cost_usd: float | None
    """The limit of US dollars."""

    follow_up_to: str | None
    """Run id: continue its conversation, with its consortium unless one is named."""

    own_answer: str | None
    """Your own answer, judged anonymously beside the members'."""

    history: Sequence[Turn] | None
    """Earlier turns of the conversation, oldest first."""

    output_schema: dict[str, Any] | None
    """JSON schema that the answer must follow."""

    deadline_seconds: float | None
    """Seconds that the whole run may take; default 600 unless set otherwise."""


class FurtherRules(TypedDict, total=False):
    """What `create_consortium` takes beside llm-consortium's parameters."""

    preset: Literal["self_consistency", "panel", "vote", "choose", "review"] | None
    """Preset of rules; a rule that is given wins over it."""

    strategy: str | None
    """Who is asked what in each iteration."""

    judging_method: str | None
    """How responses become a verdict."""

    stop_on: Literal["arbiter", "agreement", "both"] | None
    """Figures that must reach the threshold."""

    check_order: bool | None
    """Near the threshold, judge a second time in reversed order."""

    embedding_model: str | None
    """llm embedding model; vote compares meanings with it."""

    group_answers: bool | None
    """In vote and peer_rank, the arbiter groups answers that no rule can compare."""

    quorum: int | None
    """Quorum: responses before silence counts; default: more than half."""

    patience_seconds: float | None
    """Silence that drops a member after the quorum; default: by its model's history."""

    min_responses: int | None
    """Fewest responses for a full answer; default: all."""

    on_partial: Literal["answer", "fail"] | None
    """With fewer responses: answer and say so, or fail."""

    choices: Sequence[str] | None
    """Options of the judging method choose."""

    ask: Literal["all", "adaptive"] | None
    """Ask all members at once, or the cheapest first and more on disagreement."""

    llm_options: dict[str, Any] | None
    """llm options of all members and the arbiter; a member's own options win."""

    description: str | None
    """Purpose of the consortium."""
