"""What several tools take: the rules of a consortium, how long to wait, what may be spent."""

from typing import Annotated, Any

from mcp.server.mcpserver import Context, Resolve
from mcp_types import ToolAnnotations
from pydantic import Field

from consortium_mcp.records.consortium import StopOn
from consortium_mcp.server.tools.sampling import lends_its_model
from consortium_mcp.settings import MOST, MOST_SECONDS

ModelNames = Annotated[
    list[str] | None,
    Field(
        description='Who is asked: "model", "model:count", "model|backup", "model as role"; "client" is your own model.'
    ),
]
Arbiter = Annotated[str | None, Field(description="Model that judges the responses; default: the first member's.")]
SystemPrompt = Annotated[str | None, Field(description="System prompt for the members.")]
Threshold = Annotated[
    float | None,
    Field(ge=0, le=100, description="Confidence at which to stop: 0-1, or a percentage above 1. Default 0.8."),
]
MaxIterations = Annotated[int | None, Field(ge=1, le=100, description="Ask the members at most so often. Default 3.")]
MinIterations = Annotated[int | None, Field(ge=1, le=100, description="Ask them at least so often. Default 1.")]
Strategy = Annotated[str | None, Field(description="Who is asked what in each iteration; default refine.")]
JudgingMethod = Annotated[str | None, Field(description="How responses become a verdict; default synthesize.")]
Stop = Annotated[
    StopOn | None,
    Field(description="Whose confidence must reach the threshold: the arbiter's (default), the members' agreement."),
]
CheckOrder = Annotated[
    bool | None, Field(description="Judge a close verdict again with the responses reversed. Default true.")
]
EmbeddingModel = Annotated[
    str | None, Field(description="llm embedding model by which vote sees that answers mean the same.")
]
Wait = Annotated[
    float | None,
    Field(
        ge=0,
        le=600,
        description="Seconds to wait for the answer before returning status running. Default 45 unless set otherwise.",
    ),
]
Deadline = Annotated[
    float | None,
    Field(gt=0, le=MOST_SECONDS, description="Seconds the whole run may take. Default 600 unless set otherwise."),
]
MaxCalls = Annotated[int | None, Field(ge=1, le=MOST, description="The most model calls that the run may make.")]
MaxCost = Annotated[float | None, Field(gt=0, le=MOST, description="The most US dollars that the run may cost.")]
RunId = Annotated[str, Field(description="From consult_consortium or list_runs.")]

Rules = dict[str, Any]
"""Fields of a Consortium by name; None leaves the field as it is."""


async def gather_rules(
    arbiter: str | None,
    system_prompt: str | None,
    confidence_threshold: float | None,
    max_iterations: int | None,
    min_iterations: int | None,
    strategy: str | None,
    judging_method: str | None,
    stop_on: str | None,
    check_order: bool | None,
    embedding_model: str | None,
) -> Rules:
    """The rules that a call gives, gathered by the SDK from its arguments of the same names."""
    return dict(locals())


async def gather_asked(
    ctx: Context[Any, Any],
    rules: Annotated[Rules, Resolve(gather_rules)],
    consortium: str | None,
    models: list[str] | None,
    follow_up_to: str | None,
    own_answer: str | None,
) -> Rules:
    """Who a consult asks, and under which rules, gathered in the same way."""
    who = {"consortium": consortium, "models": models, "follow_up_to": follow_up_to, "own_answer": own_answer}
    return {**who, **rules, "has_client": lends_its_model(ctx)}


def hints(
    title: str, *, reads: bool = False, destroys: bool = False, again: bool = False, world: bool = False
) -> ToolAnnotations:
    """All four hints of a tool: the default of one that is left out is the alarming one."""
    return ToolAnnotations(
        title=title, read_only_hint=reads, destructive_hint=destroys, idempotent_hint=again, open_world_hint=world
    )
