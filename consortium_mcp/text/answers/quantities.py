"""Quantities: a number with bound, sign, and currency or unit; and the comparison of two."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from consortium_mcp.text.answers.expressions import number_of
from consortium_mcp.text.answers.numbers import Number, leading_number
from consortium_mcp.text.answers.units import Dimensions, Unit, units_named
from consortium_mcp.text.answers.verdicts import DIFFERENT, NOT_COMPARABLE, SAME, Comparison

_BOUNDS = (
    (re.compile(r"(?:at most|up to|no more than|not more than|a maximum of|maximum of) |(?:≤|<=) ?"), "≤"),
    (re.compile(r"(?:at least|no less than|no fewer than|not less than|a minimum of|minimum of) |(?:≥|>=) ?"), "≥"),
    (re.compile(r"(?:less than|fewer than|smaller than|lower than|under|below) |< ?"), "<"),
    (re.compile(r"(?:more than|greater than|larger than|higher than|over|above) |> ?"), ">"),
    (re.compile(r"not |(?:≠|!=) ?"), "≠"),
    (
        re.compile(
            r"(?:about|around|approximately|approx\.?|roughly|nearly|almost|circa|ca?\.|ca|etwa|environ) |[~≈] ?"
        ),
        "≈",
    ),
)
_BEHIND = {"or more": "≥", "or over": "≥", "+": "≥", "and above": "≥", "or less": "≤", "or fewer": "≤", "...": "≈"}
_EQUALS = re.compile(r"(?:[^\W\d]{1,12}(?:\([a-z]\))? ?(?==|≈|≤|≥|<|>)|= ?)")
_FILLING = frozenset(
    "a all also an and are be equal equals exactly has have in is it it's its just makes of only precisely result so "
    "that the there therefore thus total value year number we you get hence was will altogether left remaining each "
    "long wide tall high old deep away ago later far heavy worth".split()
)
"""Words beside a number that do not change the answer."""

_FIRST_WORD = re.compile(r"([^\W\d_][\w']{0,12})[ ,:]+")
_CURRENCY = re.compile(
    r"(US\$|CA\$|AU\$|A\$|[$€£¥₹₽₩₿]|"
    r"(?:USD|EUR|GBP|JPY|CHF|INR|CAD|AUD|CNY|RUB|KRW|BTC|SEK|NOK|DKK|PLN|BRL|MXN|ZAR|NZD|SGD|HKD|TRY)(?= ?[\d.]))\s?"
)
_NOT_BEFORE_WORDS = frozenset("in a an as at so h d t s m g l mi st ore ora".split())
"""Units that are words or letters with other meanings if text follows them."""

_ROMAN = re.compile(r"(?=..)M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})")
_ROMAN_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
_CHANGE = re.compile(
    r"(?:it |they |an? )?(increase|decrease|rise|fall|drop|decline|reduction|growth)(?:s|d|es)? (?:by|of) (.{1,60})",
    re.IGNORECASE,
)
_POWER_OF = re.compile(r" to the power (?:of )?| raised to (?:the power (?:of )?)?")
_ROOT_OF = re.compile(r"(?:the )?square root of (\d{1,20})")
_MORE = re.compile(r"(?:more|additional|extra) (?=\w)", re.IGNORECASE)
_OUT_OF = re.compile(r"(\d{1,9}) (?:in|out of|of) (\d{1,9})")
_NUMBERED = re.compile(r"(?:no\. ?|nr\. ?|# ?|option |choice )(?=\d)", re.IGNORECASE)
_FEET = re.compile(r"(\d{1,3})' ?(\d{1,2}(?:\.\d{1,2})?)(?:\"|'')?")
_VARIABLE = re.compile(r"([A-Za-z]) ?=")
_DECADE = re.compile(r"1[0-9]{2}0s|20[0-9]0s")
_BEGINS_FORMULA = re.compile(r" ?[*/^+(√]| ?-(?= ?[\d(])| ?(?:(?:pi|e)\b|sqrt(?![a-z]))")
_PERCENT: Dimensions = (("percent", 0),)
_CALENDAR = ({"time"}, {"month"})
_FEWEST_DIGITS = 3
"""The fewest digits with which a decimal can approximate a fraction, a root, or a value in another unit."""

_MOST_WORDS = 4


@dataclass(frozen=True)
class Quantity:
    """A number in an answer, with its unit."""

    value: Fraction
    """The value in base units."""

    written: Fraction
    """The value as written, without the unit's factor."""

    step: Fraction | None = None
    """The value of the last decimal place in base units; None for an exact number."""

    digits: int = 0
    """The number of written digits; 0 for an exact number."""

    bound: str = ""
    """`<`, `>`, `≤`, `≥`, `≠`, or `≈` for about; empty without a bound."""

    dimensions: Dimensions | None = None
    """The dimensions of its unit; None without a unit."""

    factor: Fraction = Fraction(1)
    """The number of base units in its unit."""

    noun: str = ""
    """The counted noun, if it is not a unit."""

    is_irrational: bool = False
    """Whether it is a root or a multiple of pi, which no decimal gives exactly."""

    variable: str = ""
    """The variable with this value, as in `x = 7`; empty if none is named."""


