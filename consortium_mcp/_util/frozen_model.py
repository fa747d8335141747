"""What every record of ours is: frozen, strict about its fields, described sentence by sentence."""

from pydantic import BaseModel, ConfigDict


class FrozenModel(BaseModel):
    """A frozen value; a changed record is a new record."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
