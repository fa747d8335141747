"""Splits lists and answers in parts into items; other modules parse the items."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_BULLET = re.compile(r"(?:[-*•‣]|\d{1,2}[.)]) (.+)")
_NUMBERED = re.compile(r"\d{1,2}[.)] ")
_PART = re.compile(
    r"(?:^|(?<=[\s;,.]))(?:(?:part|question|problem|q) ?\(?(\w{1,3})\)?|\(([a-h]|\d|[ivx]{1,4})\)|([a-h])\))"
    r"[:.]? +(?=\S)",
    re.IGNORECASE | re.MULTILINE,
)
_ASSIGNED = re.compile(r"([^\W\d]\w{0,12}) ?(?:=|:) ?([^=:]{1,80})")
_BRACKETS = {"(": ")]", "[": "])", "{": "}", "<": ">"}
_SEPARATOR = re.compile(r" ?[;,、，] ?(?:and |or |und |et |y |e )?|(?<=\S) (?:and|or|und|&(?!&)) | ?(?:→|->|>(?!=)) ?")
_DECIMAL_COMMA = re.compile(r"-?\d+,\d+")
_THOUSANDS = re.compile(r"[-$€£ ]{0,2}\d{1,3}(?:,\d{3})+(?:\.\d+)?(?: .{0,30})?")
_NUMBER = re.compile(r"-?\d[\d.,]*")
_ORDER = re.compile(r"→|->|>|\bfirst\b|\bthen\b|\bfollowed by\b")
_JOINED = re.compile(r" (?:and|or|und|&) ")
_LONGEST_ITEM = 10
_MOST_ITEMS = 60


@dataclass(frozen=True)
class Items:
    """A list, as written."""

    texts: tuple[str, ...]
    """The items."""

    is_ordered: bool
    """Whether the order is significant: in numbered lists, tuples, sequences."""

    brackets: str = ""
    """The enclosing brackets; empty without."""


@dataclass(frozen=True)
class Parts:
    """The answers to the parts of a question, as written."""

    labels: tuple[str, ...]
    """The labels in lower case, sorted."""

    texts: tuple[str, ...]
    """The text of each part, in the order of the labels."""


def parts_in(text: str) -> Parts | None:
    """The parts of an answer as `(a) 4 (b) 7`, `Part 1: x=2`, or `x = 2, y = 3`; None without parts."""
    found = list(_PART.finditer(text))
    if len(found) >= 2 and not text[: found[0].start()].strip():
        labels = [next(filter(None, part.groups())).lower() for part in found]
        ends = [part.start() for part in found[1:]] + [len(text)]
        texts = [text[part.end() : end].strip(" ,;\n") for part, end in zip(found, ends, strict=True)]
        return _sorted_parts(labels, texts) if all(texts) else None
    pieces = [piece.strip() for piece in re.split(r"[\n;,]| and ", text) if piece.strip()]
    assigned = [_ASSIGNED.fullmatch(piece.rstrip(".")) for piece in pieces]
    if 2 <= len(pieces) <= _MOST_ITEMS and all(assigned):
        return _sorted_parts([one[1].lower() for one in assigned if one], [one[2] for one in assigned if one])
    return None


def _sorted_parts(labels: Sequence[str], texts: Sequence[str]) -> Parts | None:
    if len(set(labels)) < len(labels):
        return None
    order = sorted(range(len(labels)), key=lambda at: labels[at])
    return Parts(tuple(labels[at] for at in order), tuple(texts[at] for at in order))


def items_in(text: str) -> Items | None:
    """The items of a list: lines with bullets or numbers, or short texts between commas; None for any other text."""
    lines = [line for line in text.splitlines() if line]
    if len(lines) > 1 and lines[0].endswith(":") and not _BULLET.fullmatch(lines[0]):
        lines = lines[1:]
    bullets = [_BULLET.fullmatch(line) for line in lines]
    if 2 <= len(lines) <= _MOST_ITEMS and all(bullets):
        is_numbered = all(_NUMBERED.match(line) for line in lines)
        return Items(tuple(one[1].strip() for one in bullets if one), is_numbered)
    line = " ".join(lines).strip().rstrip(".")
    return _inline(line.rpartition(": ")[2] if ": " in line else line)


def _inline(text: str) -> Items | None:
    text, brackets = _without_brackets(text)
    if not brackets and (
        _DECIMAL_COMMA.fullmatch(text)
        or _THOUSANDS.fullmatch(text)
        or len(text) > 600
        or text.lower().startswith("between ")
    ):
        return None
    pieces = [piece.strip() for piece in _SEPARATOR.split(text)]
    texts = [piece for piece in pieces if piece]
    if not brackets and any(". " in piece for piece in texts):
        return None  # sentences
    if not 2 <= len(texts) <= _MOST_ITEMS or max(len(piece.split()) for piece in texts) > _LONGEST_ITEM:
        return None
    if not brackets and not _is_even(texts):
        return None
    is_row = all(map(_NUMBER.fullmatch, texts)) and not _JOINED.search(text)
    is_set = brackets == "{}" or not (brackets or _ORDER.search(text) or is_row)
    return Items(tuple(texts), not is_set, brackets)


def _without_brackets(text: str) -> tuple[str, str]:
    closing = _BRACKETS.get(text[:1], "")
    if closing and text[-1:] in closing and text[-1:] and "," in text:
        return text[1:-1].strip(), text[0] + text[-1]
    return text, ""


def _is_even(texts: Sequence[str]) -> bool:
    """Whether texts between commas are similar items, and not clauses of a sentence."""
    lengths = [len(text.split()) for text in texts]
    return max(lengths) <= 4 and not any(_SENTENCE_WORD.search(text) for text in texts)


_SENTENCE_WORD = re.compile(
    r"\b(?:is|are|was|were|has|have|because|which|that|who|yes|no|it|i'd|i'm|based|will|can|not|but)\b", re.IGNORECASE
)
