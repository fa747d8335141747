"""The rules of a consortium. A rule is defined here once; every door, the saved definition and the docs read it."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from consortium_mcp._util.frozen_model import FrozenModel
from consortium_mcp.settings import MOST_SECONDS

MAX_ITERATIONS = 100

MAX_BACKUPS = 16
"""How many backups a member or an arbiter may have."""

MAX_INSTANCES = 256

StopOn = Literal["arbiter", "agreement", "both"]
"""What can be looked at to see whether an answer is good enough."""


LEAST_PERCENTAGE = 2
"""From here on a threshold is a percentage; what is above 1 and below may be either."""


def _fraction(value: float) -> float:
    """Read a percentage as a fraction. Raises ValueError for what may be either."""
    if 1 < value < LEAST_PERCENTAGE:
        raise ValueError(f"write {value / 100:g} if {value:g} % is meant, or {value / 10:g} if it is not")
    return value / 100 if value > 1 else value


Asking = Literal["all", "adaptive"]
"""How many instances can be asked in the first iteration: all, or as many as it takes."""

OnPartial = Literal["answer", "fail"]
"""What can become of an iteration with too few responses."""


class Rules(FrozenModel):
    """Who judges, how often the members are asked, and when the answer is good enough.

    The sentence under a field is its help text at every door.
    """

    arbiter: str | None = None
    """Model that judges, or "model|backup"; default: the first member's model."""

    system_prompt: str | None = None
    """System prompt for the members; default: a built-in one."""

    confidence_threshold: Annotated[float, Field(ge=0, le=100), AfterValidator(_fraction)] = 0.8
    """Confidence that ends the run: 0-1, or a percentage above 1."""

    max_iterations: int = Field(default=3, ge=1, le=MAX_ITERATIONS)
    """Maximum iterations."""

    min_iterations: int = Field(default=1, ge=1, le=MAX_ITERATIONS)
    """Minimum iterations; raises the default maximum."""

    strategy: str = "refine"
    """Who is asked what in each iteration."""

    judging_method: str = "synthesize"
    """How responses become a verdict."""

    stop_on: StopOn = "arbiter"
    """Figures that must reach the threshold."""

    check_order: bool = True
    """Near the threshold, judge a second time in reversed order."""

    embedding_model: str | None = Field(default=None, min_length=1)
    """llm embedding model; vote compares meanings with it."""

    quorum: int | None = Field(default=None, ge=1, le=MAX_INSTANCES)
    """Quorum: responses before silence counts; default: more than half."""

    patience_seconds: float | None = Field(default=None, gt=0, le=MOST_SECONDS)
    """Silence that drops a member after the quorum; default: by its model's history."""

    min_responses: int | None = Field(default=None, ge=1, le=MAX_INSTANCES)
    """Fewest responses for a full answer; default: all."""

    on_partial: OnPartial = "answer"
    """With fewer responses: answer and say so, or fail."""

    choices: Sequence[str] | None = Field(default=None, min_length=2, max_length=26)
    """Options of the judging method choose."""

    ask: Asking = "all"
    """Ask all members at once, or the cheapest first and more on disagreement."""

    llm_options: dict[str, Any] | None = None
    """llm options of all members and the arbiter; a member's own options win."""

    def given_rules(self) -> dict[str, Any]:
        """The rules that were given, without those that stand at their default because nothing was said."""
        return {name: getattr(self, name) for name in Rules.model_fields if name in self.model_fields_set}
