"""What `llm -m <consortium> -o` takes: the fields of a request that llm has no way of its own for."""

from typing import Any

import llm
from pydantic import Field, create_model

from consortium_mcp.records.request import ConsultRequest, written_type

NOT_OPTIONS = ("prompt", "consortium", "models", "count", "history", "output_schema")
"""Fields that llm gives in its own way: the prompt, `-m`, the conversation and `--schema`."""

_FIELDS: dict[str, Any] = {
    name: (written_type(field) | None, Field(default=None, description=field.description))
    for name, field in ConsultRequest.model_fields.items()
    if name not in NOT_OPTIONS
}

ConsortiumOptions = create_model("ConsortiumOptions", __base__=llm.Options, **_FIELDS)
"""What can be set for one prompt; what is not set is as it was saved."""
