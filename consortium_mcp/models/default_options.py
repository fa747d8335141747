"""The options that `llm models options set` stores for a model, as llm's own prompts use them."""

import json

from pydantic import JsonValue

from consortium_mcp._util.lazy import llm


def load_default_options(model_id: str) -> dict[str, JsonValue]:
    """The default options of a model; empty if none are set, or if llm's file cannot be read, as in llm itself."""
    try:
        known = json.loads((llm.user_dir() / "model_options.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    options = known.get(model_id) if isinstance(known, dict) else None
    return options if isinstance(options, dict) else {}
