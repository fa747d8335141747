"""The texts for models: files in `templates/`, filled by name."""

import re
from functools import cache
from importlib import resources
from string import Template

from consortium_mcp.text.hidden import without_hidden

_INVISIBLE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # ANSI: colours, cursor, screen
    r"|\x1b[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)?"  # ANSI: titles, hyperlinks and other strings, or their beginning
    r"|\x1b[ -/]*[0-~]?"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f]"  # control characters but tab and newline
)

SHORT_TEXTS = "short"
"""The folder in `templates/` with the texts for models that declare `needs_short_texts`."""


@cache
def load_template(name: str, short: bool = False) -> Template:
    """Load `templates/<name>.txt`; placeholders are written `$name`.

    Args:
        short: whether to load the short text for very small models; if it is missing, the full one is loaded.

    Raises:
        ValueError: the file is empty; an empty question would still cost money.
    """
    folder = resources.files("consortium_mcp") / "templates"
    short = short and (folder / SHORT_TEXTS / f"{name}.txt").is_file()
    text = (folder / SHORT_TEXTS if short else folder).joinpath(f"{name}.txt").read_text(encoding="utf-8").strip()
    if not text:
        raise ValueError(f"The template {name}.txt is empty; reinstall consortium-mcp.")
    return Template(text)


def fill(name: str, short: bool = False, /, **values: str) -> str:
    """Fill a template. Values are not searched for placeholders; a missing name raises KeyError.

    Args:
        short: whether to use the short text.
    """
    return load_template(name, short).substitute(values)


def storable(text: str) -> str:
    """The text as valid UTF-8: split surrogate pairs are joined, single surrogates replaced."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def plain(text: str) -> str:
    """The text without escape sequences, control characters and bidi marks, which a terminal obeys or hides."""
    return without_hidden(_INVISIBLE.sub("", text.replace("\r\n", "\n")))


def clip(text: str, limit: int) -> str:
    """The text; if it is too long, its beginning and end with a note of the omitted length."""
    if len(text) <= limit:
        return text
    head, tail = limit * 2 // 3, limit // 3
    return f"{text[:head]}\n[… {len(text) - head - tail} characters cut …]\n{text[len(text) - tail :]}"
