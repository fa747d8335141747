"""Parses a short answer as a number, a date, an option, a list …; a text can have several readings."""

import re
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from consortium_mcp.text.answers.choices import option_in, yes_or_no
from consortium_mcp.text.answers.code import Code, code_of, data_in, is_code
from consortium_mcp.text.answers.dates import date_in, time_in
from consortium_mcp.text.answers.expressions import formula_of
from consortium_mcp.text.answers.finding import sentences_of
from consortium_mcp.text.answers.plain import plain
from consortium_mcp.text.answers.quantities import Quantity, quantities
from consortium_mcp.text.answers.sayings import day_in, said_in
from consortium_mcp.text.answers.sequences import Items, Parts, items_in, parts_in

_Read = Literal["code", "data", "parts", "list", "date", "time", "option", "yes or no", "number", "range", "ratio"]
Kind = _Read | Literal["formula", "text", "complement", "prose", "none"]
"""The kind of an answer. A `complement` is the part of a sentence after its subject; `prose` is not parsed further."""


@dataclass(frozen=True)
class Reading:
    """One way to read an answer."""

    kind: Kind
    """The kind of this reading."""

    value: Hashable
    """The value, in a form that is equal for equal answers, as far as one form allows."""


@dataclass(frozen=True)
class Sequenced:
    """A list or parts, with the readings of each item."""

    items: tuple[tuple[Reading, ...], ...]
    """The readings of each item."""

    labels: tuple[str, ...] = ()
    """The labels of parts, as `a`; empty for a list."""

    is_ordered: bool = True
    """Whether the order is significant."""

    brackets: str = ""
    """The enclosing brackets, as `[)`; empty without."""


_RATIO = re.compile(r"(\d{1,9}(?:\.\d+)?) ?(?::| to | zu ) ?(\d{1,9}(?:\.\d+)?)")
_RANGE = re.compile(r"(?:between |from )?(.{1,40}?)(?: ?- ?(?=[\d$€£])| to | and | bis | through )(.{1,40})")
_IN_BRACKETS = re.compile(r" \([^()\d]{1,100}\)[.!]?$")
_IS = re.compile(r"\b(it|that|this|he|she|there|answer)'s\b", re.IGNORECASE)
_BY_THE_WAY = re.compile(
    r",? (?:because|since|as|which|who|where|due to|while|although)\b| [-—–] |; |, (?:because|so|not|but|and not)\b"
)
_UNSURE = re.compile(
    r"(?:i(?:'m| am) not (?:sure|certain)|i (?:don't|do not) know|i can't (?:say|tell))", re.IGNORECASE
)
_QUOTED_CODE = re.compile(
    r"(?:(?:you (?:can|should|could) |just |i would |i'd )?(?:use|run|try|call|type|execute|enter|write)"
    r"(?: the command)?:? )?(`[^`\n]{1,200}[^\w`\n][^`\n]{0,200}`)",
    re.IGNORECASE,
)
_MEMBER = re.compile(r"[a-zA-Z] ?∈ ?")
_DEEPEST = 2
_LONGEST_CLAUSE = 300


def readings_of(text: str, *, is_marked: bool, depth: int = 0) -> tuple[Reading, ...]:
    """Every reading of an answer's text, the most specific kind first; the last is the text itself.

    Args:
        text: a few lines, as written.
        depth: the number of lists that contain it.
    """
    if is_code(text.strip("` ")):
        return (Reading("code", code_of([("", text.strip("` "))], "")),)
    if quoted := _QUOTED_CODE.fullmatch(text.strip().rstrip(".")):
        source = quoted[1].strip("` ")
        return (Reading("code", code_of([("", source)], "")), Reading("text", source))
    if (data := data_in(text)) is not None and ":" in data:
        return (Reading("data", data),)
    text = plain(text)
    if member := _MEMBER.match(text):
        text = text[member.end() :]
    found: dict[Kind, Reading] = {}
    if depth < _DEEPEST:
        found |= {reading.kind: reading for reading in _sequences(text, depth)}
    clauses = list(clauses_of(text, is_marked=is_marked))
    if found:  # the number of an item is not the number of the list
        clauses = clauses[:1]
    elif depth < _DEEPEST:
        for said in (clause for clause, is_said in clauses if is_said):
            found = found or {reading.kind: reading for reading in _sequences(said, depth)}
    several: list[Reading] = []
    readers = () if "parts" in found else _READERS
    for clause, _ in clauses:
        for kind, read in readers:
            if kind not in found:
                values = read(clause)
                several += [Reading(kind, value) for value in values[1:]]
                if values:
                    found[kind] = Reading(kind, values[0])
    ordered = [found[kind] for kind in ("parts", "list", *(kind for kind, _ in _READERS)) if kind in found]
    return (*ordered, *several, *(Reading("complement" if is_said else "text", clause) for clause, is_said in clauses))


