"""Limits of the texts in a request: one rule for tools, prompts, completions, resources and lists."""

from collections.abc import Iterator, Mapping
from typing import Any

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, CallToolResult, TextContent

SHORT = 2_000
"""The characters of a name, an id, a cursor, a URI, and of every other text that is not named below."""

LISTED = 20_000
"""The characters of everything in a list or an object of these fields."""

LISTS = frozenset({"models", "choices", "llm_options", "note", "resourceSubscriptions"})

LONG = frozenset({"prompt", "system_prompt", "own_answer", "output_schema", "description"}) | frozenset(
    {"question", "decision", "options", "criteria", "subject", "focus"}
)
"""Fields with the limit of a prompt; the last ones belong to our prompts."""

DEEPEST = 100
"""The largest depth of nested lists and objects."""


class Bounds:
    """Middleware that refuses a request with a text above its limit, before the text is used."""

    def __init__(self, longest: int, most_attached: int) -> None:
        """Use these limits.

        Args:
            longest: the most characters of a prompt.
            most_attached: the most bytes of all attachments; base64 has a third more characters.
        """
        self._longest = longest
        self._attached = LISTED + most_attached * 4 // 3

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Pass on a request if all its texts are within their limits."""
        problems = (self._why(name, value) for name, value in _texts(ctx.method, ctx.params or {}))
        problem = next(filter(None, problems), None)
        if problem and ctx.method == "tools/call":
            return CallToolResult(content=[TextContent(type="text", text=problem)], is_error=True)
        if problem:
            raise MCPError(INVALID_PARAMS, problem)
        return await call_next(ctx)

    def _why(self, name: str, value: Any) -> str | None:
        """Why a field is refused; None if it is not."""
        what = name[:40].replace("_", " ")
        limit = self._longest if name in LONG else LISTED if name in LISTS else SHORT
        limit = self._attached if name == "attachments" else limit
        length = _length(value, limit)
        if length is None:
            return f"The {what} is nested more than {DEEPEST} deep. Flatten it."
        if length <= limit:
            return None
        setting = " (CONSORTIUM_MAX_PROMPT_CHARS)" if name in LONG else ""
        setting = " (CONSORTIUM_MAX_ATTACHMENT_BYTES)" if name == "attachments" else setting
        return f"The {what} has {length} characters; {limit} are allowed{setting}. Shorten it."


def _texts(method: str, params: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The texts of a request by field name; none for a method without texts."""
    if method in ("tools/call", "prompts/get"):
        yield "name", params.get("name")
        yield from _fields(params.get("arguments"))
    elif method == "completion/complete":
        for part in ("ref", "argument"):
            yield from ((part, value) for _, value in _fields(params.get(part)))
        yield from (("argument", value) for _, value in _fields(params.get("context")))
    elif method == "subscriptions/listen":
        yield from _fields(params.get("notifications"))
    elif method.startswith("resources/") or method.endswith("/list"):
        yield from ((name, params[name]) for name in ("uri", "cursor") if name in params)


def _fields(value: Any) -> Iterator[tuple[str, Any]]:
    """The fields of an object and, as texts too, their names; none for other values."""
    if isinstance(value, Mapping):
        yield from value.items()
        yield from (("name", name) for name in value)


def _length(value: Any, limit: int) -> int | None:
    """The characters of a value, where a number or a bracket counts as one; above the limit, any larger number.

    None if the value is nested too deeply.
    """
    total, inside = 0, [(value, 0)]
    while inside and total <= limit:
        one, depth = inside.pop()
        if depth > DEEPEST:
            return None
        total += len(one) if isinstance(one, str) else 1
        if isinstance(one, Mapping):
            inside += ((part, depth + 1) for pair in one.items() for part in pair)
        elif isinstance(one, list):
            inside += ((part, depth + 1) for part in one)
    return total
