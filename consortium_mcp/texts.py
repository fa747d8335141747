"""The texts that we send to models: files in `templates/`, filled by name."""

from functools import cache
from importlib import resources
from string import Template


@cache
def load_template(name: str) -> Template:
    """Load `templates/<name>.txt`; placeholders are written `$name`.

    Raises:
        ValueError: the file is empty: a question without words would still be paid for.
    """
    text = resources.files("consortium_mcp").joinpath("templates", f"{name}.txt").read_text(encoding="utf-8").strip()
    if not text:
        raise ValueError(f"The template {name}.txt is empty; reinstall consortium-mcp.")
    return Template(text)


def fill(name: str, **values: str) -> str:
    """Fill a template; the values are never read for placeholders again, and a missing name raises KeyError."""
    return load_template(name).substitute(values)


def storable(text: str) -> str:
    """The text as UTF-8 can hold it: pairs of surrogates that came in two chunks are joined, single ones replaced."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def clip(text: str, limit: int) -> str:
    """The text, or its beginning and its end with a note of what was cut between them."""
    if len(text) <= limit:
        return text
    head, tail = limit * 2 // 3, limit // 3
    return f"{text[:head]}\n[… {len(text) - head - tail} characters cut …]\n{text[-tail:]}"
