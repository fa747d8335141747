"""Finds the JSON objects in a reply; other modules interpret them."""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

_DECODER = json.JSONDecoder(strict=False)  # models write raw line breaks into JSON strings
_OBJECT = re.compile(r'\{\s*"')
_MOST_TRIES = 200


class JsonObject(NamedTuple):
    """An object and its position."""

    value: dict[str, Any]
    """The object."""

    start: int
    """The index of its first character."""

    end: int
    """The index after its last character."""


def json_objects(reply: str) -> Iterator[JsonObject]:
    """Every outermost JSON object in a reply, in order; the search stops after 200 braces that begin no object."""
    position = tries = 0
    while tries < _MOST_TRIES and (opening := _OBJECT.search(reply, position)):
        try:
            value, position = _DECODER.raw_decode(reply, opening.start())
        except (ValueError, RecursionError):
            tries += 1
            position = opening.end()
            continue
        yield JsonObject(value, opening.start(), position)
