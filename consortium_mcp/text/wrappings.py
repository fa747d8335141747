"""Markup that a server leaves in a member's reply: tool calls that it did not parse, and a tag around the answer."""

import re
from typing import NamedTuple

_DSML = r"[\uff5c|\u2016]{1,2}\s?DSML[\uff5c|\u2016]{1,2}\s?"
"""The mark in DeepSeek's tags, in the spellings that servers send."""

_OPENS = (
    r"<(?:minimax:|antml:)?(?:tool_calls?|function_calls|toolcall)>"
    r"|<\|tool_calls_section_begin\|>|<\|tool_call_begin\|>|<\|tool_call\|?>|<\|python_tag\|>|<\|action_start\|>"
    r"|\[TOOL_CALLS\]|<\uff5ctool\u2581calls?\u2581begin\uff5c>"
    rf"|<{_DSML}\w{{1,20}}>"
)

_CALL = re.compile(
    r"(?<!`)(?:"
    rf"(?:(?:{_OPENS})\s{{0,9}}){{1,3}}(?:"
    r"(?=\[?\s{0,9}\{\s{0,9}\")"  # JSON
    r"|<function=(?P<qwen>[^<>]{1,100})>"
    r"|<invoke name=\"(?P<minimax>[^\"]{1,100})\""
    rf"|<{_DSML}invoke name=\"(?P<deepseek>[^\"]{{1,100}})\""
    r"|(?P<glm>[\w.:-]{1,100})\s{0,9}<arg_key>"
    r"|(?P<mistral>[\w.:-]{1,100})(?:\[CALL_ID\]\w{0,20})?\[ARGS\]"
    r"|(?P<kimi>[\w.:-]{1,100})\s{0,9}<\|tool_call_argument_begin\|>"
    r"|(?:function)?<\uff5ctool\u2581sep\uff5c>(?P<old_deepseek>[\w.:-]{1,100})"
    r"|(?P<deepseek_v31>[\w.:-]{1,100})<\uff5ctool\u2581sep\uff5c>)"
    rf"|<{_DSML}invoke name=\"(?P<bare>[^\"]{{1,100}})\""
    r"|<function=(?P<llama>[^<>]{1,100})>(?=\s{0,9}[{<])"
    r"|(?:<\|start\|>\s{0,9}assistant\s{0,9})?to=(?P<first>[\w.:-]{1,100})\s{0,9}<\|channel\|>[^<>]{0,80}"
    r"(?:<\|constrain\|>[^<>]{0,20})?<\|message\|>"
    r"|<\|channel\|>\s{0,9}\w{1,20}\s{1,9}to=(?P<harmony>[\w.:-]{1,100})[^<>]{0,40}"
    r"(?:<\|constrain\|>[^<>]{0,20})?<\|message\|>"
    r"|\A\s{0,9}(?:assistant)?commentary to=(?P<plain>[\w.:-]{1,100}?)\s{0,9}(?:json|code)?\s{0,9}(?=\{)"
    rf"|<{_DSML}\w{{1,20}}\s{{0,9}}\Z"  # of an open call, whose rest the server has consumed
    r")",
    re.IGNORECASE,
)
"""The beginning of a tool call, with the name of the tool; a tag in prose does not match."""

_CLOSES = re.compile(
    r"</(?:minimax:|antml:)?(?:tool_calls?|function_calls|toolcall|function|invoke)>"
    r"|<\|tool_calls_section_end\|>|<\|tool_call_end\|>|<\|/tool_call\|>|<tool_call\|>|<\|action_end\|>|<\|call\|>"
    r"|<\uff5ctool\u2581calls?\u2581end\uff5c>"
    rf"|</{_DSML}\w{{1,20}}>",
    re.IGNORECASE,
)

_IN_JSON = re.compile(r'"(?:name|function|tool|tool_name)"\s{0,9}:\s{0,9}"([^"]{1,100})"')

_CODE_BLOCK = re.compile(r"^```\w*\n(?:(?!```).*\n)*?```[ \t]*$", re.MULTILINE)

_AROUND_ALL = re.compile(r"\s*<(answer|response)>", re.IGNORECASE)


class Unwrapped(NamedTuple):
    """A member's answer without the markup around it."""

    text: str
    """The answer; empty if there was none."""

    tool: str | None
    """The name of the called tool; None without a call, empty if the call has no name."""


def unwrapped(text: str) -> Unwrapped:
    """A member's reply without tool calls in its text, and without a tag around the whole answer.

    Members have no tools, so a call without an answer beside it is a failure. A call in a block of code is text.
    """
    if (around := _AROUND_ALL.match(text)) and text.rstrip().endswith(f"</{around[1]}>"):
        inner = text.rstrip()[around.end() : -len(f"</{around[1]}>")]
        if f"<{around[1]}>" not in inner:
            return Unwrapped(inner.strip(), None)
    blocks = [block.span() for block in _CODE_BLOCK.finditer(text)]
    calls = (call for call in _CALL.finditer(text) if not any(begin <= call.start() < end for begin, end in blocks))
    call = next(calls, None)
    if call is None:
        return Unwrapped(text, None)
    last = next(iter(reversed([*_CLOSES.finditer(text, call.end())])), None)
    end = last.end() if last else len(text)
    name = next((found for found in call.groupdict().values() if found), None)
    in_json = None if name else _IN_JSON.search(text, call.end(), end)
    return Unwrapped((text[: call.start()] + text[end:]).strip(), name or (in_json[1] if in_json else ""))
