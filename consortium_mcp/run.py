"""The record: Ask, CallSpec, CallResult, MemberResponse, Verdict, Iteration, Run, Progress, AnswerPiece."""

from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import Field, JsonValue

from consortium_mcp.confidence import find_confidence
from consortium_mcp.consortium import Consortium, alternatives
from consortium_mcp.record import Record
from consortium_mcp.uris import run_uri, transcript_uri

Status = Literal["running", "converged", "exhausted", "deadline", "budget", "failed", "cancelled", "interrupted"]
"""How a run stands or ended; the one field that says so."""

ErrorKind = Literal[
    "auth",
    "billing",
    "rate_limit",
    "timeout",
    "network",
    "server",
    "model_unavailable",
    "context_length",
    "content_filter",
    "empty",
    "truncated",
    "invalid_reply",
    "cancelled",
    "internal",
]
"""Why a call gave no usable text."""


_REFUSALS = ("auth", "billing", "rate_limit", "server", "model_unavailable", "context_length")


class Turn(Record):
    """One earlier message of a conversation that a prompt continues."""

    role: Literal["user", "assistant"]
    """Who said it."""

    text: str
    """What was said."""


class Ask(Record):
    """One built question to one instance."""

    instance: int
    """Which instance of the model, from 1, counted over all members that name it."""

    model: str
    """The llm model id or alias, as the consortium names it."""

    prompt: str
    """The text that is sent."""

    system: str | None
    """The system prompt that is sent beside it; None means none."""

    options: dict[str, JsonValue]
    """llm options for this call."""

    response: str | None = None
    """What it says, where nobody has to be asked; None asks the model."""

    @property
    def label(self) -> str:
        """How people see the instance, as in `gpt-5#2`."""
        return f"{alternatives(self.model)[0]}#{self.instance}"


class CallSpec(Record):
    """Everything that one model call needs, as plain JSON: no key, no object."""

    call_id: str
    """Readable and the same on every replay: `i1/m3`, `i1/arbiter`, `i1/arbiter/repair1`."""

    iteration: int
    """The iteration that it belongs to, from 1."""

    label: str
    """Who is asked, for people: an instance, as in `gpt-5#2`, or the arbiter, as in `gpt-5 (arbiter)`."""

    model: str
    """The llm model id or alias."""

    prompt: str
    """The text that is sent."""

    system: str | None = None
    """The system prompt; None means none."""

    history: tuple[Turn, ...] = ()
    """Earlier turns of the conversation, oldest first."""

    options: dict[str, JsonValue] = {}
    """llm options for this call."""

    output_schema: dict[str, Any] | None = None
    """The JSON schema that the reply must follow; None means free text."""

    response: str | None = None
    """What it says, where nobody has to be asked; None asks the model."""

    @property
    def is_spare(self) -> bool:
        """Whether the run is as complete without it: the verdict asked for again in reversed order."""
        return "/arbiter/reversed" in self.call_id

    @property
    def asks_member(self) -> bool:
        """Whether an instance is asked, and not the arbiter."""
        return self.call_id.partition("/")[2].startswith("m")


class CallResult(Record):
    """What one model call gave: text, or an error with its kind; a truncated reply has both."""

    text: str | None = None
    """The reply; None when there was none."""

    error_kind: ErrorKind | None = None
    """Why there is no usable text; None when there is."""

    error: str | None = None
    """The error in one sentence; None when there was none."""

    finish_reason: str | None = None
    """The provider's own word for why it stopped; None when it gave none."""

    resolved_model: str | None = None
    """The model that the provider says answered; None when it does not say."""

    input_tokens: int | None = None
    """Tokens of the question, as the provider counts; None when it does not."""

    output_tokens: int | None = None
    """Tokens of the reply, as the provider counts; None when it does not."""

    answered_by: str | None = None
    """The backup model that answered; None when it was the one that was asked."""

    retry_after_seconds: float | None = None
    """How long the provider asks us to wait; None when it does not say."""

    duration_ms: int = 0
    """From sending to the last chunk, in milliseconds."""

    datetime_utc: str = ""
    """When the call began, ISO 8601 in UTC."""

    @property
    def ok(self) -> bool:
        """Whether there is text to use; a truncated text is used, and marked."""
        return bool(self.text) and self.error_kind in (None, "truncated")

    @property
    def was_refused(self) -> bool:
        """Whether the provider turned the question down before it wrote anything, so that nothing was used."""
        return not self.text and self.error_kind in _REFUSALS


