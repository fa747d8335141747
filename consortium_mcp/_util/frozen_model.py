"""The base class of all records: frozen, strict about its fields, with a sentence for each field."""

from pydantic import BaseModel, ConfigDict


class FrozenModel(BaseModel):
    """A frozen value; a change makes a new record."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
