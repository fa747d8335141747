"""Shortens the schemas of tools/list, because each client pays for every token."""

from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]

_INPUT_KEYS = ("type", "enum", "items", "description", "default", "anyOf")
"""The keywords that an argument's schema keeps; limits cost tokens in every session and are reported on violation."""

_OUTPUT_KEYS = ("type", "enum", "items", "prefixItems", "properties")


def input_schema(schema: Schema) -> Schema:
    """The input schema of a tool, closed to further arguments; a nullable argument becomes optional."""
    arguments = {name: _short_argument(argument) for name, argument in schema.get("properties", {}).items()}
    required = {"required": schema["required"]} if "required" in schema else {}
    return {"type": "object", "properties": arguments, **required, "additionalProperties": False}


def with_choices(schema: Schema, choices: Mapping[str, Schema]) -> Schema:
    """The schema with the current choices.

    Args:
        choices: by argument name: an `enum`, or a further sentence for its description.
    """
    arguments = {name: _with_choice(one, choices.get(name, {})) for name, one in schema["properties"].items()}
    return {**schema, "properties": arguments}


def output_schema(schema: Schema, spelled_out: set[str]) -> Schema:
    """The output schema of a tool: names and types; the tool's description explains them once.

    Args:
        spelled_out: the records and enumerations that earlier tools of the same list have shown. Here they are
            shortened to objects and strings, and newly shown ones are added.
    """
    return _short_output(schema, schema.get("$defs", {}), spelled_out)


def _short_argument(schema: Schema) -> Schema:
    given, _ = _without_null(schema)
    return {
        key: _short_argument(value) if key == "items" else value
        for key, value in given.items()
        if key in _INPUT_KEYS and (key, value) != ("default", None)
    }


def _with_choice(argument: Schema, choice: Schema) -> Schema:
    description = f"{argument.get('description', '')} {choice.get('description', '')}".strip()
    return {**argument, **choice, "description": description}


def _short_output(schema: Schema, defs: Mapping[str, Schema], spelled_out: set[str]) -> Schema:
    given, nullable = _without_null(schema)
    if "$ref" in given:
        record = given["$ref"].rpartition("/")[2]
        given = {"type": "object"} if record in spelled_out else defs[record]
        spelled_out.add(record)
    short = {key: given[key] for key in _OUTPUT_KEYS if key in given}
    if (words := " ".join(short.get("enum", []))) in spelled_out:
        short.pop("enum", None)
    spelled_out.add(words)
    if "properties" in short:
        short["properties"] = {
            name: _short_output(field, defs, spelled_out) for name, field in given["properties"].items()
        }
    if "items" in short:
        short["items"] = _short_output(given["items"], defs, spelled_out)
    if "prefixItems" in short:
        short["prefixItems"] = [_short_output(item, defs, spelled_out) for item in given["prefixItems"]]
    return _with_null(short) if nullable else short


def _without_null(schema: Schema) -> tuple[Schema, bool]:
    """The schema of the value without null, and whether null is allowed."""
    variants = schema.get("anyOf", [])
    values = [variant for variant in variants if variant.get("type") != "null"]
    if len(values) == 1 and len(variants) == 2:
        around = {key: value for key, value in schema.items() if key != "anyOf"}
        return {**values[0], **around}, True
    return schema, False


def _with_null(schema: Schema) -> Schema:
    nullable = {**schema, "type": [schema["type"], "null"]}
    if "enum" in schema:
        nullable["enum"] = [*schema["enum"], None]
    return nullable
