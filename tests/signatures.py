"""The request's fields as keyword arguments of the Python API: `make generate` writes the module."""

import inspect
import json
import types
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from consortium_mcp import api
from consortium_mcp.records.request import ConsultRequest, DefinitionRequest

HEAD = '"""Generated from request.py by `make generate`: what Python callers give by keyword."""'

Names = set[tuple[str, str]]
"""What has to be imported: (module, name)."""


def terms_module() -> str:
    """The source of `records/terms.py`."""
    named = {"count", *inspect.signature(api.create_consortium).parameters}
    consult = {name: field for name, field in ConsultRequest.model_fields.items() if name != "prompt"}
    further = {name: field for name, field in DefinitionRequest.model_fields.items() if name not in named}
    used: Names = {("typing", "TypedDict")}
    classes = [
        _class("ConsultTerms", "What `consult` takes beside the prompt.", consult, used),
        _class("FurtherRules", "What `create_consortium` takes beside llm-consortium's parameters.", further, used),
    ]
    modules = sorted({module for module, _ in used}, key=lambda module: (module.startswith("consortium_mcp"), module))
    imports = [f"from {one} import {', '.join(sorted(n for module, n in used if module == one))}" for one in modules]
    first_of_ours = next(at for at, one in enumerate(modules) if one.startswith("consortium_mcp"))
    head = [HEAD, "", *imports[:first_of_ours], "", *imports[first_of_ours:]]
    return "\n".join([*head, *classes]) + "\n"


def _class(name: str, sentence: str, fields: dict[str, FieldInfo], used: Names) -> str:
    lines = ["", "", f"class {name}(TypedDict, total=False):", f'    """{sentence}"""']
    for field_name, field in fields.items():
        text = _text(field.annotation, used)
        optional = text if text.endswith("| None") else f"{text} | None"
        lines += ["", f"    {field_name}: {optional}", f'    """{field.description}"""']
    return "\n".join(lines)


def _text(annotation: Any, used: Names) -> str:
    """A type as it stands in source; what it names is added to what is used."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return " | ".join(_text(one, used) for one in arguments)
    if annotation is types.NoneType:
        return "None"
    named = origin or annotation
    if named.__module__ != "builtins":
        used.add((named.__module__, _name(named)))
    inner = [json.dumps(one) if origin is Literal else _text(one, used) for one in arguments]
    return _name(named) + (f"[{', '.join(inner)}]" if inner else "")


def _name(named: Any) -> str:
    return str(getattr(named, "__name__", None) or named._name)
