"""Presets: rules that are known to work together, by name; a rule that is given beside one wins over it."""

from typing import Any, Literal

from consortium_mcp._util.frozen_model import FrozenModel

PresetName = Literal["self_consistency", "panel", "vote", "choose", "review"]
"""What a preset is called."""


class Preset(FrozenModel):
    """Rules under one name."""

    description: str
    """When to take it, and what it costs, in one or two sentences."""

    rules: dict[str, Any]
    """What it sets."""

    count: int | None = None
    """How many instances of each model without a count are asked; None leaves it as it is."""


PRESETS: dict[PresetName, Preset] = {
    "self_consistency": Preset(
        description=(
            "Five samples of your one best model, judged by itself: for hard questions with one right answer. "
            "It costs 6 calls."
        ),
        rules={"judging_method": "synthesize", "max_iterations": 1},
        count=5,
    ),
    "panel": Preset(
        description=(
            "Different models and an arbiter: for open questions, where models err differently. "
            "It costs one call for each model and one more, at most twice."
        ),
        rules={"judging_method": "synthesize", "strategy": "refine", "max_iterations": 2},
    ),
    "vote": Preset(
        description=(
            "The most frequent answer wins: for closed questions with a short answer. "
            "It costs more than half of the calls, and the others only on disagreement."
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
            "Findings with place and severity, merged, each with who raised it: for a text or a diff. "
            "It costs one call for each instance and one more."
        ),
        rules={"judging_method": "review", "max_iterations": 1},
    ),
}
"""Those that ship, by name."""
