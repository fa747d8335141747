"""Makes foreign texts safe in our Markdown: they start and hide no part of it, and load nothing."""

import re

from consortium_mcp.text.templates import plain

_BEFORE = r"^(?>(?:[^\S\n]|\d{1,9}[.)]|[>*+-])*)"
"""The characters that may precede a heading in a line: blanks, and marks of lists and quotes."""

_STRUCTURE = re.compile(
    rf"{_BEFORE}(?:#|```|~~~)|^(?>(?:[^\S\n]|\d{{1,9}}[.)]|[>+])*)[-=*_][-=*_>+ \t]*$", re.MULTILINE
)
"""A line that is or looks like a Markdown heading, an underline, a rule, or a fence."""

_LOADS = re.compile(rf"{_BEFORE}<|!\[|\]:", re.MULTILINE)
"""An HTML block, a picture, or a link reference definition."""

_TAG = re.compile(r"<[A-Za-z/!?]")

_BACKTICKS = re.compile(r"`+")


def under_heading(text: str) -> str:
    """A foreign text below a heading of ours: quoted if it could begin another heading or hide ours.

    Hidden characters are removed first, because they could hide the beginning of a line. A text with HTML or a picture
    is put unchanged into a fence, so that no program executes it or fetches anything for it.
    """
    text = plain(text)
    if _is_live(text):
        fence = "`" * max(3, 1 + max(map(len, _BACKTICKS.findall(text)), default=0))
        return f"{fence}text\n{text}\n{fence}"
    return "\n".join(f"> {line}".rstrip() for line in text.split("\n")) if _STRUCTURE.search(text) else text


def on_line(text: str) -> str:
    """A foreign text on one line of ours, with HTML and pictures made inactive."""
    return " ".join(plain(text).split()).replace("<", "&lt;").replace("![", "!\\[").replace("]:", "]\\:")


def _is_live(text: str) -> bool:
    """Whether a program that shows the text may execute a part of it, or fetch something for it."""
    if _LOADS.search(text):
        return True
    tag = _TAG.search(text)
    return tag is not None and ">" in text[tag.end() :]
