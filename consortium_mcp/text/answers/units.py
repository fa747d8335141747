"""Units of measurement with their factors, and currencies.

It has a table of its own, because units libraries take half a second to import and misread `5 apples` and `pt`. The
factors are those of the International System and of the international yard and pound (1959).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

Dimensions = tuple[tuple[str, int], ...]
"""The base quantities of a unit and their powers, sorted; empty for a plain number."""


@dataclass(frozen=True)
class Unit:
    """A unit in terms of base units."""

    factor: Fraction
    """The number of base units in it."""

    dimensions: Dimensions
    """The dimensions of the unit."""

    offset: Fraction = Fraction(0)
    """The number that is added after the factor: for temperatures, whose zero is not 0 K."""


# dimensions; factor; symbols, then `|`, then names. `*` allows the prefixes of the International System.
_TABLE = """
length; 1; m* | meter* metre* mètre* metro*
length; 0.0254; in | inch inches
length; 0.3048; ft | foot feet
length; 0.9144; yd | yard
length; 1609.344; mi | mile
length; 1852; nmi | 
length; 149597870700; au AU |
length; 9460730472580800; ly | lightyear
length; 1/10000000000; Å | angstrom
mass; 1/1000; g* | gram* gramme* gramm*
mass; 1000; t | tonne
mass; 0.45359237; lb lbs | pound
mass; 0.028349523125; oz | ounce
mass; 6.35029318; st | stone
time; 1; s* sec | second* sekunde sekunden seconde segundo secondo
time; 60; min mins | minute minuten minuto
time; 3600; h hr hrs | hour stunde stunden heure hora ora ore
time; 86400; d | day tag tage tagen jour día días giorno giorni dia
time; 604800; wk | week woche wochen semaine semana settimana
time; 1209600; | fortnight
month; 1; mo | month monat monate monaten mois mes meses mese mesi
month; 12; yr yrs a | year jahr jahre jahren an ans année années año años anno anni ano
month; 120; | decade
month; 1200; | century centuries
length^3; 0.001; L* l* | liter* litre*
length^3; 0.003785411784; gal | gallon
length^3; 0.000473176473; pt | pint
length^3; 0.000946352946; qt | quart
length^3; 0.0002365882365; | cup
temperature; 1; K | kelvin
current; 1; A* | ampere* amp
amount; 1; mol* | mole*
angle; 1; rad* | radian*
angle; 0.017453292519943295; ° deg | degree
data; 1; bit* b* | bit*
data; 8; B* | byte*
data; 8192; KiB |
data; 8388608; MiB |
data; 8589934592; GiB |
frequency; 1; Hz* | hertz*
mass length time^-2; 1; N* | newton*
mass length^2 time^-2; 1; J* | joule*
mass length^2 time^-2; 1.602176634e-19; eV* | electronvolt*
mass length^2 time^-2; 4.184; cal* | calorie* calory
mass length^2 time^-2; 3600; Wh* |
mass length^2 time^-3; 1; W* | watt*
mass length^2 time^-3; 745.69987158227022; hp | horsepower
mass length^-1 time^-2; 1; Pa* | pascal*
mass length^-1 time^-2; 100000; bar* | bar
mass length^-1 time^-2; 101325; atm | atmosphere
mass length^2 time^-3 current^-1; 1; V* | volt*
mass length^2 time^-3 current^-2; 1; Ω* | ohm*
current time; 1; C* | coulomb*
length time^-1; 0.44704; mph |
length time^-1; 1852/3600; kn kt | knot
length time^-1; 1000/3600; kph kmh |
length^2; 10000; ha | hectare
length^2; 4046.8564224; ac | acre
level; 1; dB |
"""
_CURRENCIES = """
USD; $ US$ USD usd | dollar buck
EUR; € EUR eur | euro
GBP; £ GBP gbp | pound quid sterling
JPY; ¥ JPY jpy | yen
INR; ₹ INR inr Rs | rupee
RUB; ₽ RUB rub | ruble rouble
CNY; CNY RMB cny | yuan renminbi
CHF; CHF chf | franc
KRW; ₩ KRW krw | won
BTC; ₿ BTC btc | bitcoin
CAD; CA$ CAD cad |
AUD; A$ AU$ AUD aud |
SEK; SEK sek |
NOK; NOK nok |
DKK; DKK dkk |
PLN; PLN pln zł | zloty
BRL; R$ BRL brl | real reais
MXN; MXN mxn |
ZAR; ZAR zar | rand
NZD; NZ$ NZD nzd |
SGD; S$ SGD sgd |
HKD; HK$ HKD hkd |
TRY; ₺ TRY | lira
"""
_SYMBOLS = {"k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "c": -2, "d": -1, "m": -3, "µ": -6, "μ": -6, "u": -6} | {
    **{"n": -9, "p": -12, "h": 2, "f": -15}
}
_NAMES = {"kilo": 3, "mega": 6, "giga": 9, "tera": 12, "peta": 15, "centi": -2, "deci": -1, "milli": -3} | {
    **{"micro": -6, "nano": -9, "pico": -12, "hecto": 2, "quilo": 3, "kiló": 3, "centí": -2, "milí": -3}
}
_CELSIUS = (Fraction(1), Fraction("273.15"))
_FAHRENHEIT = (Fraction(5, 9), Fraction("459.67") * Fraction(5, 9))
_TEMPERATURES = {
    **dict.fromkeys(("°c", "℃", "celsius", "degrees celsius", "degree celsius", "degrees c"), _CELSIUS),
    **dict.fromkeys(("°f", "℉", "fahrenheit", "degrees fahrenheit", "degree fahrenheit", "degrees f"), _FAHRENHEIT),
}
"""The kelvins in a degree, and the temperature of its zero."""

_PART = re.compile(r"([^\W\d_]+|[%°$€£¥₹₽₩Å]\w?)(?:\^\(?(-?\d)\)?|([23]))?")
_WORD_POWERS = {"square": 2, "squared": 2, "sq": 2, "cubic": 3, "cubed": 3, "cu": 3}


@cache
def _by_symbol() -> dict[str, tuple[Unit, ...]]:
    """The units by their symbols, which are case-sensitive, and by their names in lower case."""
    found: dict[str, list[Unit]] = {}
    for name, unit in _rows():
        found.setdefault(name, []).append(unit)
    return {name: tuple(units) for name, units in found.items()}


def _rows() -> Iterator[tuple[str, Unit]]:
    for line in _TABLE.strip().splitlines():
        dimensions, factor, spellings = line.split(";")
        base = Fraction(factor.strip())
        yield from _spelled(spellings, base, _dimensions(dimensions))
    for line in _CURRENCIES.strip().splitlines():
        code, spellings = line.split(";")
        yield from _spelled(spellings, Fraction(1), ((code, 1),))
    for name in ("¢", "cent", "cents"):
        yield name, Unit(Fraction(1, 100), (("USD", 1),))
    yield "pence", Unit(Fraction(1, 100), (("GBP", 1),))
    for name in ("%", "percent", "per cent", "pct", "prozent", "pour cent"):
        yield name, Unit(Fraction(1, 100), (("percent", 0),))
    for name, (degree, zero) in _TEMPERATURES.items():
        yield name, Unit(degree, (("temperature", 1),), zero)


def _spelled(spellings: str, factor: Fraction, dimensions: Dimensions) -> Iterator[tuple[str, Unit]]:
    symbols, _, names = spellings.partition("|")
    for symbol in symbols.split():
        bare = symbol.rstrip("*")
        yield bare, Unit(factor, dimensions)
        if bare != symbol:
            for prefix, power in _SYMBOLS.items():
                yield prefix + bare, Unit(factor * Fraction(10) ** power, dimensions)
    for name in names.split():
        bare = name.rstrip("*")
        for ending in ("", "s", "es") if bare.isascii() else ("", "s"):
            yield bare + ending, Unit(factor, dimensions)
            if bare != name:
                for prefix, power in _NAMES.items():
                    yield prefix + bare + ending, Unit(factor * Fraction(10) ** power, dimensions)


def _dimensions(text: str) -> Dimensions:
    powers = [part.partition("^") for part in text.split()]
    return tuple(sorted((base, int(power or 1)) for base, _, power in powers))


def units_named(text: str) -> tuple[Unit, ...]:
    """The units that a text can mean: usually one, two for `pounds`; empty if it names none.

    It parses products, quotients and powers, as in `km/h`, `m/s^2`, `square meters` and `miles per hour`.
    """
    text = " ".join(text.strip().strip(".").split())
    if not text or len(text) > 40:
        return ()
    return _simple(text) or _compound(text)


def _simple(text: str) -> tuple[Unit, ...]:
    known = _by_symbol()
    found = known.get(text) or known.get(text.casefold())
    if not found and text.isascii() and len(text) > 1 and text.isupper():
        found = known.get(text[0].lower() + text[1:]) or known.get(text.lower())
    return found or ()


def _compound(text: str) -> tuple[Unit, ...]:
    unit = last = Unit(Fraction(1), ())
    sign = power = 1
    for word in text.replace("/", " / ").replace("*", " ").replace("(", " ").replace(")", " ").split():
        if word in ("/", "per", "pro", "par", "por"):
            sign = -1
        elif word.casefold() in _WORD_POWERS:
            power = _WORD_POWERS[word.casefold()]
            if word.casefold().endswith("ed"):  # after its unit, which was already counted
                unit, power = _times(unit, last, sign * (power - 1)), 1
        else:
            part = _PART.fullmatch(word)
            named = _simple(part[1]) if part else ()
            if not part or not named or named[0].offset:
                return ()
            last = named[0]
            unit, power = _times(unit, last, sign * power * int(part[2] or part[3] or 1)), 1
    return (unit,) if unit.dimensions else ()


def _times(one: Unit, other: Unit, power: int) -> Unit:
    powers = dict(one.dimensions)
    for base, exponent in other.dimensions:
        powers[base] = powers.get(base, 0) + exponent * power
    dimensions = tuple(sorted((base, exponent) for base, exponent in powers.items() if exponent))
    return Unit(one.factor * other.factor**power, dimensions)