def quantities(text: str) -> tuple[Quantity, ...]:
    """The quantity that is the whole text; several if its unit has several meanings; empty if it is none.

    Args:
        text: in plain characters (`plain`).
    """
    text = text.strip().strip("\"'")
    if not text.endswith("..."):
        text = text.rstrip(".!?;: ")
    if not text or len(text) > 200:
        return ()
    text = _NUMBERED.sub("", text, count=1)
    if feet := _FEET.fullmatch(text):
        text = f"{feet[1]} ft {feet[2]} in"
    if found := _OUT_OF.fullmatch(text):
        text = f"{found[1]}/{found[2]}"
    if change := _CHANGE.fullmatch(text):
        text = f"{change[2]} {change[1]}"
    text = _POWER_OF.sub("^", _ROOT_OF.sub(r"sqrt(\1)", text))
    named = _VARIABLE.match(text)
    found_here = _read(text)
    return tuple(replace(one, variable=named[1]) for one in found_here) if named else found_here


def _read(text: str) -> tuple[Quantity, ...]:
    text, bound = _without_beginning(text)
    text, is_negative = _signed(text)
    text, currency = _after_currency(text)
    if currency and not is_negative:
        text, is_negative = _signed(text)
    found = leading_number(text)
    if _DECADE.fullmatch(text):
        return ()
    if _ROMAN.fullmatch(text):
        value = Fraction(_of_roman(text))
        return (Quantity(-value if is_negative else value, value),)
    if found is None or (not currency and _BEGINS_FORMULA.match(found[1])):
        return _computed(text, is_negative, bound)
    number, rest = found
    return _measured(number, rest.strip(), bound, -1 if is_negative else 1, currency)


def _of_roman(numeral: str) -> int:
    values = [_ROMAN_VALUES[letter] for letter in numeral]
    return sum(-one if one < after else one for one, after in zip(values, [*values[1:], 0], strict=True))


def _without_beginning(text: str) -> tuple[str, str]:
    """The text from its number on, and the bound before it."""
    bound = ""
    for _ in range(8):
        if found := _EQUALS.match(text):
            text = text[found.end() :]
            continue
        for pattern, sign in _BOUNDS:
            if found := pattern.match(text[:40].lower()):
                text, bound = text[found.end() :], bound or sign
                break
        else:
            word = _FIRST_WORD.match(text)
            if word is None or word[1].lower() not in _FILLING or leading_number(text.lower()):
                break
            text = text[word.end() :]
    return text, bound


def _signed(text: str) -> tuple[str, bool]:
    for sign, is_negative in (("+", False), ("-", True), ("minus ", True), ("negative ", True), ("moins ", True)):
        if text[: len(sign)].lower() == sign:
            return text[len(sign) :].lstrip(), is_negative
    return text, False


def _after_currency(text: str) -> tuple[str, str]:
    found = _CURRENCY.match(text)
    return (text[found.end() :], found[1]) if found else (text, "")


