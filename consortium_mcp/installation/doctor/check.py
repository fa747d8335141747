"""The result of one check of the doctor, and its repair."""

from typing import Literal

from consortium_mcp._util.frozen_model import FrozenModel


class Check(FrozenModel):
    """The result of one check."""

    about: str
    """The thing."""

    state: Literal["ok", "warning", "problem"]
    """`problem`: a part in use does not work; `warning`: an optional part does not work."""

    found: str
    """The finding, in one sentence or a few words."""

    remedy: str | None = None
    """The repair; None if nothing needs repair, or if `found` says it."""
