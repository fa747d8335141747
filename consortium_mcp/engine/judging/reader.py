"""Reads the arbiter's reply: its own verdict in any form that models use, and never a quoted verdict."""

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from consortium_mcp.engine.judging.candidates import Candidate, outermost, without_overlaps
from consortium_mcp.engine.judging.fields import text_of
from consortium_mcp.engine.judging.json_verdicts import decoded_once, json_verdicts
from consortium_mcp.engine.judging.labelled_verdicts import labelled_verdicts
from consortium_mcp.engine.judging.origin import Origin
from consortium_mcp.engine.judging.tagged_verdicts import ends_in_a_field, tagged_verdicts, unclosed_verdicts, unescaped
from consortium_mcp.text.thinking import later_turns, outside_thinking

_INVISIBLE = "\ufeff\u200b\u200c\u200d\u2060 \t\r\n"
_LOOKS_LIKE_FORM = re.compile(
    r"\A\s*(?:```\w*\s*)?(?:\{|\[\s*[\[{]|<(?:\?xml|verdict|synthesis_output)\b)"
    r"|</?(?:synthesis_output|synthesis|verdict\s+mark|needs_iteration|refinement_areas)\b"
    r"|[\"'“«]\\?(?:synthesis|needs_iteration|refinement_areas)\\?[\"'”»]\s*[:：]"
    r"|&lt;/?(?:synthesis|verdict)",
    re.IGNORECASE,
)


_IMITATES_FORM = re.compile(
    r"<\s*/?\s*(?:synthesis_output|synthesis|verdict|best|ranking|needs_iteration)\b"
    r"|&lt;\s*/?\s*(?:synthesis_output|synthesis|verdict|best|ranking)\b"
    r"|[\"'“«]\\?(?:synthesis|best|ranking|needs_iteration)\\?[\"'”»]\s*[:：]"
    r"|^\W{0,8}(?:synthesis|ranking)\W{0,4}(?:[:|]|$)",
    re.IGNORECASE | re.MULTILINE,
)

_WHOLE_FIGURE = re.compile(r"0?\.\d{1,4}|1\.0|\d{1,3} ?%|\d{1,3}/\d{2,3}")
"""Matches a confidence that further digits cannot change."""

NUMBERS = ("best", "ranking")
"""The main fields that contain only response numbers."""

TEXTS = ("synthesis", "analysis", "dissent")
"""The fields that remain useful if they are cut."""

CUT_SYNTHESIS = "the reply ends inside its synthesis"
"""The clause for an answer whose end is missing."""


class Found(NamedTuple):
    """The verdict of a reply."""

    fields: dict[str, Any]
    """The fields by name, with their original values."""

    cut: str | None = None
    """The place where the reply breaks off, in one clause; None for a complete verdict."""


def read_fields(reply: str, main: str, origin: Origin) -> Found | None:
    """The last verdict with the mark, else the last one that the author itself wrote; None without.

    A text that stands word for word in a text that the author read is a quotation. A text that stands so in our
    question is an echo. Both are ignored, also as single fields among tags. The content of a verdict's field is never a
    further verdict. A verdict in the requested form has priority over one in another form.

    Args:
        main: the main field, which a verdict must have: `synthesis`, `best` or `ranking`.
    """
    written, reply = reply, outside_thinking(reply.strip(_INVISIBLE)).strip(_INVISIBLE)
    judged = _in_form(reply, main, origin)
    if not any(one.is_marked for one in judged):  # a quoted text may contain the tokens that end a turn
        later = _in_form(later_turns(written), main, origin)
        judged = [one for one in later if one.is_marked] or judged
    found = _chosen(judged)
    if found and found.fields.get("confidence") is not None and not ends_in_a_field(reply):
        return found
    otherwise = _chosen(list(_otherwise(reply, main, origin)))
    if found and otherwise and text_of(otherwise.fields[main]) != text_of(found.fields[main]):
        return found
    return otherwise or found or _one_of_many(reply, main, origin)


def looks_like_form(reply: str) -> bool:
    """Whether a reply is, or tries to be, in the requested form, so that it is no plain answer."""
    return _LOOKS_LIKE_FORM.search(reply.lstrip(_INVISIBLE)) is not None or imitates_form(reply)


def imitates_form(text: str) -> bool:
    """Whether a text contains something that reads as a verdict or as a part of one."""
    return _IMITATES_FORM.search(text) is not None


def joined(*problems: str | None) -> str | None:
    """The problems as one clause; None if there are none."""
    return "; ".join(problem for problem in problems if problem) or None


class _Judged(NamedTuple):
    """A candidate and its author."""

    candidate: Candidate
    is_marked: bool
    is_own: bool


def _in_form(reply: str, main: str, origin: Origin) -> list[_Judged]:
    every = [*json_verdicts(reply, main), *tagged_verdicts(reply, main, origin)]
    marked = outermost(one for one in every if origin.is_marked(one.mark))
    return [_judged(reply, one, origin) for one in marked or without_overlaps(every)]


def _otherwise(reply: str, main: str, origin: Origin) -> Iterable[_Judged]:
    """The possible verdicts of a reply that has none in the requested form."""
    for text in (unescaped(reply), decoded_once(reply)):
        if text is not None:
            yield from _in_form(text, main, origin)
    for one in (*labelled_verdicts(reply, main, origin), *unclosed_verdicts(reply, main, origin)):
        yield _judged(reply, one, origin)


def _judged(reply: str, one: Candidate, origin: Origin) -> _Judged:
    return _Judged(one, origin.is_marked(one.mark), not origin.is_quoted(reply[one.start : one.decided]))


def _chosen(judged: list[_Judged]) -> Found | None:
    """The last candidate with the mark, else the last own one; a complete one has priority over a cut one."""
    own = [one for one in judged if one.is_marked] or [one for one in judged if one.is_own]
    whole = [one for one in own if one.candidate.cut_in is None] or own
    return _found(whole[-1].candidate) if whole else None


def _one_of_many(reply: str, main: str, origin: Origin) -> Found | None:
    """The verdict of a reply that consists of it alone, although a text that the model read lists the same verdict.

    Only verdicts of numbers: such a list contains most of them by chance. Words do not match by chance.
    """
    given = [one for one in _in_form(reply, main, Origin()) if one.candidate.cut_in is None]
    if main not in NUMBERS or len(given) != 1 or len(re.findall(rf"[<\"]{main}\b", reply, re.IGNORECASE)) != 1:
        return None
    candidate = given[0].candidate
    around = (reply[: candidate.start] + reply[candidate.end :]).strip("`\n jsonxml")
    return None if around or not origin.lists_several(main) else _found(candidate)


def _found(candidate: Candidate) -> Found:
    cut, fields = candidate.cut_in, candidate.fields
    if cut is None:
        return Found(fields)
    if cut == "confidence" and _WHOLE_FIGURE.fullmatch(str(fields.get(cut, "")).strip()):
        cut = ""
    elif cut not in TEXTS:
        fields = {name: value for name, value in fields.items() if name != cut}
    return Found(fields, f"the reply ends inside its {cut.replace('_', ' ')}" if cut else "the reply ends too early")
