"""One model call: its question, its model, and its result."""

import re
from datetime import UTC, datetime
from typing import Any, Literal, Self

from pydantic import GetCoreSchemaHandler, JsonValue
from pydantic_core import CoreSchema, core_schema

from consortium_mcp._util.frozen_model import FrozenModel
from consortium_mcp.records.attachment import Attachment
from consortium_mcp.records.consortium import alternatives

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
    "broken_off",
    "invalid_reply",
    "invalid_request",
    "cancelled",
    "internal",
]
"""The kind of a call's failure."""


_REFUSALS = ("auth", "billing", "rate_limit", "server", "model_unavailable", "context_length", "invalid_request")


class CallId(str):
    """The place of a call in its run: the iteration, and the role in it; a replay gives the same id.

    `i1/m3` asks the third instance in iteration 1, `i1/arbiter` asks the arbiter, `i1/arbiter/repair1` asks it again.
    Raises ValueError for any other text.
    """

    __slots__ = ("iteration", "place", "what")

    iteration: int
    """The iteration, from 1."""

    what: str
    """The role of the call in its iteration, as `m3` or `arbiter/repair1`."""

    place: int | None
    """The instance's number in the iteration, from 1; None for a call to another model."""

    def __new__(cls, text: str) -> Self:
        parts = _CALL_ID.fullmatch(text)
        if parts is None:
            raise ValueError(f"{text[:40]!r} is not a call id; an example is i1/m3")
        call_id = super().__new__(cls, text)
        call_id.iteration, call_id.what = int(parts["iteration"]), parts["what"]
        call_id.place = int(parts["place"]) if parts["place"] else None
        return call_id

    @classmethod
    def of(cls, iteration: int, what: str) -> Self:
        """The id of a call in an iteration."""
        return cls(f"i{iteration}/{what}")

    @classmethod
    def of_member(cls, iteration: int, place: int) -> Self:
        """The id of the call to the instance at this place, from 1."""
        return cls.of(iteration, f"m{place}")

    @classmethod
    def of_segment(cls, segment: str) -> Self:
        """The id from a segment of a URI, as `i1-m3`, because a slash would end the segment."""
        return cls(segment.replace("-", "/"))

    def then(self, what: str) -> "CallId":
        """The id of a call that follows this one, as `repair1`."""
        return CallId(f"{self}/{what}")

    @property
    def asks_member(self) -> bool:
        """Whether the call asks an instance, not the arbiter."""
        return self.place is not None

    @property
    def segment(self) -> str:
        """The id as a segment of a URI, as `i1-m3`."""
        return self.replace("/", "-")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(cls, core_schema.str_schema())


_CALL_ID = re.compile(r"i(?P<iteration>[1-9]\d{0,8})/(?P<what>m(?P<place>[1-9]\d{0,8})|.+)", re.ASCII)


class Turn(FrozenModel):
    """One earlier message of a conversation that a prompt continues."""

    role: Literal["user", "assistant"]
    """The author of the turn."""

    text: str
    """The text of the turn."""

    attachments: tuple[Attachment, ...] = ()
    """The files that came with the turn."""


class Ask(FrozenModel):
    """One question to one instance."""

    instance: int
    """The number of the instance, from 1, counted over all members that name the model."""

    model: str
    """The llm model id or alias, as the consortium names it."""

    prompt: str
    """The text that is sent."""

    system: str | None
    """The system prompt that is sent with the prompt; None means none."""

    options: dict[str, JsonValue]
    """llm options for this call."""

    seed: int | None = None
    """The instance's seed, for a model that takes one; None for the only instance of its member."""

    response: str | None = None
    """A text that replaces the reply, as the caller's own answer; None asks the model."""

    @property
    def label(self) -> str:
        """The shown name of the instance, as in `gpt-5#2`."""
        return f"{alternatives(self.model)[0]}#{self.instance}"


class CallSpec(FrozenModel):
    """Everything that one model call needs, as plain JSON without keys and objects."""

    call_id: CallId
    """The place of the call in the run."""

    iteration: int
    """The iteration of the call, from 1."""

    label: str
    """The shown name: an instance, as in `gpt-5#2`, or the arbiter, as in `gpt-5 (arbiter)`."""

    model: str
    """The llm model id or alias."""

    prompt: str
    """The text that is sent."""

    system: str | None = None
    """The system prompt; None means none."""

    history: tuple[Turn, ...] = ()
    """Earlier turns of the conversation, oldest first."""

    attachments: tuple[Attachment, ...] = ()
    """The files that are sent with the prompt."""

    unseen: str | None = None
    """The files that are not sent, because the model does not take them, in words; None if there is none."""

    options: dict[str, JsonValue] = {}
    """llm options for this call."""

    seed: int | None = None
    """The seed, if the model takes one and the options name none; None lets the model choose."""

    output_schema: dict[str, Any] | None = None
    """The JSON schema that the reply must follow; None means free text."""

    response: str | None = None
    """A text that replaces the reply, as the caller's own answer; None asks the model."""

    @property
    def is_spare(self) -> bool:
        """Whether the run is complete without it: the second verdict in reversed order, or the grouping of answers."""
        return self.call_id.what.startswith(("arbiter/reversed", "grouping"))

    @property
    def asks_member(self) -> bool:
        """Whether the call asks an instance, not the arbiter."""
        return self.call_id.asks_member


class CallResult(FrozenModel):
    """The result of one model call: text, or an error with its kind; an incomplete reply has both."""

    text: str | None = None
    """The reply; None if there was none."""

    error_kind: ErrorKind | None = None
    """The kind of failure; None if there is a usable text."""

    error: str | None = None
    """The failure in one sentence; None if there was none."""

    thinking: str | None = None
    """The model's thinking before its reply, which is never judged; None if it showed none."""

    note: str | None = None
    """The change that the question needed for this model, in one sentence; None if it needed none."""

    unseen: str | None = None
    """The attachments that the model does not take, by name and type; None if it got all."""

    finish_reason: str | None = None
    """The provider's finish reason; None if it gave none."""

    resolved_model: str | None = None
    """The model that the provider names in its reply; None if it names none."""

    input_tokens: int | None = None
    """Tokens of the question, counted by the provider; None if it did not count."""

    output_tokens: int | None = None
    """Tokens of the reply, counted by the provider; None if it did not count."""

    answered_by: str | None = None
    """The backup model that answered; None if the named model answered."""

    retry_after_seconds: float | None = None
    """The wait that the provider asks for, in seconds; None if it states none."""

    first_piece_ms: int | None = None
    """Milliseconds from sending to the first piece of the reply or its thinking; None if nothing came."""

    duration_ms: int = 0
    """Milliseconds from sending to the last piece."""

    datetime_utc: str = ""
    """The start of the call, ISO 8601 in UTC."""

    @property
    def ok(self) -> bool:
        """Whether there is a usable text; a truncated text is usable, and marked."""
        return bool(self.text) and self.error_kind in (None, "truncated")

    @property
    def was_refused(self) -> bool:
        """Whether the provider rejected the question before it wrote anything, so that no tokens were used."""
        return not self.text and self.error_kind in _REFUSALS


def now_utc() -> str:
    """The current time, ISO 8601 in UTC, in milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
