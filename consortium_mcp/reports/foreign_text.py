"""Texts of models and callers inside our Markdown: none begins or hides a part of ours, and none loads anything."""

import re

from consortium_mcp.text.templates import plain

_BEFORE = r"^(?>(?:[^\S\n]|\d{1,9}[.)]|[>*+-])*)"
"""What a line may begin with and still begin a heading: blanks, and marks of lists and quotes."""

_STRUCTURE = re.compile(
    rf"{_BEFORE}(?:#|```|~~~)|^(?>(?:[^\S\n]|\d{{1,9}}[.)]|[>+])*)[-=*_][-=*_>+ \t]*$", re.MULTILINE
)
"""A line that is, or looks like, a heading of Markdown, what underlines one, a rule, or a fence."""

_LOADS = re.compile(rf"{_BEFORE}<|!\[|\]:", re.MULTILINE)
"""A block of HTML, a picture, or what stands for the address of one elsewhere in the text."""

_TAG = re.compile(r"<[A-Za-z/!?]")

_BACKTICKS = re.compile(r"`+")


def under_heading(text: str) -> str:
    """A foreign text as it stands under a heading of ours: quoted where it could begin another or hide ours.

    What hides is left out first, for it could hide the beginning of a line. A text with HTML or a picture stands as it
    was written, in a fence of its own, so that no program obeys it or fetches anything for it.
    """
    text = plain(text)
    if _is_live(text):
        fence = "`" * max(3, 1 + max(map(len, _BACKTICKS.findall(text)), default=0))
        return f"{fence}text\n{text}\n{fence}"
    return "\n".join(f"> {line}".rstrip() for line in text.split("\n")) if _STRUCTURE.search(text) else text


def on_line(text: str) -> str:
    """A text on one line of ours, in which no HTML and no picture comes to life."""
    return " ".join(plain(text).split()).replace("<", "&lt;").replace("![", "!\\[").replace("]:", "]\\:")


def _is_live(text: str) -> bool:
    """Whether a program that shows the text may obey a part of it, or fetch something for it."""
    if _LOADS.search(text):
        return True
    tag = _TAG.search(text)
    return tag is not None and ">" in text[tag.end() :]
