"""The types of options: numbers, thresholds, texts or files, JSON objects."""

import json
import math
import os
import re
from pathlib import Path
from typing import Any

import click
from click.types import StringParamType

from consortium_mcp.errors import ConsortiumError
from consortium_mcp.text.templates import plain


class Number(click.FloatRange):
    """A number in a range; `nan` is in no range."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number; raises for any other text."""
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return number


class Threshold(Number):
    """A number from 0 to 1, or a percentage: `80%`, or 80 without its sign."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number; a percentage with its sign is divided by 100."""
        if isinstance(value, str) and value.endswith("%"):
            return super().convert(value.removesuffix("%").strip(), param, ctx) / 100
        return super().convert(value, param, ctx)


_PATH = re.compile(r"(?:~|\.{0,2})/\S*|[A-Za-z]:\\\S*|\S+\.(?:txt|md|json|ya?ml)")
"""A word that looks like a path: it begins like one, or ends like the name of a text file."""


class TextOrFile(StringParamType):
    """A text, or the path of a file that contains it; a word that looks like a path must be one."""

    name = "text or file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text itself, or the content of the file with that name."""
        # Path.is_file() would raise for a text that is too long for a path or has an invalid character.
        if not os.path.isfile(value):
            if _PATH.fullmatch(value):
                self.fail(f"the file {value!r} does not exist.", param, ctx)
            return str(value)
        try:
            return Path(value).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            what = (param.name or "").replace("_", " ") if param else "text"
            raise ConsortiumError(f"The {what} file {value!r} cannot be read: {error}.") from error


class JsonObject(TextOrFile):
    """A JSON object, or the path of a file that contains one."""

    name = "JSON or file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The object; raises for any other value."""
        text = super().convert(value, param, ctx)
        try:
            read = json.loads(text)
        except (ValueError, RecursionError):
            read = None
        if not isinstance(read, dict):
            self.fail(f"{plain(text)[:80]!r} is not a JSON object.", param, ctx)
        return read
