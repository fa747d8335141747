"""Presets: rules that work together, by name; an explicit rule overrides the preset."""

from typing import Any, Literal

from consortium_mcp._util.frozen_model import FrozenModel

PresetName = Literal["self_consistency", "panel", "vote", "choose", "review"]
"""The names of the presets."""


class Preset(FrozenModel):
    """Rules under one name."""

    description: str
    """The use of the preset and its cost, in one or two sentences."""

    rules: dict[str, Any]
    """The rules that the preset sets."""

    count: int | None = None
    """The number of instances of each model without a count; None leaves the number unchanged."""


PRESETS: dict[PresetName, Preset] = {
    "self_consistency": Preset(
        description=(
            "Five samples of your best model, judged by the same model: for hard questions with one right answer. "
            "It costs 6 calls."
        ),
        rules={"judging_method": "synthesize", "max_iterations": 1},
        count=5,
    ),
    "panel": Preset(
        description=(
            "Different models and an arbiter: for open questions, because different models make different errors. "
            "It costs one call for each model and one for the arbiter, at most twice."
        ),
        rules={"judging_method": "synthesize", "strategy": "refine", "max_iterations": 2},
    ),
    "vote": Preset(
        description=(
            "The most frequent answer wins: for closed questions with a short answer. "
            "It costs more than half of the calls, and the others only if the models disagree."
        ),
        rules={"judging_method": "vote", "max_iterations": 1, "ask": "adaptive"},
        count=3,
    ),
    "choose": Preset(
        description=(
            "A ballot over the options in `choices`: for decisions among given options. "
            "It costs one call for each instance."
        ),
        rules={"judging_method": "choose", "max_iterations": 1},
        count=3,
    ),
    "review": Preset(
        description=(
            "Merged findings with place, severity and the members that raised them: for a text or a diff. "
            "It costs one call for each instance and one for the arbiter."
        ),
        rules={"judging_method": "review", "max_iterations": 1},
    ),
}
"""Our presets by name."""
