"""Finds verdicts written as labelled lines: Markdown (`**Synthesis:** …`, headings, table rows), YAML, TOML."""

import re
import textwrap
from typing import Any

from consortium_mcp.engine.judging.candidates import Candidate
from consortium_mcp.engine.judging.fields import NAMES, name_of

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


def labelled_verdicts(reply: str, main: str) -> list[Candidate]:
    """The fields after labels, each up to the next label; a verdict must state its confidence."""
    lowered = reply.lower()
    if not any(word in lowered for word in _OF_CONFIDENCE):
        return []
    labels = [found for found in _LABEL.finditer(reply) if _is_label(found)]
    fields: dict[str, Any] = {}
    decided = len(reply)
    ends = [following.start() for following in labels[1:]] + [len(reply)]
    for label, end in zip(labels, ends, strict=False):
        name = name_of(label["name"]) or ""
        rest = label["rest"].rstrip(" \t|") if label["row"] else label["rest"]
        fields[name] = _value(rest, reply[label.end() : end], name)
        decided = end if name in (main, "confidence") else decided
    if not fields.get(main) or not fields.get("confidence"):
        return []
    words_before = reply[: labels[0].start()].strip(" \n`-#*:yamljson")
    if words_before and all(one["name"].lower() in _WEAK for one in labels if name_of(one["name"]) == main):
        return []  # "So 6 x 7 is it.\nAnswer: 42": the text before the label belongs to the answer
    return [Candidate(labels[0].start(), len(reply), fields, decided, fields.get("mark", ""))]


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
