"""Separates the thinking in a reply from the reply, in the forms that models and servers use."""

import json
import re
from bisect import bisect
from collections.abc import Callable
from typing import NamedTuple

_TAGS = "think|thinking|thought|reasoning|scratchpad|seed:think|antthinking|inner_monologue"

_MARK = re.compile(
    r"(?<!`)(?:"  # a mark in a line of code is only quoted
    rf"(?P<tag></?(?:{_TAGS})\b[^<>]*>)"
    r"|(?P<calls>to=[\w.:-]{1,100}\s{0,9}<\|channel\|>[^<>]{0,80}(?:<\|constrain\|>[^<>]{0,20})?<\|message\|>"
    r"|<\|channel\|>\s{0,9}\w{1,20}\s{1,9}to=[^<>]{1,150}(?:<\|constrain\|>[^<>]{0,20})?<\|message\|>)"
    r"|(?P<boxes><\|(?:begin|end)_of_box\|>)"
    r"|(?P<opens>\[THINK\]|◁think▷|<\|(?:start_thinking|begin_of_thought|thinking|inner_prefix)\|>"
    r"|<unused94>(?:thought)?"
    r"|<\|channel\|>\s*(?:analysis|commentary|thought|thinking)\b[^<>]{0,80}<\|message\|>|<\|channel>\s*thought\b)"
    r"|(?P<closes>\[/THINK\]|◁/think▷|<\|(?:end_thinking|end_of_thought|/thinking|inner_suffix)\|>|<unused95>"
    r"|<channel\|>)"
    r"|(?P<answers><\|channel\|>\s*final\b[^<>]{0,80}(?:<\|constrain\|>[^<>]{0,20})?<\|message\|>"
    r"|<\|(?:start_response|end_response|begin_of_solution|end_of_solution)\|>)"
    r"|(?P<ends><\|end\|>|<\|return\|>|<\|call\|>)(?:\s{0,9}<\|start\|>\s{0,9}assistant)?"
    r"|(?P<starts><\|start\|>\s{0,9}assistant)"
    r")",
    re.IGNORECASE,
)

_MAY_BE_MARKED = re.compile(r"[<◁]|\[/?think\]|assistant(?:final|commentary to=)", re.IGNORECASE)
"""A part of every mark; a text without it need not be searched for each mark."""

_HARMONY_WITHOUT_MARKS = re.compile(
    r"\s*analysis(?=\S)(?P<thinking>.*?)(?:assistantfinal|(?=assistantcommentary to=))", re.DOTALL
)
"""The Harmony form of gpt-oss, if a server has removed its marks."""

_CODE_BLOCK = re.compile(r"^```\w*\n(?:(?!```).*\n)*?```[ \t]*$", re.MULTILINE)

_END_MARKS = (
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|end|>",
    "<|return|>",
    "<|eot|>",
    "<end_of_turn>",
    "<eos>",
    "</s>",
    "<\uff5cend\u2581of\u2581sentence\uff5c>",
    "<|END_OF_TURN_TOKEN|>",
    "<|endofturn|>",
    "<|stop|>",
    "<|user|>",
    "<|observation|>",
    "<turn|>",
)
"""End marks that servers leave after a reply."""

_NEXT_TURN = re.compile(
    r"(?:<\|im_end\|>|<\|eot_id\|>|<end_of_turn>)\s{0,9}(?:<\|im_start\|>|<\|start_h|<start_of_turn>)"
    r"|</s>\s{0,9}(?:<s>\s{0,9})?\[INST\]|<\uff5cend\u2581of\u2581sentence\uff5c>\s{0,9}<\uff5cUser\uff5c>"
    r"|(?<![`\"' ])(?:<\|user\|>|<\uff5cUser\uff5c>)"
)
"""The beginning of a turn that the model invented after its reply."""

_OWN_TURN = re.compile(
    r"\s*(?:<\|im_start\|>\s{0,9}assistant\b(?:<\|im_sep\|>)?"
    r"|<\|(?:start_header_id|header_start|start_of_role)\|>\s{0,9}assistant\s{0,9}<\|\w{1,20}\|>"
    r"|<start_of_turn>\s{0,9}model\b|<\|assistant\|>|<\uff5cAssistant\uff5c>)"
)
"""The text that a server leaves before the reply, from the beginning of its turn."""


