"""Runs as one self-contained HTML page: no script, no font, and all texts escaped."""

from collections.abc import Iterable
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from consortium_mcp.records import Run
from consortium_mcp.reports.curve import add_curve
from consortium_mcp.reports.markdown import facts, sections
from consortium_mcp.reports.stats import stats_text
from consortium_mcp.service.stats import Stats
from consortium_mcp.text.templates import plain

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""The content security policy of the page, which allows only its own style."""

_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 50rem; margin: 2rem auto; padding: 0 1rem; }
article { border-top: 1px solid #8888; margin-top: 2rem; }
h1, h2, h3, h4 { line-height: 1.2; overflow-wrap: anywhere; }
pre { font: inherit; white-space: pre-wrap; overflow-wrap: anywhere; border-left: 3px solid #8884; padding-left: 1rem; }
"""


def page(runs: Iterable[Run]) -> str:
    """The page of some runs, in the order given."""
    html, body = _page("Runs of consortium-mcp")
    for run in runs:
        _add_run(SubElement(body, "article", id=run.run_id), run)
    return _written(html)


def stats_page(stats: Stats) -> str:
    """The page of the statistics: their text, and a picture of each consortium's calibration curve."""
    html, body = _page("Statistics of consortium-mcp")
    _add(body, "h1", "Statistics")
    for calibration in stats.calibration:
        article = SubElement(body, "article")
        _add(article, "h2", f"{calibration.consortium}, judged by {calibration.arbiter}")
        add_curve(article, calibration)
    _add(SubElement(body, "article"), "pre", stats_text(stats))
    return _written(html)


def _page(title: str) -> tuple[Element, Element]:
    """An empty page, and its body."""
    html = Element("html", lang="en")
    head = SubElement(html, "head")
    SubElement(head, "meta", charset="utf-8")
    SubElement(head, "meta", {"http-equiv": "Content-Security-Policy", "content": _POLICY})
    SubElement(head, "meta", name="viewport", content="width=device-width")
    _add(head, "title", title)
    _add(head, "style", _STYLE)
    return html, SubElement(html, "body")


def _written(html: Element) -> str:
    # A serializer writes the tree, so that every text is escaped.
    return "<!DOCTYPE html>\n" + ElementTree.tostring(html, encoding="unicode", method="html") + "\n"


def _add_run(article: Element, run: Run) -> None:
    _add(article, "h1", f"Run {run.run_id}")
    known = SubElement(article, "ul")
    for fact in facts(run):
        _add(known, "li", fact)
    for section in sections(run):
        _add(article, f"h{section.level}", section.heading)
        if section.text:
            _add(article, "pre", section.text)


def _add(parent: Element, tag: str, text: str) -> None:
    SubElement(parent, tag).text = plain(text)
