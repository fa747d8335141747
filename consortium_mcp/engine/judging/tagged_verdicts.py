"""Finds verdicts that are written as tags: in a block, bare, or without closing tags."""

import html
import re
from collections import Counter
from collections.abc import Sequence

from consortium_mcp.engine.judging.candidates import Candidate, TagPair, outermost
from consortium_mcp.engine.judging.fields import NAMES, name_of
from consortium_mcp.engine.judging.origin import Origin

_BLOCK = re.compile(r"<(?P<closing>/?)(?P<name>verdict|synthesis_output)\b[^<>]*>", re.IGNORECASE)
_FIELD = re.compile(rf"<(?P<closing>/?)(?P<name>{'|'.join(NAMES)})\b[^<>]*>", re.IGNORECASE)
_ANY_NAME = "|".join(sorted((name for names in NAMES.values() for name in names), key=len, reverse=True))
_FIELD_IN_BLOCK = re.compile(rf"<(?P<closing>/?)(?P<name>{_ANY_NAME})\b[^<>]*>", re.IGNORECASE)
_ESCAPED_TAG = re.compile(r"&lt;/?(?:verdict|synthesis|confidence|best|ranking)\b", re.IGNORECASE)
_CDATA = re.compile(r"<!\[CDATA\[(.*?)(?:\]\]>|\Z)", re.DOTALL)
_ENTITY = re.compile(r"&(?:lt|gt|amp|quot|apos|#\d{1,7}|#x[0-9a-f]{1,6});", re.IGNORECASE)
_MARKUP = re.compile(r"[<>]|&(?!(?:lt|gt|amp|quot|apos|#\d{1,7}|#x[0-9a-f]{1,6});)|`[^`\n&]{0,200}&", re.IGNORECASE)
_MOST_PAIRS = 100  # the number of tags, from the end, that are searched for in the responses


def tagged_verdicts(reply: str, main: str, origin: Origin) -> list[Candidate]:
    """Every outermost block with the main field; without such a block, the bare fields.

    Bare fields are the arbiter's own only if they are not quoted. A block is a quotation if all of it, up to its main
    field and its confidence, is quoted. A block whose opening tag carries the mark may lack its end.
    """
    found = _marked_blocks(reply, main, origin)
    for block in [] if found else _pairs(_BLOCK, reply)[-_MOST_PAIRS:]:
        pairs = _pairs(_FIELD_IN_BLOCK, reply, block.inside)[-_MOST_PAIRS:]
        decided = _decided(pairs, main)
        if decided and not origin.is_quoted(reply[block.start : decided]):
            found.append(_candidate(reply, block.start, block.end, pairs, main, origin))
    bare = [] if found else _pairs(_FIELD, reply)[-_MOST_PAIRS:]
    if pairs := [pair for pair in bare if not origin.is_quoted(reply[pair.start : pair.end])]:
        found = [_candidate(reply, pairs[0].start, pairs[-1].end, pairs, main, origin)]
    return [one for one in found if one.fields.get(main)]


def unclosed_verdicts(reply: str, main: str, origin: Origin) -> list[Candidate]:
    """The fields of a reply without closing tags; each field ends where the next one begins."""
    opening = next((tag for tag in _BLOCK.finditer(reply) if not tag["closing"]), None)
    start = opening.start() if opening else 0
    pattern = _FIELD_IN_BLOCK if opening else _FIELD
    pairs = [pair for pair in _loose_pairs(pattern, reply, start) if not origin.is_quoted(reply[pair.start : pair.end])]
    if not any(pair.name == main and _begins_line(reply, pair.start) for pair in pairs):
        return []
    found = _candidate(reply, min(start, pairs[0].start), pairs[-1].end, pairs, main, origin)
    last = pairs[-1]
    is_cut = last.end == len(reply.rstrip()) and not reply[: last.end].rstrip().endswith(">")
    return [found._replace(cut_in=last.name if is_cut else None)] if found.fields.get(main) else []


def ends_in_a_field(reply: str) -> bool:
    """Whether the last tag of a reply opens a field that is never closed."""
    tags = list(_FIELD.finditer(reply))
    return bool(tags) and not tags[-1]["closing"]


def unescaped(reply: str) -> str | None:
    """The reply with its escaped tags restored; None if its tags were not escaped."""
    return html.unescape(reply) if _ESCAPED_TAG.search(reply) else None


