"""The JSON objects in a reply, wherever they stand in it; what they mean is read elsewhere."""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

_DECODER = json.JSONDecoder(strict=False)  # models write line breaks into JSON strings as they are
_OBJECT = re.compile(r'\{\s*"')
_MOST_TRIES = 200


class JsonObject(NamedTuple):
    """An object, and where it stands."""

    value: dict[str, Any]
    """What it holds."""

    start: int
    """Where it begins in the reply."""

    end: int
    """Where it has ended."""


def json_objects(reply: str) -> Iterator[JsonObject]:
    """Every outermost JSON object in a reply, in its order; where 200 beginnings are none, no further one is read."""
    position = tries = 0
    while tries < _MOST_TRIES and (opening := _OBJECT.search(reply, position)):
        try:
            value, position = _DECODER.raw_decode(reply, opening.start())
        except (ValueError, RecursionError):
            tries += 1
            position = opening.end()
            continue
        yield JsonObject(value, opening.start(), position)
