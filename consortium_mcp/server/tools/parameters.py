"""Parameters that several tools share: the fields of a request, the waiting time, and the hints."""

import inspect
from collections.abc import Awaitable, Callable, Collection
from functools import wraps
from typing import Annotated, Any, TypeVar, cast

from mcp_types import ToolAnnotations
from pydantic import Field
from pydantic.fields import FieldInfo

from consortium_mcp.records.request import ConsultRequest, DefinitionRequest, read_request, written_type

Request = TypeVar("Request", DefinitionRequest, ConsultRequest)
Tool = TypeVar("Tool", bound=Callable[..., Awaitable[Any]])

NOT_IN_TOOLS = ("history",)
"""Fields without a tool parameter: an MCP client continues a conversation by `follow_up_to`."""

Wait = Annotated[
    float | None,
    Field(
        ge=0,
        le=600,
        description="Seconds to wait before returning status running. Default 45.",
    ),
]
RunId = Annotated[str, Field(description="Run id, its first characters, or its URI.")]


def takes(kind: type[Request], required: Collection[str]) -> Callable[[Tool], Tool]:
    """Add the fields of a request to a tool's parameters; the tool receives the request from the resolver of
    `gatherer`.

    Args:
        required: the required fields.
    """
    fields = _parameters(kind, required)
    names = {one.name for one in fields}

    def decorate(tool: Tool) -> Tool:
        @wraps(tool)
        async def called(**arguments: Any) -> Any:
            return await tool(**{name: value for name, value in arguments.items() if name not in names})

        _set_signature(called, _ordered([*inspect.signature(tool).parameters.values()], fields))
        return cast(Tool, called)

    return decorate


def gatherer(kind: type[Request], required: Collection[str]) -> Callable[..., Awaitable[Request]]:
    """The resolver that gathers a tool's arguments into its request."""

    async def gather_request(**arguments: Any) -> Request:
        return read_request(kind, arguments)

    _set_signature(gather_request, _parameters(kind, required))
    return gather_request


def _parameters(kind: type[Request], required: Collection[str]) -> list[inspect.Parameter]:
    """A parameter for each field."""
    return [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if name in required else None,
            annotation=_annotation(field, name in required),
        )
        for name, field in kind.model_fields.items()
        if name not in NOT_IN_TOOLS
    ]


def _annotation(field: FieldInfo, is_required: bool) -> Any:
    """The type of a field with its sentence; an optional field accepts null, and its sentence explains it."""
    known = "" if field.is_required() or field.default in (None, ()) else f" Default {str(field.default).lower()}."
    kind = written_type(field)
    return Annotated[kind if is_required else kind | None, Field(description=f"{field.description}{known}")]


def _ordered(own: list[inspect.Parameter], fields: list[inspect.Parameter]) -> list[inspect.Parameter]:
    """A tool's own parameters and the fields, required ones first."""

    def has_default(parameter: inspect.Parameter) -> bool:
        return parameter.default is not inspect.Parameter.empty

    needed = [one for one in own if not has_default(one)]
    return sorted([*needed, *fields, *(one for one in own if has_default(one))], key=has_default)


def _set_signature(function: Any, parameters: list[inspect.Parameter]) -> None:
    """Give a function these keyword parameters, where the SDK reads them."""
    keywords = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in parameters]
    returns = inspect.signature(function).return_annotation
    function.__signature__ = inspect.Signature(keywords, return_annotation=returns)
    function.__annotations__ = {one.name: one.annotation for one in keywords} | {"return": returns}


def hints(
    title: str, *, reads: bool = False, destroys: bool = False, again: bool = False, world: bool = False
) -> ToolAnnotations:
    """All four hints of a tool, because the default of a missing hint is the alarming one."""
    return ToolAnnotations(
        title=title, read_only_hint=reads, destructive_hint=destroys, idempotent_hint=again, open_world_hint=world
    )