class MemberResponse(CallResult):
    """What one instance gave in one iteration."""

    response_id: str
    """Its place in the run, as in `i1/m3`."""

    label: str
    """Which instance, as in `gpt-5#2`."""

    model: str
    """The llm model id or alias, as the consortium names it."""

    stated_confidence: float | None = None
    """The instance's own trust in its response, 0.0-1.0; None when it stated none that can be read."""

    late: bool = False
    """Whether the iteration went on without it; it may stand for its instance in the next one."""

    cost_usd: float | None = None
    """US dollars of all attempts at it, as the store knows them; None when the cost of any is unknown."""

    @property
    def ok(self) -> bool:
        """Whether the arbiter could read it in its iteration."""
        return super().ok and not self.late

    @classmethod
    def of(
        cls,
        response_id: str,
        label: str,
        model: str,
        result: CallResult | None,
        late: bool = False,
        cost_usd: float | None = None,
    ) -> "MemberResponse":
        """What the reader of a run sees of one call to an instance; a result of None is still awaited."""
        result = result or CallResult(error_kind="timeout", error="Not there when the iteration went on.")
        stated = find_confidence(result.text).value if result.ok and result.text else None
        known = {**result.model_dump(), "response_id": response_id, "label": label, "model": model, "late": late}
        return cls(**known, stated_confidence=stated, cost_usd=cost_usd)


class Votes(Record):
    """The responses that came to the same final answer."""

    answer: str
    """It, in the form in which equal answers are equal."""

    response_ids: tuple[str, ...]
    """Whose, in the declared order."""


class Claim(Record):
    """One statement on which responses differ."""

    claim: str
    """It, in one sentence."""

    supported_by: tuple[str, ...] = ()
    """The instances that hold it, as in `gpt-5#2`."""

    opposed_by: tuple[str, ...] = ()
    """The instances that hold the contrary."""

    quote_for: str = ""
    """What one that holds it says."""

    quote_against: str = ""
    """What one that holds the contrary says."""


class Verdict(Record):
    """What was made of one iteration's responses: by the arbiter, or by the members themselves."""

    synthesis: str
    """The combined answer."""

    confidence: float | None = None
    """The arbiter's stated trust in this synthesis, 0.0-1.0; None when it cannot be read."""

    analysis: str = ""
    """Why the arbiter combined the responses in this way."""

    dissent: str = ""
    """Disagreement that is not folded into the synthesis; empty when there is none."""

    claims: tuple[Claim, ...] = ()
    """The disagreement as data; empty when there is none, or when the arbiter cannot give it."""

    needs_iteration: bool = False
    """Whether the arbiter asks for another iteration."""

    refinement_areas: tuple[str, ...] = ()
    """What the next iteration should work on."""

    problem: str | None = None
    """Why the reply, or its confidence, could not be read; None when all was read."""

    chosen: str | None = None
    """The response whose text the synthesis is; None when it was written by the arbiter."""

    ranking: tuple[str, ...] = ()
    """All judged responses, the best first; empty when they were not ordered."""

    votes: tuple[Votes, ...] = ()
    """Who came to the same answer, the largest group first; empty when nobody counted."""


class Measures(Record):
    """What was measured of an iteration, beside the arbiter's own figure."""

    agreement_within: float | None = None
    """How far the instances of one model agree, 0.0-1.0; None when no model has two."""

    agreement_across: float | None = None
    """How far different models agree, 0.0-1.0; None when there is only one."""

    stated_confidence: float | None = None
    """The mean of the members' own trust in their responses, 0.0-1.0; None when none stated it."""

    order_held: bool | None = None
    """Whether the verdict was the same with the responses in reversed order; None when it was not asked again."""


