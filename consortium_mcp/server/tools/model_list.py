"""The result of list_models."""

from consortium_mcp._util.frozen_model import FrozenModel


class ModelSummary(FrozenModel):
    """A model that llm knows here."""

    model: str
    aliases: tuple[str, ...]
    plugin: str
    problem: str | None
    """Why it cannot be used now and what to do; null if it can."""

    input_usd: float | None = None
    """US dollars for a million tokens of questions; null if unknown."""

    output_usd: float | None = None
    """US dollars for a million tokens of replies; null if unknown."""


class ModelList(FrozenModel):
    """Models, usable ones first."""

    models: tuple[ModelSummary, ...]
    default: str | None
    """The consortium or model for consults that name none; null if there is none."""
