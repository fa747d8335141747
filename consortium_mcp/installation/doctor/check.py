"""What doctor found of one thing, and what mends it."""

from typing import Literal

from consortium_mcp._util.frozen_model import FrozenModel


class Check(FrozenModel):
    """What was found of one thing."""

    about: str
    """The thing."""

    state: Literal["ok", "warning", "problem"]
    """`warning`: something that may be wanted does not work; `problem`: something that is wanted does not."""

    found: str
    """What was found, in one sentence or a few words."""

    remedy: str | None = None
    """What mends it; None when nothing has to be mended, or when `found` says it."""
