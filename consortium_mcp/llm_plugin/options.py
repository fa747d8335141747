"""The options of `llm -m <consortium> -o`: the fields of a request that llm has no own way for."""

import json
from collections.abc import Sequence
from typing import Annotated, Any, get_origin

import llm
from pydantic import BeforeValidator, Field, create_model
from pydantic.fields import FieldInfo

from consortium_mcp.records.request import ConsultRequest, bare_type, written_type

NOT_OPTIONS = ("prompt", "consortium", "models", "count", "history", "attachments", "output_schema")
"""Fields that llm provides itself: the prompt, `-m`, `-a`, the conversation and `--schema`."""


def _json(value: Any) -> Any:
    """A typed JSON object or list; any other value is left to the field's own type."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _type(field: FieldInfo) -> Any:
    kind = written_type(field)
    return Annotated[kind, BeforeValidator(_json)] if get_origin(bare_type(field)) in (dict, Sequence) else kind


_FIELDS: dict[str, Any] = {
    name: (_type(field) | None, Field(default=None, description=field.description))
    for name, field in ConsultRequest.model_fields.items()
    if name not in NOT_OPTIONS
}

ConsortiumOptions = create_model("ConsortiumOptions", __base__=llm.Options, **_FIELDS)
"""The options of one prompt; an option that is not set keeps its saved value."""
