"""Texts of models and callers as HTML: their Markdown is shown, and nothing in them is obeyed or fetched."""

from functools import cache

from markupsafe import Markup

from consortium_mcp._util.lazy import markdown_it
from consortium_mcp.text.templates import plain

LONGEST_MARKDOWN = 50_000
"""Characters of a text that is read as Markdown; a longer one is shown as it was written."""


def said(text: str) -> Markup:
    """The text as HTML: its lists, tables, code and emphasis; headings become paragraphs of the class `heading`."""
    text = plain(text)
    if len(text) > LONGEST_MARKDOWN:
        return Markup("<pre>{}</pre>").format(text)
    reader = _reader()
    tokens = reader.parse(text)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):  # a foreign heading is no part of our outline
            token.tag = "p"
            token.attrs = {"class": "heading"} if token.nesting > 0 else {}
        elif token.type == "fence":
            token.info = ""
        elif token.type in ("th_open", "td_open"):
            token.attrs = {}  # an alignment is a style, which our pages' policy forbids
    return Markup(reader.renderer.render(tokens, reader.options, {}))  # noqa: S704 - the renderer escapes each text


@cache
def _reader() -> "markdown_it.MarkdownIt":
    """Links and pictures stay as they were written: no click and no page leads to an address that a model chose."""
    made = markdown_it.MarkdownIt("commonmark", {"html": False}).enable("table")
    return made.disable(["link", "image", "autolink", "reference"])
