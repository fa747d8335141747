"""The rules of a consortium. A rule is defined here once; every door, the saved definition and the docs read it."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from consortium_mcp._util.frozen_model import FrozenModel
from consortium_mcp.settings import MOST_SECONDS

MAX_ITERATIONS = 100

MAX_BACKUPS = 16
"""The largest number of backups of a member or an arbiter."""

MAX_INSTANCES = 256

StopOn = Literal["arbiter", "agreement", "both", "ratings"]
"""The figures that can end a run."""


LEAST_PERCENTAGE = 2
"""From this value on, a threshold is a percentage; between 1 and this value it is ambiguous."""


def _fraction(value: float) -> float:
    """Convert a percentage to a fraction. Raises ValueError for an ambiguous value."""
    if 1 < value < LEAST_PERCENTAGE:
        raise ValueError(f"write {value / 100:g} if {value:g} % is meant, or {value / 10:g} if it is not")
    return value / 100 if value > 1 else value


Asking = Literal["all", "adaptive"]
"""Which instances are asked in the first iteration: all, or as many as needed."""

OnPartial = Literal["answer", "fail"]
"""The treatment of an iteration with too few responses."""


class Rules(FrozenModel):
    """The rules for the arbiter, the iterations, and the end of a run.

    The sentence under a field is its help text at every door.
    """

    arbiter: str | None = None
    """Model that judges, or "model|backup"; default: the first member's."""

    system_prompt: str | None = None
    """Members' system prompt; default: a built-in one."""

    confidence_threshold: Annotated[float, Field(ge=0, le=100), AfterValidator(_fraction)] = 0.8
    """Confidence that ends the run: 0-1 or a percentage."""

    max_iterations: int = Field(default=3, ge=1, le=MAX_ITERATIONS)
    """Maximum iterations."""

    min_iterations: int = Field(default=1, ge=1, le=MAX_ITERATIONS)
    """Minimum iterations."""

    strategy: str = "refine"
    """Who is asked what in each iteration."""

    judging_method: str = "synthesize"
    """How responses become a verdict."""

    stop_on: StopOn = "arbiter"
    """Figures that must reach the threshold."""

    check_order: bool = True
    """Near the threshold, judge again in reversed order."""

    embedding_model: str | None = Field(default=None, min_length=1)
    """llm embedding model by which vote compares meanings."""

    group_answers: bool = False
    """vote, peer_rank: the arbiter groups what rules cannot compare."""

    quorum: int | None = Field(default=None, ge=1, le=MAX_INSTANCES)
    """Responses before silence counts; default: more than half."""

    patience_seconds: float | None = Field(default=None, gt=0, le=MOST_SECONDS)
    """Silence that drops a member; default: its model's history."""

    min_responses: int | None = Field(default=None, ge=1, le=MAX_INSTANCES)
    """Fewest responses for a full answer; default: all."""

    on_partial: OnPartial = "answer"
    """With fewer: answer and say so, or fail."""

    choices: Sequence[str] | None = Field(default=None, min_length=2, max_length=26)
    """Options of choose."""

    ask: Asking = "all"
    """Ask all at once, or the cheapest first."""

    llm_options: dict[str, Any] | None = None
    """llm options of members and arbiter; a member's own win."""

    def given_rules(self) -> dict[str, Any]:
        """The rules that were given explicitly, without defaults."""
        return {name: getattr(self, name) for name in Rules.model_fields if name in self.model_fields_set}