class Iteration(Record):
    """Members asked once, then the arbiter once."""

    number: int
    """Which one, from 1."""

    responses: tuple[MemberResponse, ...]
    """One for each instance, in the order of the consortium."""

    shown_order: tuple[int, ...] = ()
    """The places (from 0) of the responses in the order in which the arbiter saw them."""

    verdict: Verdict | None = None
    """What the arbiter made of them; None when it could not be asked or gave nothing."""

    judged_by: str | None = None
    """The backup or member that gave the verdict in the arbiter's place; None when it was the arbiter."""

    arbiter_error: str | None = None
    """Why there is no verdict, in one sentence; None when there is one."""

    raw_verdict: str | None = None
    """The arbiter's reply, untouched; None when there was none."""

    measures: Measures | None = None
    """What was measured of it; None until it is judged."""

    @property
    def confidence(self) -> float | None:
        """The verdict's confidence; None without one."""
        return self.verdict.confidence if self.verdict else None


class Usage(Record):
    """What the run's calls used."""

    calls: int = 0
    """Model calls made, failed ones included."""

    input_tokens: int | None = None
    """Tokens of all questions; None when no provider counted them."""

    output_tokens: int | None = None
    """Tokens of all replies; None when no provider counted them."""

    cost_usd: float | None = None
    """US dollars; None when the price of any of the calls is unknown."""


class Budget(Record):
    """What may be spent; None means no limit."""

    max_calls: int | None = Field(default=None, ge=1)
    """Model calls, every attempt counted."""

    max_tokens: int | None = Field(default=None, ge=1)
    """Tokens of questions and replies together."""

    max_cost_usd: float | None = Field(default=None, gt=0)
    """US dollars."""


class Run(Record):
    """One consultation, from prompt to answer."""

    run_id: str
    """A ULID."""

    status: Status
    """How it stands or ended."""

    prompt: str
    """The caller's text, untouched."""

    history: tuple[Turn, ...] = ()
    """Earlier turns of the conversation that the prompt continues, oldest first."""

    consortium_name: str | None = None
    """The saved consortium that was consulted; None for one given inline."""

    consortium: Consortium
    """The definition as it was when the run was opened, its arbiter resolved."""

    shuffle_seed: int
    """Decides in which order the arbiter sees the responses."""

    fence_mark: str
    """The random word that fences the responses in the arbiter's question."""

    output_schema: dict[str, Any] | None = None
    """The JSON schema that the answer follows; None means free text."""

    follow_up_to: str | None = None
    """The run whose conversation it continues; None for one that begins its own."""

    replay_of: str | None = None
    """The run whose responses are judged again; None for a run of its own."""

    deadline_utc: str
    """When it must have ended, ISO 8601 in UTC; later for one that is resumed."""

    deadline_seconds: float = 600
    """How long it was given, from its opening or its resuming to its deadline."""

    budget: Budget = Budget()
    """What it may spend."""

    iterations: tuple[Iteration, ...] = ()
    """In order; the last one may still be without a verdict."""

    selected_iteration: int | None = None
    """The iteration whose synthesis is the answer, from 1; None without an answer."""

    answer: str | None = None
    """What the caller gets; None while running and when the run failed."""

    confidence: float | None = None
    """The arbiter's trust in the answer, 0.0-1.0; None when it could not be read."""

    dissent: str = ""
    """Disagreement that is not folded into the answer."""

    degraded: tuple[str, ...] = ()
    """What is missing from a full answer, a sentence each; empty when it is whole."""

    error: str | None = None
    """Why the run failed, in one sentence; None when it did not."""

    usage: Usage = Usage()
    """What its calls used so far."""

    caller: str | None = None
    """The name of the caller whose run it is; None where no token was asked for."""

    created_utc: str
    """When it was opened, ISO 8601 in UTC."""

    ended_utc: str | None = None
    """When it was closed; None while it is open."""

    @property
    def uri(self) -> str:
        """The MCP resource that holds this record."""
        return run_uri(self.run_id)

    @property
    def transcript_uri(self) -> str:
        """The MCP resource that holds the run as a text to read."""
        return transcript_uri(self.run_id)


