"""Generated from request.py by `make generate`: what Python callers give by keyword."""

from collections.abc import Sequence
from typing import Any, Literal, TypedDict

from consortium_mcp.records.attachment import AttachmentFile
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
    """Preset of rules; given rules win."""

    arbiter: str | None
    """Model that judges, or "model|backup"; default: the first member's."""

    system_prompt: str | None
    """Members' system prompt; default: a built-in one."""

    confidence_threshold: float | None
    """Confidence that ends the run: 0-1 or a percentage."""

    max_iterations: int | None
    """Maximum iterations."""

    min_iterations: int | None
    """Minimum iterations."""

    strategy: str | None
    """Who is asked what in each iteration."""

    judging_method: str | None
    """How responses become a verdict."""

    stop_on: Literal["arbiter", "agreement", "both", "ratings"] | None
    """Figures that must reach the threshold."""

    check_order: bool | None
    """Near the threshold, judge again in reversed order."""

    embedding_model: str | None
    """llm embedding model by which vote compares meanings."""

    group_answers: bool | None
    """vote, peer_rank: the arbiter groups what rules cannot compare."""

    quorum: int | None
    """Responses before silence counts; default: more than half."""

    patience_seconds: float | None
    """Silence that drops a member; default: its model's history."""

    min_responses: int | None
    """Fewest responses for a full answer; default: all."""

    on_partial: Literal["answer", "fail"] | None
    """With fewer: answer and say so, or fail."""

    choices: Sequence[str] | None
    """Options of choose."""

    ask: Literal["all", "adaptive"] | None
    """Ask all at once, or the cheapest first."""

    llm_options: dict[str, Any] | None
    """llm options of members and arbiter; a member's own win."""

    max_calls: int | None
    """Limit of model calls; each attempt counts."""

    max_tokens: int | None
    """Limit of tokens, questions and replies together."""

    max_cost_usd: float | None
    """Limit of US dollars."""

    attachments: Sequence[str] | Sequence[str | AttachmentFile] | None
    """Files for the members: path, URL or data: URI each."""

    follow_up_to: str | None
    """Run id: continue its conversation, with its consortium unless one is named."""

    own_answer: str | None
    """Your own answer, judged anonymously beside the members'."""

    history: Sequence[Turn] | None
    """Earlier turns of the conversation, oldest first."""

    output_schema: dict[str, Any] | None
    """JSON schema of the answer."""

    deadline_seconds: float | None
    """Seconds for the whole run; default 600."""


class FurtherRules(TypedDict, total=False):
    """What `create_consortium` takes beside llm-consortium's parameters."""

    preset: Literal["self_consistency", "panel", "vote", "choose", "review"] | None
    """Preset of rules; given rules win."""

    strategy: str | None
    """Who is asked what in each iteration."""

    judging_method: str | None
    """How responses become a verdict."""

    stop_on: Literal["arbiter", "agreement", "both", "ratings"] | None
    """Figures that must reach the threshold."""

    check_order: bool | None
    """Near the threshold, judge again in reversed order."""

    embedding_model: str | None
    """llm embedding model by which vote compares meanings."""

    group_answers: bool | None
    """vote, peer_rank: the arbiter groups what rules cannot compare."""

    quorum: int | None
    """Responses before silence counts; default: more than half."""

    patience_seconds: float | None
    """Silence that drops a member; default: its model's history."""

    min_responses: int | None
    """Fewest responses for a full answer; default: all."""

    on_partial: Literal["answer", "fail"] | None
    """With fewer: answer and say so, or fail."""

    choices: Sequence[str] | None
    """Options of choose."""

    ask: Literal["all", "adaptive"] | None
    """Ask all at once, or the cheapest first."""

    llm_options: dict[str, Any] | None
    """llm options of members and arbiter; a member's own win."""

    description: str | None
    """Purpose of the consortium."""
