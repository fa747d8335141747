"""Normalises the arguments of MCP clients to the forms of the tool's schema."""

import json
import re
from collections.abc import Mapping
from typing import Any

CLIENTS_OWN = frozenset({"task_progress", "random_string"})
"""Arguments that clients (Cline, Cursor) add by themselves; they are ignored if the tool does not have them."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_LIST_ITEM = re.compile(r"(?:[^,{}]|\{[^{}]*\})+")
"""An item of a list in one text; commas between braces belong to a model's options."""

Schema = Mapping[str, Any]


def read_arguments(arguments: Mapping[str, Any], schema: Schema) -> dict[str, Any]:
    """The arguments in the forms of a tool's input schema; unreadable ones stay unchanged and are refused later.

    `null` and an empty text omit an optional argument. A list may be JSON in a text, or a text with commas. A model may
    be an object with `model`, `count` and `role`.
    """
    known, required = schema.get("properties", {}), schema.get("required", ())
    given = {
        name: _without_surrogates(value)
        for name, value in arguments.items()
        if name in known or name not in CLIENTS_OWN
    }
    present = {name: value for name, value in given.items() if name in required or value not in (None, "")}
    return {name: _read(value, known.get(name, {})) for name, value in present.items()}


def _read(value: Any, schema: Schema) -> Any:
    if schema.get("type") == "array" and schema.get("items", {}).get("type") == "string":
        return _texts(value)
    if schema.get("type") == "object" and isinstance(value, str):
        return _json(value, dict)
    return value


def _texts(value: Any) -> Any:
    """A list of texts."""
    if isinstance(value, str) and value.startswith("data:"):  # it has a comma
        return [value]
    if isinstance(value, str):
        parsed = _json(value, list)
        value = parsed if isinstance(parsed, list) else [part.strip() for part in _LIST_ITEM.findall(value)]
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list):
        return value
    return [_member(item) if isinstance(item, dict) else item for item in value if item not in (None, "")]


def _member(item: Mapping[str, Any]) -> Any:
    """`{"model": "m", "count": 2, "role": "skeptic"}`, or an object that is a file, as one text in our syntax."""
    if "model" not in item:
        return _attached(item) or item
    if not isinstance(item.get("model"), str) or item.keys() - {"model", "count", "role", "options"}:
        return item
    count = f":{item['count']}" if item.get("count") is not None else ""
    options = f" {json.dumps(item['options'])}" if item.get("options") else ""
    role = f" as {item['role']}" if item.get("role") else ""
    return f"{item['model']}{count}{options}{role}"


def _attached(item: Mapping[str, Any]) -> str | None:
    """`{"data": "aGk=", "mimeType": "image/png"}`, or `{"uri": "…"}`, as the text that means it; None for no file."""
    resource = item.get("resource")
    item = resource if isinstance(resource, dict) else item
    data = item.get("data") or item.get("blob")
    kinds = (item.get(name) for name in ("mimeType", "mime_type", "media_type", "type"))
    kind = next((one for one in kinds if isinstance(one, str) and "/" in one), None)
    if isinstance(data, str) and kind:
        return data if data.startswith("data:") else f"data:{kind};base64,{data}"
    places = (item.get(name) for name in ("uri", "url", "path"))
    return next((one for one in places if isinstance(one, str)), None)


def _json(text: str, kind: type) -> Any:
    """The JSON value in a text, if it has this type; else the text."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, kind) else text


def _without_surrogates(value: Any) -> Any:
    """The value without single surrogates, which cannot be stored or sent."""
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    return value