class RunOutline(Record):
    """What a list shows of a run."""

    run_id: str
    """A ULID."""

    status: Status
    """How it stands or ended."""

    prompt: str
    """Its first 200 characters."""

    consortium_name: str | None
    """The saved consortium that was consulted; None for one given inline."""

    confidence: float | None
    """The arbiter's trust in the answer, 0.0-1.0; None when unknown."""

    created_utc: str
    """When it was opened, ISO 8601 in UTC."""

    ended_utc: str | None
    """When it was closed; None while it is open."""

    @property
    def uri(self) -> str:
        """The MCP resource that holds the record."""
        return run_uri(self.run_id)


class Rating(Record):
    """What somebody says afterwards about a run's answer."""

    run_id: str
    """The run."""

    score: float = Field(ge=0, le=1)
    """0.0 (wrong) to 1.0 (correct)."""

    note: str | None = Field(default=None, max_length=10_000)
    """In words; None means none."""


class CallProgress(Record):
    """How far one call of the iteration under way is."""

    label: str
    """Who is asked, for people: an instance, as in `gpt-5#2`, or the arbiter, as in `gpt-5 (arbiter)`."""

    asks_member: bool
    """Whether an instance is asked, and not the arbiter."""

    state: Literal["thinking", "waiting", "answered", "failed"]
    """`waiting` is between two attempts."""

    error_kind: ErrorKind | None = None
    """Why it failed, or why it is tried again; None when it did not."""

    began_utc: str | None = None
    """When its last attempt began, ISO 8601 in UTC; None when it was not asked."""

    duration_ms: int | None = None
    """How long its last attempt took; None while that is under way."""

    tokens: int | None = None
    """Of its question and its reply; None when they are not counted, or not yet."""

    @property
    def is_open(self) -> bool:
        """Whether its result is still awaited."""
        return self.state in ("thinking", "waiting")


class Progress(Record):
    """How far a run is."""

    status: Status
    """How the run stands."""

    iteration: int
    """The iteration that is under way, from 1; 0 before the first."""

    calls_done: int
    """Calls of the whole run that gave their result."""

    calls: tuple[CallProgress, ...] = ()
    """Those of this iteration: the instances in the order of the consortium, then whoever judges."""

    @property
    def responses_expected(self) -> int:
        """How many responses this iteration will have."""
        return sum(call.asks_member for call in self.calls)

    @property
    def responses_done(self) -> int:
        """How many of them are there."""
        return self.responses_expected - len(self.waiting_for)

    @property
    def waiting_for(self) -> tuple[str, ...]:
        """The instances that are still awaited, as in `gpt-5#2`."""
        return tuple(call.label for call in self.calls if call.asks_member and call.is_open)

    @property
    def arbiter_asked(self) -> bool:
        """Whether the arbiter is reading this iteration's responses."""
        return not all(call.asks_member for call in self.calls)

    @property
    def message(self) -> str:
        """One line for a person: `2 of 3 responses; waiting for gpt-5#2`."""
        if self.status != "running":
            return f"ended: {self.status}"
        if self.iteration == 0:
            return "starting"
        prefix = f"iteration {self.iteration}: " if self.iteration > 1 else ""
        if self.arbiter_asked:
            return f"{prefix}{self.responses_done} of {self.responses_expected} responses; the arbiter reads them"
        message = f"{prefix}{self.responses_done} of {self.responses_expected} responses"
        if self.waiting_for:
            shown = ", ".join(self.waiting_for[:3]) + (" …" if len(self.waiting_for) > 3 else "")
            message += f"; waiting for {shown}"
        return message


class AnswerPiece(Record):
    """A further piece of the answer, told while its arbiter writes it."""

    text: str
    """The pieces together are the beginning of the answer, unless the arbiter's reply breaks off or cannot be read."""


def now_utc() -> str:
    """The time now, ISO 8601 in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