def _computed(text: str, is_negative: bool, bound: str) -> tuple[Quantity, ...]:
    """The quantity of a formula without variables, as `2^10` or `sqrt(2)`."""
    words = text.split(" ")
    for count in range(len(words), max(len(words) - _MOST_WORDS, 0), -1):
        unit = units_named(" ".join(words[count:])) if count < len(words) else (None,)
        found = number_of(" ".join(words[:count])) if unit else None
        if found is not None:
            value = -found[0] if is_negative else found[0]
            factor = unit[0].factor if unit[0] else Fraction(1)
            dimensions = unit[0].dimensions if unit[0] else None
            return (Quantity(value * factor, value, None, 0, bound, dimensions, factor, "", found[1]),)
    return ()


def _measured(number: Number, rest: str, bound: str, sign: int, currency: str) -> tuple[Quantity, ...]:
    """The quantity of a number and the text after it: a unit, a bound, or a counted noun."""
    if rest.endswith(")") and "(" in rest:
        rest = rest[: rest.index("(")].rstrip()
    for ending, behind in _BEHIND.items():
        if rest.lower().endswith(ending):
            rest, bound = rest[: -len(ending)].rstrip(), bound or behind
    rest = _MORE.sub("", rest, count=1)
    units, rest = _unit(currency or "", rest) if currency else _unit(rest.lstrip("-"), "")
    if units and rest and (more := _second(rest, units[0])) is not None:
        return (_quantity(number, units[0], bound, sign, more=more),)
    words = [word for word in rest.replace(",", " ").split() if word.lower() not in _FILLING]
    if len(words) > _MOST_WORDS or any(one.isdecimal() for word in words for one in word):
        return ()
    if any(len(word) == 1 and word.isalpha() for word in words):  # `3x` is a formula
        return ()
    noun = " ".join(word.casefold().strip("\"'.") for word in words)
    return tuple(_quantity(number, unit, bound, sign, noun) for unit in units or (None,))


def _unit(text: str, rest: str) -> tuple[tuple[Unit, ...], str]:
    """The units that the beginning of a text can mean, and the rest; empty without a unit."""
    words = text.split()
    for count in range(min(len(words), _MOST_WORDS), 0, -1):
        named = units_named(" ".join(words[:count]).rstrip(","))
        follows = " ".join([*words[count:], *rest.split()])
        if named and not (
            follows and count == 1 and words[0].lower() in _NOT_BEFORE_WORDS and not follows[0].isdecimal()
        ):
            return named, follows
    return (), " ".join([text, rest]).strip()


def _second(rest: str, unit: Unit) -> Fraction | None:
    """The smaller part of a measurement in two units, in base units, as in `5 ft 10 in`; None if there is none."""
    following = rest.removeprefix("and ").removeprefix(", ")
    found = leading_number(following)
    if found is None:
        return None
    smaller, behind = _unit(found[1].strip(), "")
    if not smaller or behind or smaller[0].dimensions != unit.dimensions or smaller[0].factor >= unit.factor:
        return None
    return found[0].value * smaller[0].factor


def _quantity(
    number: Number, unit: Unit | None, bound: str, sign: int, noun: str = "", more: Fraction = Fraction(0)
) -> Quantity:
    factor = unit.factor if unit else Fraction(1)
    offset = unit.offset if unit else Fraction(0)
    return Quantity(
        value=sign * (number.value * factor + more) + offset,
        written=sign * number.value,
        step=None if number.step is None else number.step * factor,
        digits=number.digits,
        bound=bound,
        dimensions=unit.dimensions if unit else None,
        factor=factor,
        noun=noun,
    )