def _marked_blocks(reply: str, main: str, origin: Origin) -> list[Candidate]:
    """The blocks whose opening tag carries the mark; an unclosed block, or one closed too early, extends to the end."""
    ends = {block.start: block.inside.stop for block in _every_pair(_BLOCK, reply)}
    found: list[Candidate] = []
    for opening in _BLOCK.finditer(reply):
        if opening["closing"] or not origin.is_marked(opening[0]):
            continue
        for end in (ends.get(opening.start(), len(reply)), len(reply)):
            inside = slice(opening.end(), end)
            pairs = _pairs(_FIELD_IN_BLOCK, reply, inside)[-_MOST_PAIRS:]
            if _decided(pairs, main):
                found.append(_candidate(reply, opening.start(), end, pairs, main, origin))
                break
    return found


def _candidate(reply: str, start: int, end: int, pairs: Sequence[TagPair], main: str, origin: Origin) -> Candidate:
    """The fields among tags; if a field appears twice, the last one that is not quoted."""
    repeated = {name for name, count in Counter(pair.name for pair in pairs).items() if count > 1}
    own = [pair for pair in pairs if pair.name not in repeated or not origin.is_quoted(reply[pair.start : pair.end])]
    fields = {pair.name: _value(reply[pair.inside]) for pair in own}
    opening = _BLOCK.match(reply, start)
    return Candidate(start, end, fields, _decided(pairs, main) or end, opening[0] if opening else "")


def _decided(pairs: Sequence[TagPair], main: str) -> int:
    """The index at which the main field and the confidence end; 0 if both are missing."""
    return max((pair.end for pair in pairs if pair.name in (main, "confidence")), default=0)


def _value(text: str) -> str:
    """The value between two tags: without CDATA, and with entities decoded if all of it was escaped."""
    text = text.strip()
    if text.startswith("<![CDATA["):
        return _CDATA.sub(r"\1", text).strip()
    return html.unescape(text) if _ENTITY.search(text) and not _MARKUP.search(text) else text


def _pairs(tag: re.Pattern[str], text: str, inside: slice = slice(None)) -> list[TagPair]:
    """The outermost pairs of tags in a part of the text."""
    return outermost(_every_pair(tag, text, inside))


def _every_pair(tag: re.Pattern[str], text: str, inside: slice = slice(None)) -> list[TagPair]:
    """All pairs of tags in a part of the text; each closing tag closes the nearest open tag with its name."""
    waiting: dict[str, list[re.Match[str]]] = {}
    pairs: list[TagPair] = []
    for found in tag.finditer(text, inside.start or 0, len(text) if inside.stop is None else inside.stop):
        name = found["name"].lower()
        opened = waiting.setdefault(name, [])
        if not found["closing"]:
            opened.append(found)
        elif opened:
            opening = opened.pop()
            within = slice(opening.end(), found.start())
            pairs.append(TagPair(opening.start(), found.end(), name_of(name) or name, within))
    return pairs


def _loose_pairs(tag: re.Pattern[str], text: str, start: int) -> list[TagPair]:
    """The fields in sequence; each ends at its closing tag, else at the next field or the end of the block."""
    pairs: list[TagPair] = []
    opening: re.Match[str] | None = None
    for found in tag.finditer(text, start):
        if opening is not None and found["name"].lower() == opening["name"].lower() and not found["closing"]:
            continue
        if opening is not None:
            end = (
                found.end() if found["closing"] and found["name"].lower() == opening["name"].lower() else found.start()
            )
            pairs.append(_pair(opening, end, found.start()))
        opening = None if found["closing"] else found
    if opening is not None:
        closing = _BLOCK.search(text, opening.end())
        end = closing.start() if closing else len(text.rstrip())
        pairs.append(_pair(opening, end, end))
    return pairs[-_MOST_PAIRS:]


def _pair(opening: re.Match[str], end: int, inside: int) -> TagPair:
    name = opening["name"].lower()
    return TagPair(opening.start(), end, name_of(name) or name, slice(opening.end(), inside))


def _begins_line(text: str, at: int) -> bool:
    """Whether only tags stand before this position in its line."""
    line = text[max(0, at - 400) : at].rpartition("\n")[2].strip()
    return not line or line.endswith(">")
