"""The embedded model: a GGUF file, run in this process and offered to llm; it knows no consortium.

It imports llm and nothing else of this package. The rest of the package asks it through llm, and uses the names below.

errors.py     what can go wrong
weights.py    its file: fetched, found, checked
engine.py     llama.cpp in this process: loads the file at the first prompt, generates in parallel slots
model.py      the two llm models, sync and async

A module is imported when one of its names is first used: `local-model fetch` needs weights.py alone, and model.py
imports llm, which costs a second.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from consortium_mcp.models.local.engine import local_model_problem
    from consortium_mcp.models.local.errors import LocalModelError
    from consortium_mcp.models.local.model import register_local_model
    from consortium_mcp.models.local.weights import (
        WeightsProgress,
        WeightsStatus,
        chosen_weights,
        fetch_weights,
        weights_status,
    )

__all__ = [
    "LOCAL_MODEL_ID",
    "LocalModelError",
    "WeightsProgress",
    "WeightsStatus",
    "chosen_weights",
    "fetch_weights",
    "local_model_problem",
    "register_local_model",
    "weights_status",
]

LOCAL_MODEL_ID = "consortium-local"
"""llm's name of the embedded model."""

_HOMES = {
    "LocalModelError": "errors",
    "WeightsProgress": "weights",
    "WeightsStatus": "weights",
    "chosen_weights": "weights",
    "fetch_weights": "weights",
    "local_model_problem": "engine",
    "register_local_model": "model",
    "weights_status": "weights",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
