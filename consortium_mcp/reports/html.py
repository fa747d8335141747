"""Pages of runs and statistics: one HTML file that loads nothing, and the parts that the web pages share."""

import base64
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache

from markupsafe import Markup

from consortium_mcp._util.counts import counted
from consortium_mcp._util.lazy import jinja2
from consortium_mcp.records import Attachment, AttachmentFile, Iteration, Run
from consortium_mcp.records.attachment import described
from consortium_mcp.reports.curve import curve
from consortium_mcp.reports.definitions import definition_text
from consortium_mcp.reports.markdown import confidence_text, facts, outcome_text, selected_verdict
from consortium_mcp.reports.plans import plan_text
from consortium_mcp.reports.said import said
from consortium_mcp.reports.stats import stats_text
from consortium_mcp.reports.trust import trust_line, trust_of
from consortium_mcp.service.stats import Stats
from consortium_mcp.text.figures import figure_text
from consortium_mcp.text.templates import plain

_PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp")
"""Types of attachments that a page shows; every other one is only named."""


def page(runs: Iterable[Run]) -> str:
    """The page of some runs, in the order given."""
    return _pages().get_template("export.html").render(runs=list(runs))


def stats_page(stats: Stats) -> str:
    """The page of the statistics: their text, and the calibration curve of each consortium as a picture."""
    return _pages().get_template("stats.html").render(stats=stats)


@cache
def _pages() -> "jinja2.Environment":
    return templates()


def templates(*folders: "jinja2.BaseLoader") -> "jinja2.Environment":
    """The templates of this folder, and of others that use them; each text is escaped, and shows all that it has.

    Args:
        folders: where templates are searched first.
    """
    own = jinja2.PackageLoader("consortium_mcp.reports", "pages")
    made = jinja2.Environment(
        loader=jinja2.ChoiceLoader([*folders, own]),
        autoescape=True,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    made.filters.update(
        confidence=confidence_text,
        counted=counted,
        curve=curve,
        described=described,
        definition_text=definition_text,
        facts=facts,
        figure=figure_text,
        label_in=_label,
        on_line=_on_line,
        outcome=outcome_text,
        picture=_picture,
        plan_text=plan_text,
        said=said,
        seconds_since=_seconds_since,
        selected_verdict=selected_verdict,
        stats_text=stats_text,
        trust=trust_of,
        trust_line=trust_line,
    )
    return made


def _shown(value: object) -> object:
    """A value of a template for output: a text without hidden characters; our own markup unchanged."""
    return plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _picture(attachment: Attachment) -> str | None:
    """The picture as a data: URI; None for another kind of file, and without its content."""
    if not isinstance(attachment, AttachmentFile) or attachment.type not in _PICTURES:
        return None
    return f"data:{attachment.type};base64,{base64.b64encode(attachment.content).decode()}"


def _on_line(text: str, longest: int) -> str:
    """The text on one line, cut at its length limit."""
    line = " ".join(plain(text).split())
    return line if len(line) <= longest else f"{line[:longest]} …"


def _seconds_since(utc: str) -> int:
    """The whole seconds since a time, ISO 8601 in UTC."""
    return max(0, int((datetime.now(UTC) - datetime.fromisoformat(utc)).total_seconds()))


def _label(response_id: str, iteration: Iteration) -> str:
    """The instance that gave a response, as in `gpt-5#2`; the id of a response that is not in the iteration."""
    labels: dict[str, str] = {response.response_id: response.label for response in iteration.responses}
    return labels.get(response_id, response_id)
