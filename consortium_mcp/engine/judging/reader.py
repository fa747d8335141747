"""Reads what an arbiter replied: the last well-formed verdict outside its thinking, as JSON or as tags."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

from consortium_mcp.engine.judging.origin import Origin
from consortium_mcp.text.confidence import Confidence, read_confidence
from consortium_mcp.text.templates import storable
from consortium_mcp.text.thinking import outside_thinking

_FIELDS = "synthesis|best|ranking|confidence|analysis|dissent|needs_iteration|refinement_areas"
_BLOCK = re.compile(r"<(?P<closing>/?)(?P<name>verdict|synthesis_output)\b[^<>]*>", re.IGNORECASE)
_FIELD = re.compile(rf"<(?P<closing>/?)(?P<name>{_FIELDS})\b[^<>]*>", re.IGNORECASE)
# What stands between the tags ends at the next opening one, so that a thousand unclosed ones are read but once.
_AREA = re.compile(r"<area>((?:(?!<area>).)*?)</area>", re.IGNORECASE | re.DOTALL)
_OBJECT = re.compile(r'\{\s*"')
_DECODER = json.JSONDecoder(strict=False)  # models write line breaks into JSON strings as they are
_RESPONSE_NUMBER = re.compile(r"(?:(?<!\w)-)?\d{1,4}")  # the minus of "-1" makes it no response; that of "1-2" does not
_MOST_PAIRS = 100  # as many, from the end, are looked for in the responses
_BULLET = re.compile(r"^\s*(?:[-*•]|\d{1,3}[.)])\s+")


class Span(NamedTuple):
    """A stretch of a reply and what was read from it."""

    start: int
    end: int
    fields: dict[str, Any]


class TagPair(NamedTuple):
    """An opening tag and the closing one that belongs to it."""

    start: int
    end: int
    name: str
    inside: slice


T = TypeVar("T", Span, TagPair)


def read_fields(reply: str, main: str, origin: Origin) -> dict[str, Any] | None:
    """The fields of the last verdict that carries the mark, else of the last one of the author's own; None without.

    What stands in the same words in a text that the author read is a quotation of it, and what stands so in our own
    question an echo; both are passed over, single fields among tags too. What stands inside a verdict's fields is text,
    never a further verdict.

    Args:
        main: the field without which it is no verdict: `synthesis`, `best` or `ranking`.
    """
    reply = outside_thinking(reply)
    found = _outermost([*_json_verdicts(reply, main), *_tagged_verdicts(reply, main, origin)])
    marked = [one for one in found if origin.is_marked(reply[one.start : one.end])]
    own = marked or [one for one in found if not origin.is_quoted(reply[one.start : one.end])]
    return own[-1].fields if own else None


def _json_verdicts(reply: str, main: str) -> list[Span]:
    """Every outermost JSON object that has the main field, with where it stands."""
    found: list[Span] = []
    position = tries = 0
    while tries < 200 and (opening := _OBJECT.search(reply, position)):
        try:
            value, position = _DECODER.raw_decode(reply, opening.start())
        except (ValueError, RecursionError):
            tries += 1
            position = opening.end()
            continue
        if text_of(value.get(main)):
            found.append(Span(opening.start(), position, value))
    return found


def _tagged_verdicts(reply: str, main: str, origin: Origin) -> list[Span]:
    """Every outermost block with the main field; without such a block, the bare fields.

    Bare fields are the arbiter's only where they are not quoted; a block is somebody else's when all of it is, up to
    its main field and its confidence.
    """
    verdicts = []
    for block in _pairs(_BLOCK, reply)[-_MOST_PAIRS:]:
        pairs = _pairs(_FIELD, reply, block.inside)[-_MOST_PAIRS:]
        decisive = [pair.end for pair in pairs if pair.name in (main, "confidence")]
        is_own = decisive and not origin.is_quoted(reply[block.start : max(decisive)])
        if is_own or origin.is_marked(reply[block.start : block.inside.start]):
            verdicts.append(Span(block.start, block.end, _fields(reply, pairs, origin)))
    bare = [] if verdicts else _pairs(_FIELD, reply)[-_MOST_PAIRS:]
    if pairs := [pair for pair in bare if not origin.is_quoted(reply[pair.start : pair.end])]:
        verdicts = [Span(pairs[0].start, pairs[-1].end, _fields(reply, pairs, origin))]
    return [verdict for verdict in verdicts if verdict.fields.get(main)]


def _fields(reply: str, pairs: Sequence[TagPair], origin: Origin) -> dict[str, Any]:
    """The text of each field; of one that stands there twice, the last one that is not quoted."""
    repeated = {name for name, count in Counter(pair.name for pair in pairs).items() if count > 1}
    own = [pair for pair in pairs if pair.name not in repeated or not origin.is_quoted(reply[pair.start : pair.end])]
    return {pair.name: reply[pair.inside].strip() for pair in own}


def _pairs(tag: re.Pattern[str], text: str, inside: slice = slice(None)) -> list[TagPair]:
    """The outermost pairs of tags inside a part; each closing tag belongs to the nearest open one of its name."""
    waiting: dict[str, list[re.Match[str]]] = {}
    pairs: list[TagPair] = []
    for found in tag.finditer(text, inside.start or 0, len(text) if inside.stop is None else inside.stop):
        name = found["name"].lower()
        opened = waiting.setdefault(name, [])
        if not found["closing"]:
            opened.append(found)
        elif opened:
            opening = opened.pop()
            pairs.append(TagPair(opening.start(), found.end(), name, slice(opening.end(), found.start())))
    return _outermost(pairs)


def _outermost(spans: Iterable[T]) -> list[T]:
    """The spans that no other one contains or overlaps from the left, in their order in the text."""
    kept: list[T] = []
    for span in sorted(spans, key=lambda one: (one.start, -one.end)):
        if not kept or span.start >= kept[-1].end:
            kept.append(span)
    return kept


def confidence_of(fields: dict[str, Any]) -> Confidence:
    """The confidence that a verdict's fields state."""
    if fields.get("confidence") in (None, ""):
        return Confidence(value=None, problem="no confidence is stated")
    return read_confidence(fields["confidence"])


def flag_of(value: object) -> bool:
    """A field that says yes or no."""
    return text_of(value).lower() in ("true", "yes", "1")


def text_of(value: object) -> str:
    """The value as text that can be stored: JSON can spell half of a surrogate pair, which no database takes."""
    if value is None:
        return ""
    try:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    except RecursionError:  # nested as deep as could just be read
        return ""
    return storable(text).strip()


def dissent_of(text: str, synthesis: str) -> str:
    """The dissent, unless it says nothing, or only the synthesis once more, as small models do."""
    return "" if squeezed(text) == squeezed(synthesis) or not any(map(str.isalnum, text)) else text


def areas_of(value: object) -> tuple[str, ...]:
    """Refinement areas, however they were listed: JSON, `<area>` tags, bullets or lines."""
    if isinstance(value, list):
        items = [text_of(item) for item in value]
    else:
        text = text_of(value)
        items = _AREA.findall(text) or text.splitlines()
    cleaned = (_BULLET.sub("", item.strip()).strip() for item in items)
    return tuple(item for item in cleaned if item)


def squeezed(text: str) -> str:
    return " ".join(text.split())


def numbers_of(value: object) -> list[int]:
    """The whole numbers in a list or a text, in their order."""
    if isinstance(value, bool):
        return []
    if isinstance(value, int):
        return [value]
    if isinstance(value, list):
        return [number for item in value for number in numbers_of(item)]
    return [int(digits) for digits in _RESPONSE_NUMBER.findall(text_of(value))]