def compare_quantities(one: Quantity, other: Quantity) -> Comparison:
    """Whether two quantities are the same; `_FEWEST_DIGITS` says when a decimal counts as rounded.

    If one has no unit, it is assumed to have the other's. Bounds are part of the answer: less than 5 is not 5.
    """
    if {one.bound, other.bound} - {"≈"} and one.bound.strip("≈") != other.bound.strip("≈"):
        return DIFFERENT
    if one.variable and other.variable and one.variable != other.variable:
        return NOT_COMPARABLE
    if one.dimensions is None or other.dimensions is None:
        return _with_a_unit_missing(one, other)
    if one.dimensions != other.dimensions:
        bases = [{base for base, _ in each.dimensions or ()} for each in (one, other)]
        return NOT_COMPARABLE if bases in (list(_CALENDAR), list(_CALENDAR)[::-1]) else DIFFERENT
    return _same_value(one, other)


def _with_a_unit_missing(one: Quantity, other: Quantity) -> Comparison:
    percent = _PERCENT in (one.dimensions, other.dimensions)
    if percent:  # 50 % and 50: out of a hundred, or fifty times
        return SAME if _same_value(one, other) == SAME else NOT_COMPARABLE
    if one.written == other.written:
        return _same_noun(one, other)
    if one.dimensions is None and other.dimensions is None:
        return _same_value(one, other)
    return NOT_COMPARABLE if _is_power_of_ten(one.written, other.written) else DIFFERENT


def _same_noun(one: Quantity, other: Quantity) -> Comparison:
    """Compares equal numbers by their nouns: one noun may be missing, but two must agree."""
    nouns = [each.noun for each in (one, other)]
    if len({each.dimensions is None for each in (one, other)}) == 2 and all(
        each.noun or each.dimensions is not None for each in (one, other)
    ):
        return NOT_COMPARABLE
    return SAME if not all(nouns) or nouns[0].rstrip("s") == nouns[1].rstrip("s") else NOT_COMPARABLE


def _is_power_of_ten(one: Fraction, other: Fraction) -> bool:
    """Whether two numbers differ only as the same measurement in units with different prefixes."""
    if not one or not other:
        return False
    ratio = max(one / other, other / one)
    return ratio.denominator == 1 and len(str(ratio.numerator).strip("0")) == 1 and str(ratio.numerator)[0] == "1"


def _same_value(one: Quantity, other: Quantity) -> Comparison:
    distance = abs(one.value - other.value)
    largest = max(abs(one.value), abs(other.value))
    if distance * 10**9 <= largest:  # factors like that of a degree are rounded
        return _same_noun(one, other)
    about = "≈" in (one.bound, other.bound)
    step = max((each.step for each in (one, other) if each.step is not None), default=None)
    if (about or _may_be_rounded(one, other)) and step is not None and 2 * distance <= step:
        return SAME
    if _may_be_thousands(one, other) or _may_be_thousands(other, one):
        return NOT_COMPARABLE
    if (about and 20 * distance <= largest) or (one.factor != other.factor and 100 * distance <= largest):
        return NOT_COMPARABLE
    return NOT_COMPARABLE if _may_round(one, other) and 100 * distance <= largest else DIFFERENT


def _may_be_thousands(one: Quantity, other: Quantity) -> bool:
    """Whether a number like 1.500 may be 1500 in German spelling."""
    return one.digits >= 4 and one.written * 1000 == other.written and one.step == Fraction(1, 1000) * one.factor


def _may_be_rounded(one: Quantity, other: Quantity) -> bool:
    """Whether the decimal has enough digits to approximate the other number, which no decimal gives exactly."""
    return any(exact_needed and rounded.digits >= _FEWEST_DIGITS for exact_needed, rounded in _rounding(one, other))


def _may_round(one: Quantity, other: Quantity) -> bool:
    return any(exact_needed and rounded.digits for exact_needed, rounded in _rounding(one, other))


def _rounding(one: Quantity, other: Quantity) -> Sequence[tuple[bool, Quantity]]:
    return [(_has_no_decimal(one, other), other), (_has_no_decimal(other, one), one)]


def _has_no_decimal(exact: Quantity, rounded: Quantity) -> bool:
    """Whether a number has no exact decimal: a root, a third, or a measurement in another unit."""
    if exact.is_irrational or exact.factor != rounded.factor:
        return True
    divisor = exact.value.denominator
    for prime in (2, 5):
        while divisor % prime == 0:
            divisor //= prime
    return exact.step is None and divisor != 1
