"""Finds verdicts written as labelled lines: Markdown (`**Synthesis:** …`, headings, table rows), YAML, TOML."""

import re
import textwrap
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from consortium_mcp.engine.judging.candidates import Candidate
from consortium_mcp.engine.judging.fields import NAMES, name_of
from consortium_mcp.engine.judging.origin import Origin

_ANY_NAME = "|".join(
    sorted((name.replace("_", "[ _-]?") for names in NAMES.values() for name in names), key=len, reverse=True)
)
_LABEL = re.compile(
    r"^[ \t]{0,8}(?:[^\w\s#*|`_\"'<>\[{(-]{1,3}[ \t]{1,4})?"
    r"(?P<lead>#{1,6}[ \t]{0,4}|[-*•][ \t]{1,4}|\d{1,2}[.)][ \t]{1,4}|(?P<row>\|)[ \t]{0,4})?"
    rf"(?P<strong>\*\*|__|[\"'`])?(?P<name>{_ANY_NAME})[ \t]{{0,4}}(?P<colon>[:=])?(?:\*\*|__|[\"'`])?"
    r"[ \t]{0,4}(?P<later>:|(?(row)\|))?(?P<rest>[^\n]*)"
    r"(?P<underline>\n[ \t]{0,3}(?:={3,}|-{3,})[ \t]*)?$",
    re.IGNORECASE | re.MULTILINE,
)
_OF_CONFIDENCE = {name.partition("_")[0] for name in NAMES["confidence"]}
_BLOCK_STYLE = re.compile(r"[|>][+-]?\d?")
_RULE = re.compile(r"(?:```\w*|---|\.\.\.)?")
_ONE_LINE = (
    "confidence",
    "completeness",
    "agreeing_responses",
    "contradicting_responses",
    "needs_iteration",
    "mark",
)
_WEAK = ("answer", "response")
_MOST_LABELS = 500  # the number of labels, from the end, that are searched for in the responses
_NEXT = 3  # the characters between two adjacent lines: their line ends, with one blank line between them


class _Label(NamedTuple):
    """A labelled line and its value, which extends to the next label."""

    start: int
    end: int
    name: str
    value: str

    is_weak: bool
    """Whether the name also begins ordinary answers, as `Answer:` does."""

    line_end: int
    """The index at which the first line of the value ends."""

    is_quoted: bool
    """Whether the name and the first line of the value stand in a text that the author was shown."""


def labelled_verdicts(reply: str, main: str, origin: Origin) -> list[Candidate]:
    """The fields after labels, each up to the next label; a verdict must state its confidence.

    A quoted label is no field. A label that repeats a field after a complete verdict begins the next verdict.
    """
    lowered = reply.lower()
    if not any(word in lowered for word in _OF_CONFIDENCE):
        return []
    every = _labels(reply, origin)
    own = _own(every, main)
    words_before = reply[: every[0].start].strip(" \n`-#*:yamljson") if every else ""
    if words_before and all(label.is_weak for label in own if label.name == main):
        return []  # "So 6 x 7 is it.\nAnswer: 42": the text before the label belongs to the answer
    found: list[Candidate] = []
    for labels in _verdicts(own, main):
        fields: dict[str, Any] = {label.name: label.value for label in labels}
        decided = max(label.end for label in labels if label.name in (main, "confidence"))
        found.append(Candidate(labels[0].start, labels[-1].end, fields, decided, fields.get("mark", "")))
    return found


def _labels(reply: str, origin: Origin) -> list[_Label]:
    matches = [found for found in _LABEL.finditer(reply) if _is_label(found)][-_MOST_LABELS:]
    ends = [following.start() for following in matches[1:]] + [len(reply)]
    labels: list[_Label] = []
    for found, end in zip(matches, ends, strict=False):
        name = name_of(found["name"]) or ""
        rest = found["rest"].rstrip(" \t|") if found["row"] else found["rest"]
        lines = reply[found.end() : end]
        blank = len(lines) - len(lines.lstrip())
        is_above = bool(rest.strip()) and not _BLOCK_STYLE.fullmatch(rest.strip())
        line = rest if is_above else lines.strip().partition("\n")[0]
        line_end = found.end() + (0 if is_above else blank + len(line))
        is_quoted = origin.has_field(found["name"], line)
        weak = found["name"].lower() in _WEAK
        labels.append(_Label(found.start(), end, name, _value(rest, lines, name), weak, line_end, is_quoted))
    return labels


def _own(labels: Sequence[_Label], main: str) -> list[_Label]:
    """The labels that are not quoted, and those that equal a text by chance.

    A quoted confidence on the line after an own main field belongs to it. Without an own main field, a quoted one on
    the line before an own confidence belongs to that. A quotation would contain both.
    """
    own = [not label.is_quoted for label in labels]
    has_main = any(label.name == main and not label.is_quoted for label in labels)
    for place, (one, other) in enumerate(pairwise(labels)):
        is_pair = (one.name, other.name) == (main, "confidence") and other.start - one.line_end <= _NEXT
        if is_pair and one.is_quoted != other.is_quoted and one.is_quoted != has_main:
            own[place] = own[place + 1] = True
    return [label for label, is_own in zip(labels, own, strict=True) if is_own]


def _verdicts(labels: Sequence[_Label], main: str) -> Iterator[list[_Label]]:
    """The complete verdicts among labels; in an incomplete one, a repeated field replaces the earlier one."""
    verdict: list[_Label] = []
    for label in labels:
        names = {one.name for one in verdict}
        if label.name in names and _is_complete(verdict, main):
            yield verdict
            verdict = []
        verdict = [*(one for one in verdict if one.name != label.name), label]
    if _is_complete(verdict, main):
        yield verdict


def _is_complete(labels: Sequence[_Label], main: str) -> bool:
    return {main, "confidence"} <= {label.name for label in labels if label.value}


def _is_label(found: re.Match[str]) -> bool:
    """Whether a line is a label and not a sentence: it has a colon, or it is a heading or bold text."""
    alone = not found["rest"].strip() and ("#" in (found["lead"] or "") or found["strong"] in ("**", "__"))
    alone = alone or (not found["rest"].strip() and bool(found["underline"]))
    return bool(found["colon"] or found["later"] or alone)


def _value(rest: str, lines: str, name: str) -> str:
    rest = rest.strip()
    if name in _ONE_LINE:
        return rest or next((line.strip() for line in lines.splitlines() if line.strip()), "")
    if _BLOCK_STYLE.fullmatch(rest):
        text = textwrap.dedent(lines.strip("\n"))
        return _trimmed(" ".join(text.split()) if rest.startswith(">") else text)
    text = _trimmed(f"{rest}\n{textwrap.dedent(lines)}")
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        text = text[1:-1]
    return "" if text in ("[]", "null", "~") else text


def _trimmed(text: str) -> str:
    """The text without leading and trailing blank lines, fences and rules."""
    lines = text.strip().splitlines()
    while lines and _RULE.fullmatch(lines[-1].strip()):
        lines.pop()
    while lines and not lines[0].strip():
        lines.pop(0)
    return "\n".join(lines).strip()
