"""Dates, years with an era, and times of day."""

import re
from dataclasses import dataclass

from consortium_mcp.text.answers.names import months
from consortium_mcp.text.answers.numbers import ordinal
from consortium_mcp.text.answers.verdicts import DIFFERENT, NOT_COMPARABLE, SAME, Comparison

Day = tuple[int | None, int | None, int | None]
"""Year, month, day; None for a missing part. Years BC are negative."""

_ISO = re.compile(r"(-?\d{4})([-/.])(\d{1,2})\2(\d{1,2})(?:[T ]\d{1,2}:\d{2}(?::\d{2})?Z?)?")
_NUMERIC = re.compile(r"(\d{1,2}) ?([-/.]) ?(\d{1,2}) ?\2 ?(\d{4}|\d{2})")
_MONTH = re.compile(r"(\d{1,2})[/.](\d{4})")
_EAST_ASIAN = re.compile(r"(\d{1,4}) ?[年년] ?(?:(\d{1,2}) ?[月월] ?)?(?:(\d{1,2}) ?[日일])?")
_ERA_BEFORE = re.compile(r"\b(?:b\.? ?c\.?(?: ?e\.?)?|before christ|v\. ?chr\.?|av\. ?j\.?-?c\.?|a\. ?c\.)(?!\w)")
_ERA = re.compile(r"\b(?:a\.? ?d\.?|c\. ?e\.?|ce|anno domini|n\. ?chr\.?|apr\. ?j\.?-?c\.?)(?!\w)")
_TOKEN = re.compile(r"[^\W_]+[.º]?")
_FILLING = frozenset(
    "the of on in year it was is at de del den der am le el do im since around monday tuesday wednesday thursday "
    "friday saturday sunday mon tue wed thu fri sat sun date day that".split()
)
_CLOCK = re.compile(r"(?:at )?(\d{1,2})(?:[:.h](\d{2}))?(?::\d{2})? ?(a\.?m\.?|p\.?m\.?|uhr|h|o'clock)?")


@dataclass(frozen=True)
class Date:
    """A date in a text."""

    days: frozenset[Day]
    """The possible meanings: two days if month and day can be read in either order."""


def date_in(text: str) -> Date | None:
    """The date that is the whole text; None for any other text, or a year without an era."""
    text = " ".join(text.casefold().replace(",", " ").split()).strip(" .;!")
    if not text or len(text) > 60 or not any(one.isdecimal() for one in text):
        return None
    if found := _ISO.fullmatch(text):
        return _date(int(found[1]), int(found[3]), int(found[4]))
    if found := _NUMERIC.fullmatch(text):
        return _either_order(found)
    if found := _MONTH.fullmatch(text):
        return _date(int(found[2]), int(found[1]))
    if found := _EAST_ASIAN.fullmatch(text):
        return _date(int(found[1]), *(int(part) if part else None for part in found.groups()[1:]))
    return _in_words(text)


def _date(year: int | None, month: int | None, day: int | None = None) -> Date | None:
    is_possible = (month is None or 1 <= month <= 12) and (day is None or 1 <= day <= 31)
    return Date(frozenset([(year, month, day)])) if is_possible else None


def _either_order(found: re.Match[str]) -> Date | None:
    one, other, year = int(found[1]), int(found[3]), int(found[4])
    if len(found[4]) == 2:
        year += 1900 if year >= 50 else 2000
    orders = [(other, one)] if found[2] == "." else [(one, other), (other, one)]
    days = {(year, month, day) for month, day in orders if 1 <= month <= 12 and 1 <= day <= 31}
    return Date(frozenset(days)) if days else None


def _in_words(text: str) -> Date | None:
    """A date with a month's name or an era, and no other words."""
    is_before, has_era = _ERA_BEFORE.search(text) is not None, False
    for era in (_ERA_BEFORE, _ERA):
        text, count = era.subn(" ", text)
        has_era = has_era or count > 0
    month: int | None = None
    numbers: list[tuple[int, bool]] = []
    for token in _TOKEN.findall(text):
        bare = token.rstrip(".º")
        if (place := ordinal(token) or ordinal(bare)) is not None and not (bare.isdecimal() and len(bare) > 2):
            numbers.append((place, True))
        elif bare.isdecimal():
            numbers.append((int(bare), len(bare) <= 2))
        elif bare in _FILLING:
            continue
        elif month is None and bare in months():
            month = months()[bare]
        else:
            return None
    return _assembled(month, numbers, is_before, has_era)


def _assembled(month: int | None, numbers: list[tuple[int, bool]], is_before: bool, has_era: bool) -> Date | None:
    if not numbers or len(numbers) > 2 or (month is None and not (has_era and len(numbers) == 1)):
        return None
    year: int | None
    day: int | None
    if month is None or (has_era and len(numbers) == 1):
        year, day = numbers[0][0], None
    else:
        days = [number for number, is_short in numbers if is_short and number <= 31]
        years = [number for number, is_short in numbers if not (is_short and number <= 31)]
        day = days[0] if days else None
        year = years[0] if years else (days[1] if len(days) > 1 else None)
    return _date(-year if year is not None and is_before else year, month, day)


def compare_dates(one: Date, other: Date) -> Comparison:
    """Whether two dates are the same; not comparable if one is less precise, or both have two readings."""
    if len(one.days) > 1 and len(other.days) > 1:
        return NOT_COMPARABLE if one.days & other.days else DIFFERENT
    if one.days & other.days:
        return SAME
    fits = any(_fits(first, second) for first in one.days for second in other.days)
    return NOT_COMPARABLE if fits else DIFFERENT


def _fits(one: Day, other: Day) -> bool:
    return all(first is None or second is None or first == second for first, second in zip(one, other, strict=True))


def time_in(text: str) -> frozenset[int] | None:
    """The minutes after midnight that a time of day can mean; None if the text is no time of day."""
    text = text.casefold().strip(" .")
    found = _CLOCK.fullmatch({"noon": "12:00 pm", "midnight": "12:00 am"}.get(text, text))
    if found is None or not (found[2] or found[3]) or int(found[1]) > 24 or int(found[2] or 0) > 59:
        return None
    if found[2] is None and found[3] in ("h",):
        return None
    hour, minute, half = int(found[1]), int(found[2] or 0), (found[3] or "")[:1]
    if half in ("a", "p"):
        return frozenset([hour % 12 * 60 + minute + (720 if half == "p" else 0)])
    if "." in text and found[3] is None:
        return None  # 3.14 is a number
    is_of_24 = hour >= 12 or hour == 0 or found[1].startswith("0") or found[3] == "uhr"
    hours = {hour % 24} if is_of_24 else {hour, (hour + 12) % 24}
    return frozenset(one * 60 + minute for one in hours)


def compare_times(one: frozenset[int], other: frozenset[int]) -> Comparison:
    """Whether two times of day are the same; `3:30` may be in either half of the day."""
    if one == other:
        return SAME
    return (SAME if 1 in (len(one), len(other)) else NOT_COMPARABLE) if one & other else DIFFERENT
