"""Finds the answer in a response: the marked answer, else the whole text."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import dropwhile

from consortium_mcp.text.answers.labels import gives_answer, is_pleasantry, labelled, weakly_labelled
from consortium_mcp.text.answers.plain import plain, powers_with_carets
from consortium_mcp.text.confidence_line import without_confidence
from consortium_mcp.text.thinking import strip_thinking

SEARCHED_CHARACTERS = 20_000
"""The number of characters at a response's end in which its answer is searched."""

ANSWER_CHARACTERS = 2_000
"""The most characters of an answer that are read, except code."""

_SENTENCE_END = re.compile(r"(?<=[^\W_]{3}[.!?])\s+(?=[^\W_a-z(\"'*]|\()|(?<=\d[.!?])\s+(?=[A-Z])|(?<=[。！？])")
_BOXED = "\\boxed"
_ITEM = re.compile(r"(?:[-*•]|\(?(?:\d{1,2}|[a-hA-H]|[ivx]{1,4})[.):]|part \(?\w+\)?:?|step \d+:?)\s", re.IGNORECASE)
_FENCE = re.compile(r"(```+|~~~+)\s?([\w+#-]*)[^`]*")


@dataclass(frozen=True)
class Line:
    """A line of a response, or a block of code."""

    text: str
    """The line without outer blanks; the source of a block."""

    language: str | None = None
    """The language of a block, empty if its fence names none; None for a line of text."""


@dataclass(frozen=True)
class Found:
    """The answer of a response, as written."""

    text: str
    """A few lines; empty if the answer is code."""

    is_marked: bool
    """Whether the response marks it as its answer."""

    blocks: tuple[tuple[str, str], ...]
    """The language and the source of each block, if the answer is code."""

    beside: str
    """The text of the response beside its code, without thinking, confidence and pleasantries."""


def found_in(response: str) -> Found:
    """The answer in a response; if several are marked, the last one."""
    response = without_confidence(strip_thinking(response)[-SEARCHED_CHARACTERS:])
    lines = _without_pleasantries(lines_of(response))
    beside = "\n".join(line.text for line in lines if line.language is None and line.text)
    marked = _marked(lines, beside)
    if marked is not None:
        return marked if marked.blocks else Found(marked.text, True, (), beside)
    blocks = tuple((line.language, line.text) for line in lines if line.language is not None and line.text)
    if blocks:
        return Found("", False, blocks, beside)
    last = _last_alone(beside)
    return Found(last or beside, last is not None, (), beside)


def lines_of(text: str) -> list[Line]:
    """The lines, with each fenced block as one; an unclosed fence extends to the end."""
    lines: list[Line] = []
    block: list[str] = []
    fence, language = "", ""
    for raw in text.splitlines():
        stripped = raw.strip()
        if fence:
            if stripped.startswith(fence) and not stripped.strip("`~"):
                lines.append(Line("\n".join(block), language))
                fence, block = "", []
            else:
                block.append(raw)
        elif (opening := _FENCE.fullmatch(stripped)) is not None:
            fence, language = opening[1], opening[2].lower()
        else:
            lines.append(Line(" ".join(stripped.split())))
    if fence and block:
        lines.append(Line("\n".join(block), language))
    return lines


def _without_pleasantries(lines: Sequence[Line]) -> list[Line]:
    kept = list(lines)
    while kept and (kept[-1].language is None):
        sentences = sentences_of(kept[-1].text)
        while sentences and (is_pleasantry(sentences[-1]) or not sentences[-1].strip("-*_ ")):
            sentences.pop()
        if sentences:
            if len(kept) == 1 or " ".join(sentences) != kept[-1].text:
                kept[-1] = Line(" ".join(sentences))
            break
        kept.pop()
    return kept or list(lines)


def sentences_of(text: str) -> list[str]:
    """The sentences of a line; initials and short abbreviations do not end a sentence."""
    return [sentence for sentence in _SENTENCE_END.split(text) if sentence]


def _marked(lines: Sequence[Line], beside: str) -> Found | None:
    """The last answer that is marked by a tag, a box or a label.

    A sentence like `the answer is clear` counts only at the end, and only without another mark.
    """
    tagged = _tagged(beside)
    if tagged is not None:
        return Found(tagged, True, (), beside)
    end = max((at for at, line in enumerate(lines) if line.text), default=-1)
    mentioned: Found | None = None
    for at in range(end, -1, -1):
        line = lines[at]
        if line.language is not None:
            continue
        if _BOXED in line.text:
            return Found(_boxed(line.text), True, (), beside)
        bare = powers_with_carets(line.text).replace("**", "").replace("__", "").lstrip("#>-*•_ ").rstrip("*_ ")
        label = labelled(bare)
        content = label.text if label else (weakly_labelled(bare) if at >= end - 2 else None)
        found = None if content is None else _after_label(content, lines[at + 1 :], beside)
        if found is None:
            continue
        if label is None or not label.is_sentence or gives_answer(label.text):
            return found
        mentioned = found if at == end else mentioned
    return mentioned


def _tagged(text: str) -> str | None:
    lower = text.lower()
    end = lower.rfind("</answer>")
    start = lower.rfind("<answer>", 0, end) if end >= 0 else -1
    return text[start + len("<answer>") : end].strip() or None if start >= 0 else None


def _boxed(line: str) -> str:
    """The content of a line's last box; with adjacent boxes, separated by separators only, as a list."""
    held: list[str] = []
    position = line.find(_BOXED)
    while position >= 0 and len(held) < 20:
        start = line.find("{", position)
        if start < 0:
            break
        end, depth = start, 0
        while end < len(line):
            depth += (line[end] == "{") - (line[end] == "}")
            end += 1
            if depth == 0:
                break
        held.append(line[start + 1 : end - 1 if depth == 0 else end])
        position = line.find(_BOXED, end)
        if position >= 0 and line[end:position].strip(" ,;$&").lower() not in ("", "and", "or"):
            held.clear()
    return ", ".join(held)


def _after_label(content: str, following: Sequence[Line], beside: str) -> Found | None:
    """The answer after a label: the rest of its line with the items below it; else the paragraph or code below it."""
    content = content.strip("*_ ")
    if content:
        if _ITEM.match(content):
            content = "\n".join([content, *_items(following)])
        return Found(content, True, (), beside)
    rest = list(dropwhile(lambda line: not line.text, following))
    if not rest:
        return None
    if rest[0].language is not None:
        return Found("", True, ((rest[0].language, rest[0].text),), beside)
    paragraph: list[str] = []
    for line in rest:
        if not line.text or line.language is not None:
            break
        paragraph.append(line.text)
    return Found("\n".join(paragraph), True, (), beside)


def _items(following: Sequence[Line]) -> list[str]:
    items: list[str] = []
    for line in following:
        if line.language is not None or not _ITEM.match(line.text):
            break
        items.append(line.text)
    return items


def _last_alone(text: str) -> str | None:
    """The last line, if it is an answer by itself: fully emphasised, or only a number or a letter."""
    lines = [line for line in text.splitlines() if line]
    if not lines:
        return None
    last = lines[-1]
    bare = last.strip("*_` .")
    is_emphasised = last[:2] in ("**", "__") and last.rstrip(".")[-2:] in ("**", "__") and "**" not in bare
    is_bare = (
        len(lines) > 1 and len(plain(last[:80])) <= 12 and (any(one.isdecimal() for one in bare) or len(bare) == 1)
    )
    if not (is_emphasised or is_bare) or _ITEM.match(last) or not bare:
        return None
    return last