def clauses_of(text: str, *, is_marked: bool) -> Iterator[tuple[str, bool]]:
    """The texts that can be the answer, and whether each is only the complement of a sentence.

    Args:
        text: in plain characters.
    """
    seen: set[str] = set()
    text = _IS.sub(r"\1 is", text)
    line = " ".join(text.split())
    sentences = [sentence for each in text.splitlines() for sentence in sentences_of(each)]
    main = (sentences[0] if is_marked else sentences[-1]) if sentences else ""
    short = _BY_THE_WAY.split(main, maxsplit=1)[0] if len(main) < _LONGEST_CLAUSE else main
    if _UNSURE.fullmatch(short):
        short = main
    bare = _IN_BRACKETS.sub("", short)
    result = bare.rpartition(" = ")[2] if " = " in bare else ""
    behind = bare.rpartition(": ")[2] if ": " in bare else ""
    whole = (line, main, short, bare)
    for place, one in enumerate((*whole, *said_in(bare), result, behind, day_in(bare))):
        clause = one.strip().strip("\"'").rstrip(".!。;,").strip("\"' ")
        if clause and clause not in seen:
            seen.add(clause)
            yield clause, place >= len(whole)


def _sequences(text: str, depth: int) -> Iterator[Reading]:
    if (parts := parts_in(text)) is not None:
        yield Reading("parts", _read_parts(parts, depth))
    elif (items := items_in(text)) is not None:
        yield Reading("list", _read_items(items, depth))


def _read_parts(parts: Parts, depth: int) -> Sequenced:
    items = tuple(readings_of(text, is_marked=True, depth=depth + 1) for text in parts.texts)
    return Sequenced(items, labels=parts.labels)


def _read_items(items: Items, depth: int) -> Sequenced:
    read = tuple(readings_of(text, is_marked=True, depth=depth + 1) for text in items.texts)
    return Sequenced(read, is_ordered=items.is_ordered, brackets=items.brackets)


def _dates(text: str) -> Sequence[Hashable]:
    date = date_in(text)
    return [] if date is None else [date]


def _times(text: str) -> Sequence[Hashable]:
    time = time_in(text)
    return [] if time is None else [time]


def _options(text: str) -> Sequence[Hashable]:
    option = option_in(text)
    return [] if option is None else [option]


def _yes_or_no(text: str) -> Sequence[Hashable]:
    said = yes_or_no(text)
    return [] if said is None else [said]


def _ratios(text: str) -> Sequence[Hashable]:
    found = _RATIO.fullmatch(text.rstrip("."))
    return [Fraction(found[1]) / Fraction(found[2])] if found and Fraction(found[2]) else []


def _ranges(text: str) -> Sequence[Hashable]:
    """The two ends of a range; the unit of the second end also applies to the first."""
    found = _RANGE.fullmatch(text) if len(text) <= 90 else None
    if found is None:
        return []
    ends = [quantities(end) for end in found.groups()]
    if not all(ends) or (" and " in text and not text.lower().startswith("between")):
        return []
    low, high = ends[0][0], ends[1][0]
    if low.dimensions is None and high.dimensions is not None:
        low = Quantity(low.written * high.factor, low.written, dimensions=high.dimensions, factor=high.factor)
    return [(low, high)]


def _formulas(text: str) -> Sequence[Hashable]:
    formula = formula_of(text)
    return [] if formula is None else [formula]


_READERS: tuple[tuple[Kind, Callable[[str], Sequence[Hashable]]], ...] = (
    ("date", _dates),
    ("time", _times),
    ("option", _options),
    ("yes or no", _yes_or_no),
    ("number", quantities),
    ("range", _ranges),
    ("ratio", _ratios),
    ("formula", _formulas),
)


def code_reading(blocks: Sequence[tuple[str, str]], beside: str) -> tuple[Reading, ...]:
    """The reading of an answer that is code; a block with one short line that is not code is read as that line."""
    if len(blocks) == 1 and "\n" not in blocks[0][1].strip() and len(blocks[0][1]) < 200:
        found = readings_of(blocks[0][1].strip(), is_marked=True)
        if found and found[0].kind not in ("text", "code", "formula", "yes or no") and not blocks[0][0]:
            return found
    code: Code = code_of(blocks, beside)
    is_line = len(blocks) == 1 and "\n" not in blocks[0][1].strip()
    return (Reading("code", code), *([Reading("text", blocks[0][1].strip())] if is_line else []))
