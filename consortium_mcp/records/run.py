"""One run from prompt to answer: its budget, its usage, and its rating."""

from typing import Any, Literal

from pydantic import Field

from consortium_mcp._util.frozen_model import FrozenModel
from consortium_mcp.records.attachment import Attachment
from consortium_mcp.records.call import CallId, Turn
from consortium_mcp.records.consortium import Consortium
from consortium_mcp.records.iteration import Iteration
from consortium_mcp.records.uris import run_uri, transcript_uri
from consortium_mcp.settings import MOST

LONGEST_NOTE = 10_000
"""The most characters of a rating's note."""

Status = Literal["running", "converged", "exhausted", "deadline", "budget", "failed", "cancelled", "interrupted"]
"""The state of a run; no other field has it."""


class Usage(FrozenModel):
    """What the run's calls used."""

    calls: int = 0
    """Model calls made, failed ones included."""

    input_tokens: int | None = None
    """Tokens of all questions; None when no provider counted them."""

    output_tokens: int | None = None
    """Tokens of all replies; None when no provider counted them."""

    cost_usd: float | None = None
    """US dollars; None when the price of any of the calls is unknown."""

    def with_call(self, input_tokens: int | None, output_tokens: int | None, cost_usd: float | None) -> "Usage":
        """The usage with one more call; None means unknown."""
        return Usage(
            calls=self.calls + 1,
            input_tokens=_sum(self.input_tokens, input_tokens),
            output_tokens=_sum(self.output_tokens, output_tokens),
            cost_usd=None if self.cost_usd is None or cost_usd is None else self.cost_usd + cost_usd,
        )


def _sum(counted: int | None, tokens: int | None) -> int | None:
    """The sum of the known values; None if none is known."""
    return tokens if counted is None else counted + (tokens or 0)


class Budget(FrozenModel):
    """What may be spent; None means no limit."""

    max_calls: int | None = Field(default=None, ge=1, le=MOST)
    """Limit of model calls; each attempt counts."""

    max_tokens: int | None = Field(default=None, ge=1, le=MOST)
    """Limit of tokens, questions and replies together."""

    max_cost_usd: float | None = Field(default=None, gt=0, le=MOST)
    """Limit of US dollars."""


class Parent(FrozenModel):
    """The outer call of a nested run, whose member or arbiter is a consortium."""

    run_id: str
    """The run that makes the call."""

    call_id: CallId
    """The call id, as `i1/m3`."""


class Run(FrozenModel):
    """One consult, from prompt to answer."""

    run_id: str
    """A ULID."""

    status: Status
    """The status of the run."""

    prompt: str
    """The caller's unchanged text."""

    history: tuple[Turn, ...] = ()
    """Earlier turns of the conversation that the prompt continues, oldest first."""

    attachments: tuple[Attachment, ...] = ()
    """The files that came with the prompt."""

    consortium_name: str | None = None
    """The saved consortium that was consulted; None for one given inline."""

    consortium: Consortium
    """The definition at the opening of the run, with its arbiter."""

    shuffle_seed: int
    """Determines the order in which the arbiter sees the responses."""

    fence_token: str
    """The random word that fences the responses in the arbiter's question."""

    output_schema: dict[str, Any] | None = None
    """The JSON schema that the answer follows; None means free text."""

    follow_up_to: str | None = None
    """The run whose conversation it continues; None if it begins a conversation."""

    replay_of: str | None = None
    """The run whose responses it judges again; None if it is not a replay."""

    parent: Parent | None = None
    """The call that opened a nested run, and with which it ends; None for a caller's run."""

    deadline_utc: str
    """The deadline, ISO 8601 in UTC; a resumed run gets a later one."""

    deadline_seconds: float = 600
    """The time from the opening, or the last resumption, to the deadline."""

    budget: Budget = Budget()
    """The run's own budget."""

    iterations: tuple[Iteration, ...] = ()
    """The iterations in order; the last one may have no verdict yet."""

    selected_iteration: int | None = None
    """The iteration whose synthesis is the answer, from 1; None without an answer."""

    answer: str | None = None
    """The answer; None while the run is active, or if it failed."""

    confidence: float | None = None
    """The stated confidence in the answer, 0.0-1.0, bounded by the measurements; None if none could be read."""

    dissent: str = ""
    """Disagreement that the answer does not include."""

    degraded: tuple[str, ...] = ()
    """What the answer lacks, a sentence each; empty if it is complete."""

    error: str | None = None
    """Why the run failed, in one sentence; None if it did not fail."""

    usage: Usage = Usage()
    """The usage of its calls so far."""

    caller: str | None = None
    """The name of the caller that opened it; None if no token was needed."""

    created_utc: str
    """The opening of the run, ISO 8601 in UTC."""

    ended_utc: str | None = None
    """The end of the run, ISO 8601 in UTC; None while it is open."""

    short_text_models: frozenset[str] = Field(default=frozenset(), exclude=True)
    """The models that get the short texts, as the consortium names them; set while the run is active."""

    def gets_short_texts(self, model: str) -> bool:
        """Whether a model gets the short texts; `model` is its name in the consortium."""
        return model in self.short_text_models

    @property
    def uri(self) -> str:
        """The URI of the MCP resource with this record."""
        return run_uri(self.run_id)

    @property
    def transcript_uri(self) -> str:
        """The URI of the MCP resource with the run's transcript."""
        return transcript_uri(self.run_id)


class RunOutline(FrozenModel):
    """The entry of a run in a list."""

    run_id: str
    """A ULID."""

    status: Status
    """The status of the run."""

    prompt: str
    """The first 200 characters of the prompt."""

    consortium_name: str | None
    """The saved consortium that was consulted; None for one given inline."""

    confidence: float | None
    """Trust in the answer, 0.0-1.0, bounded by the measurements; None if unknown."""

    created_utc: str
    """The opening of the run, ISO 8601 in UTC."""

    ended_utc: str | None
    """The end of the run, ISO 8601 in UTC; None while it is open."""

    parent_run: str | None = None
    """The outer run that asked it; None for a caller's run."""

    @property
    def uri(self) -> str:
        """The URI of the MCP resource with the record."""
        return run_uri(self.run_id)


class Rating(FrozenModel):
    """A person's rating of a run's answer."""

    run_id: str
    """The run."""

    score: float = Field(ge=0, le=1)
    """0.0 (wrong) to 1.0 (correct)."""

    note: str | None = Field(default=None, max_length=LONGEST_NOTE)
    """The reason in words; None means no reason was given."""