class Split(NamedTuple):
    """A reply in two parts."""

    thinking: str
    """The model's thinking; empty if it shows none."""

    text: str
    """The reply without the thinking and its end marks."""


def split_thinking(text: str) -> Split:
    """The reply and its thinking, nested blocks included.

    An unclosed block extends to the end. A closing tag without an opening tag (some chat templates remove it) ends a
    block that began with the text. Marks in a line of code, or in a closed block of code, are text.
    """
    if not _MAY_BE_MARKED.search(text):
        return Split("", text.strip())
    if plain := _HARMONY_WITHOUT_MARKS.match(text):
        return Split(plain["thinking"].strip(), without_end_marks(text[plain.end() :]))
    kept: list[str] = []
    thought: list[str] = []
    depth = position = 0
    in_code = _places_in_code(text)
    for mark in _MARK.finditer(text):
        if depth == 0 and in_code(mark.start()):
            continue
        (thought if depth else kept).append(text[position : mark.start()])
        position = mark.end()
        if _closes(mark):
            if depth == 0:
                thought += kept
                kept.clear()
            depth = max(0, depth - 1)
        elif mark["answers"]:
            depth = 0
        elif mark["calls"]:  # of a tool: neither thinking nor answer
            depth = 0
            kept.append(mark[0])
        elif mark["boxes"]:
            continue
        elif mark["ends"]:
            if depth == 0:
                kept.append(mark["ends"])
            depth = 0
        elif mark["opens"] or (mark["tag"] and not mark[0].endswith("/>")):
            depth += 1
        elif mark["tag"]:
            (thought if depth else kept).append(mark[0])
    (thought if depth else kept).append(text[position:])
    return Split("".join(thought).strip(), without_end_marks("".join(kept)))


def _places_in_code(text: str) -> Callable[[int], bool]:
    """A function that tells whether a position is inside a closed block of code."""
    blocks = [block.span() for block in _CODE_BLOCK.finditer(text)]
    begins = [begin for begin, _ in blocks]

    def is_in_code(place: int) -> bool:
        before = bisect(begins, place)
        return before > 0 and place < blocks[before - 1][1]

    return is_in_code


def told_apart(reply: str) -> Split:
    """A complete reply and its thinking; a reply without marks, or in JSON, is unchanged."""
    if is_json(reply):
        return Split("", reply)
    found = split_thinking(reply)
    return found if found.thinking or found.text != reply.strip() else Split("", reply)


def strip_thinking(text: str) -> str:
    """The reply without its thinking."""
    return split_thinking(text).text


def outside_thinking(reply: str) -> str:
    """The reply without its thinking; a reply that is one JSON value has none."""
    return reply if is_json(reply) else strip_thinking(reply)


def is_json(reply: str) -> bool:
    """Whether the whole reply is JSON."""
    if not reply.lstrip().startswith(("{", "[")):
        return False
    try:
        json.loads(reply, strict=False)
    except (ValueError, RecursionError):
        return False
    return True


def without_end_marks(text: str) -> str:
    """The reply without the marks of its turn's beginning and end, and without turns that follow them."""
    if own := _OWN_TURN.match(text):
        text = text[own.end() :]
    if following := _NEXT_TURN.search(text):
        text = text[: following.start()]
    text = text.strip()
    end = len(text)
    while mark := next((mark for mark in _END_MARKS if text.endswith(mark, 0, end)), None):
        end -= len(mark)
        while end and text[end - 1].isspace():
            end -= 1
    return text[:end]


def later_turns(reply: str) -> str:
    """The text after the point where `without_end_marks` cuts a reply; empty if it cuts none."""
    following = _NEXT_TURN.search(reply)
    return reply[following.end() :] if following else ""


def _closes(mark: re.Match[str]) -> bool:
    return bool(mark["closes"]) or bool(mark["tag"] and mark["tag"].startswith("</"))
