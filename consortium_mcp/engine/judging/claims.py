"""Disputed claims: with instances in place of response numbers, and only with quotations that stand in a response."""

import re
import unicodedata
from collections.abc import Sequence
from typing import Any, NamedTuple

from consortium_mcp.engine.judging.fields import numbers_of, text_of
from consortium_mcp.records import Claim, Iteration

_SIDES = (("supported_by", "quote_for"), ("opposed_by", "quote_against"))
_WHITE_SPACE_AND_QUOTES = re.compile(r"[\s\"'“”‘’„«»`*_…]+")
_GAP = re.compile(r"\[?(?:\.{3}|…)\]?")


class ReadClaims(NamedTuple):
    """The claims that could be read from a verdict."""

    claims: tuple[Claim, ...]
    """The claims, without unconfirmed quotations and instances."""

    problems: tuple[str, ...]
    """The parts that were left out, one clause each."""


def read_claims(value: object, iteration: Iteration) -> ReadClaims:
    """The claims of a verdict, without quotations that no response contains and without unknown response numbers."""
    shown = [iteration.responses[place] for place in iteration.shown_order]
    labels = [response.label for response in shown]
    said = [_plain(response.text or "") for response in shown]
    claims: list[Claim] = []
    unknown = invented = 0
    for item in value if isinstance(value, list) else ():
        if not isinstance(item, dict) or not text_of(item.get("claim")):
            continue
        fields: dict[str, Any] = {"claim": text_of(item["claim"])}
        for side, quote in _SIDES:
            numbers = numbers_of(item.get(side))
            known = [number for number in dict.fromkeys(numbers) if 1 <= number <= len(labels)]
            unknown += len(set(numbers)) - len(known)
            fields[side] = tuple(labels[number - 1] for number in known)
            text = text_of(item.get(quote))
            is_said = stands_in(text, said)
            invented += not is_said
            fields[quote] = text if is_said else ""
        claims.append(Claim(**fields))
    problems = (
        f"its claims are kept without {_counted(invented, 'quotation')} that no response contains" if invented else "",
        f"its claims are kept without {_counted(unknown, 'number')} of responses not shown" if unknown else "",
    )
    return ReadClaims(tuple(claims), tuple(problem for problem in problems if problem))


def stands_in(quotation: str, said: Sequence[str]) -> bool:
    """Whether each part of a quotation stands in one of the texts, which `_plain` has normalised; True if it is empty.

    Parts are what stands between ellipses.
    """
    parts = [plain for part in _GAP.split(quotation) if (plain := _plain(part))]
    return not parts or any(all(part in text for part in parts) for text in said)


def _plain(text: str) -> str:
    """The text in one spelling, without the white space and the quotation marks that differ between quotations."""
    text = unicodedata.normalize("NFKC", text).casefold()
    return _WHITE_SPACE_AND_QUOTES.sub(" ", text).strip(" .,;:!?")


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
