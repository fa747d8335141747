"""The fields of a request: consortium or models, rules, budget, terms.

Every door takes its parameters from these fields: tools, commands, `llm -o`, the Python API.
"""

from collections.abc import Callable, Mapping, Sequence
from types import NoneType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo

from consortium_mcp._util.frozen_model import FrozenModel
from consortium_mcp.errors import InvalidConsortiumError
from consortium_mcp.records.attachment import AttachmentFile
from consortium_mcp.records.call import Turn
from consortium_mcp.records.consortium import Consortium, define, parse_members
from consortium_mcp.records.presets import PRESETS, PresetName
from consortium_mcp.records.rules import MAX_INSTANCES, Rules
from consortium_mcp.records.run import Budget
from consortium_mcp.settings import MOST_SECONDS

MAX_ATTACHMENTS = 50
"""How many files a question may have."""


class Question(FrozenModel):
    """The question and the saved consortium."""

    prompt: str
    """The question with all that it needs; members see nothing else."""

    consortium: str | Consortium | None = None
    """Name of a saved consortium."""


class Who(FrozenModel):
    """The models to ask, if no saved consortium is named."""

    models: Sequence[str] | None = None
    """Each "model:count {llm options} as role" or "model|backup"; "client" is the MCP client's model."""

    count: int = Field(default=1, ge=1, le=MAX_INSTANCES)
    """Instances of each model without a count."""

    def inline(self, is_model: Callable[[str], bool]) -> Consortium:
        """A consortium of the named models, with the default rules. Raises InvalidConsortiumError.

        Args:
            is_model: whether a text is a known model id or alias.
        """
        preset_count = PRESETS[self.preset].count if self.preset and "count" not in self.model_fields_set else None
        members = parse_members(self.models or (), is_model, preset_count or self.count)
        return define(members=[member.model_dump() for member in members])

    preset: PresetName | None = None
    """Preset of rules; given rules win."""

    @property
    def preset_rules(self) -> dict[str, Any]:
        """The rules of the preset; empty without one."""
        return PRESETS[self.preset].rules if self.preset else {}

    @field_validator("models")
    @classmethod
    def _at_least_one(cls, models: Sequence[str] | None) -> Sequence[str] | None:
        """Refuse an empty list; doors whose callers send an empty list for "none" leave it out."""
        if models is not None and not models:
            raise ValueError("name at least one model")
        return models

    @model_validator(mode="before")
    @classmethod
    def _leave_out_none(cls, data: Any) -> Any:
        """None means "not given", at every door."""
        return {name: value for name, value in data.items() if value is not None} if isinstance(data, dict) else data


class DefinitionRequest(Rules, Who):
    """The fields of a definition to save."""

    description: str | None = None
    """Purpose of the consortium."""

    def define(self, is_model: Callable[[str], bool]) -> Consortium:
        """The definition from these fields. Raises InvalidConsortiumError.

        Args:
            is_model: whether a text is a known model id or alias.
        """
        named = {"description": self.description} if self.description is not None else {}
        return self.inline(is_model).with_rules(self.preset_rules | self.given_rules() | named)


class ConsultRequest(Budget, Rules, Who, Question):
    """The fields of a consult."""

    attachments: Sequence[str] | Sequence[str | AttachmentFile] = Field(default=(), max_length=MAX_ATTACHMENTS)
    """Files for the members: path, URL or data: URI each."""

    follow_up_to: str | None = None
    """Run id: continue its conversation, with its consortium unless one is named."""

    own_answer: str | None = None
    """Your own answer, judged anonymously beside the members'."""

    history: Sequence[Turn] = ()
    """Earlier turns of the conversation, oldest first."""

    output_schema: dict[str, Any] | None = None
    """JSON schema of the answer."""

    deadline_seconds: float | None = Field(default=None, gt=0, le=MOST_SECONDS)
    """Seconds for the whole run; default 600."""

    @property
    def budget(self) -> Budget:
        """The budget of the run."""
        return Budget(**{name: getattr(self, name) for name in Budget.model_fields})


Request = TypeVar("Request", DefinitionRequest, ConsultRequest)

_TAKES = {
    "prompt": "it takes a text",
    "models": 'it takes a list of one or more, as in ["gpt-5:2", "claude-opus-5"]',
    "count": f"it takes a whole number from 1 to {MAX_INSTANCES}",
    "confidence_threshold": "it must be between 0 and 1, or a percentage up to 100",
    "attachments": f"it takes a list of at most {MAX_ATTACHMENTS} paths, URLs, data: URIs or AttachmentFile objects",
    "history": 'it takes a list of turns, as in [Turn(role="user", text="…")]',
    "deadline_seconds": f"give a number above 0 and at most {MOST_SECONDS}",
}
"""The accepted values of a field, where pydantic's own message would be unclear."""


def read_request(kind: type[Request], fields: Mapping[str, Any]) -> Request:
    """The request from a door's arguments; None leaves a field out.

    Raises:
        InvalidConsortiumError: a field is unknown or has a wrong type; one sentence says which.
    """
    try:
        return kind.model_validate(dict(fields))
    except ValidationError as error:
        problem = error.errors()[0]
    name = str(problem["loc"][0])
    if problem["type"] == "missing":
        raise InvalidConsortiumError(f"{name} is missing.")
    rule = str(problem["msg"]).removeprefix("Value error, ")
    if name != "confidence_threshold" or problem["type"] != "value_error":
        rule = _TAKES.get(name, rule)
    raise InvalidConsortiumError(f"{name} is {repr(fields[name])[:80]}: {rule}.")


_ONLY_IN_PYTHON = (NoneType, Consortium, Sequence[str | AttachmentFile])
"""Types that a Python caller alone gives for a field."""


def written_type(field: FieldInfo) -> Any:
    """The type that a caller gives for a field, with its limits; a consortium is given by name."""
    kind = bare_type(field)
    return Annotated[(kind, *field.metadata)] if field.metadata else kind


def bare_type(field: FieldInfo) -> Any:
    """The same type without its limits."""
    arms = [arm for arm in _arms(field.annotation) if arm not in _ONLY_IN_PYTHON]
    return Union[tuple(arms)]  # noqa: UP007 - the arms are known only at run time


def choices_of(field: FieldInfo) -> tuple[str, ...]:
    """The words that a field accepts; empty if it also accepts other words."""
    return next((get_args(arm) for arm in _arms(field.annotation) if get_origin(arm) is Literal), ())


def _arms(annotation: Any) -> tuple[Any, ...]:
    """The alternatives of a union type."""
    is_union = isinstance(annotation, type(int | str)) or get_origin(annotation) is Union
    return get_args(annotation) if is_union else (annotation,)
