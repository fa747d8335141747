"""Names that differ between languages: countries, languages, months, days of the week, large cities.

They come from Unicode's locale data (CLDR) in babel, which is loaded at the first comparison that needs it.
"""

import re
from collections.abc import Iterator
from functools import cache
from threading import Lock

from consortium_mcp._util.lazy import babel

LOCALES = "en de fr es it pt nl ru zh ja ko ar".split()
"""The languages whose names are known."""

_SHORT = {
    **dict.fromkeys(("usa", "us", "united states of america", "america", "states"), "territory US"),
    **dict.fromkeys(("uk", "great britain", "britain", "united kingdom of great britain"), "territory GB"),
    **dict.fromkeys(("uae", "emirates"), "territory AE"),
    **dict.fromkeys(("holland",), "territory NL"),
    **dict.fromkeys(("czech republic",), "territory CZ"),
    **dict.fromkeys(("ivory coast",), "territory CI"),
    **dict.fromkeys(("burma",), "territory MM"),
    **dict.fromkeys(("prc", "people's republic of china"), "territory CN"),
    **dict.fromkeys(("russian federation",), "territory RU"),
    **dict.fromkeys(("republic of korea",), "territory KR"),
    **dict.fromkeys(("nyc", "new york city", "new york"), "city New_York"),
    **dict.fromkeys(("la", "l.a."), "city Los_Angeles"),
    **dict.fromkeys(("cologne", "köln", "colonia"), "city Cologne"),
    **dict.fromkeys(("munich", "münchen", "monaco di baviera", "múnich"), "city Munich"),
    **dict.fromkeys(("nuremberg", "nürnberg"), "city Nuremberg"),
    **dict.fromkeys(("florence", "firenze", "florenz", "florencia"), "city Florence"),
    **dict.fromkeys(("venice", "venezia", "venedig", "venise", "venecia"), "city Venice"),
    **dict.fromkeys(("milan", "milano", "mailand", "milán"), "city Milan"),
    **dict.fromkeys(("naples", "napoli", "neapel", "nápoles"), "city Naples"),
    **dict.fromkeys(("turin", "torino", "turín"), "city Turin"),
    **dict.fromkeys(("geneva", "genf", "genève", "ginevra", "ginebra"), "city Geneva"),
    **dict.fromkeys(("seville", "sevilla", "séville", "siviglia"), "city Seville"),
    **dict.fromkeys(("mumbai", "bombay"), "city Mumbai"),
    **dict.fromkeys(("beijing", "peking", "pékin", "pekín", "pechino", "北京"), "city Beijing"),
}
"""Names in daily use that the locale data do not contain."""


@cache
def _known() -> dict[str, str]:
    """The meaning of each name in lower case; of two meanings, the one of the first locale."""
    found: dict[str, str] = {}
    for code in LOCALES:
        for name, meaning in _named_in(babel.Locale(code)):
            found.setdefault(name.casefold().replace("’", "'"), meaning)
    return found | _SHORT


def _named_in(locale: "babel.Locale") -> Iterator[tuple[str, str]]:
    for kind, names in (("territory", locale.territories), ("language", locale.languages)):
        for code, name in names.items():
            if len(code) <= 3:
                yield str(name), f"{kind} {code}"
    for day, name in locale.days["format"]["wide"].items():
        yield str(name), f"day {day}"
    for zone, data in locale.time_zones.items():
        city = data.get("city") if hasattr(data, "get") else None
        if "/" in zone:
            meaning = f"city {zone.rpartition('/')[2]}"
            yield zone.rpartition("/")[2].replace("_", " "), meaning
            if city:
                yield str(city), meaning


_ELEMENTS = (
    "H hydrogen He helium Li lithium Be beryllium B boron C carbon N nitrogen O oxygen F fluorine Ne neon Na sodium "
    "Mg magnesium Al aluminum Si silicon P phosphorus S sulfur Cl chlorine Ar argon K potassium Ca calcium Ti titanium "
    "Cr chromium Mn manganese Fe iron Co cobalt Ni nickel Cu copper Zn zinc As arsenic Br bromine Kr krypton Ag silver "
    "Cd cadmium Sn tin Sb antimony I iodine Xe xenon Cs cesium Ba barium W tungsten Pt platinum Au gold Hg mercury "
    "Pb lead Bi bismuth Rn radon Ra radium Th thorium U uranium Pu plutonium"
)
"""Symbols of chemical elements, each before its name."""


@cache
def _element_symbols() -> dict[str, str]:
    words = _ELEMENTS.split()
    return dict(zip(words[::2], words[1::2], strict=True))


_ARTICLE = re.compile(r"(?:the|la|le|les|el|los|las|il|lo|gli|der|die|das|den|o|os|as) |l['’]")
_loading = Lock()


def load_names() -> None:
    """Load the locale data, which takes a tenth of a second, before the first comparison."""
    with _loading:
        _known()
        months()


def names_are_loaded() -> bool:
    """Whether the locale data are loaded."""
    return _known.cache_info().currsize > 0 and months.cache_info().currsize > 0


def meaning_of(name: str) -> str | None:
    """The meaning of a name, equal for every language; None for an unknown name."""
    symbols = _element_symbols()
    if name in symbols or name.casefold() in symbols.values():
        return f"element {symbols.get(name, name.casefold())}"
    name = name.casefold().replace("’", "'").strip(" .")
    if name in months():
        return f"month {months()[name]}"
    known = _known()
    found = known.get(name) or known.get(_ARTICLE.sub("", name, count=1))
    return found or known.get(name.replace(".", ""))


@cache
def months() -> dict[str, int]:
    """The numbers of the months by their names and abbreviations in lower case."""
    found: dict[str, int] = {"sept": 9}
    for code in LOCALES:
        named = babel.Locale(code).months
        for form in ("format", "stand-alone"):
            for width in ("wide", "abbreviated"):
                for number, name in named[form].get(width, {}).items():
                    found.setdefault(str(name).casefold().strip("."), int(number))
    return found
