"""The calibration curve of a consortium as SVG: shown confidence against the share of right answers."""

from xml.etree.ElementTree import Element, SubElement, tostring

from markupsafe import Markup

from consortium_mcp.service.stats import Calibration
from consortium_mcp.text.templates import plain

SIZE = 240
"""The side of the square that represents 0.0-1.0, in pixels."""

MARGIN = 30
"""The margin for the numbers at its sides."""


def curve(calibration: Calibration) -> Markup:
    """A circle for each band, larger with more ratings; on the diagonal, confidence equals the mean score."""
    sides = str(SIZE + 2 * MARGIN)
    box = {"viewBox": f"0 0 {sides} {sides}", "width": sides, "height": sides, "role": "img"}
    svg = Element("svg", box)
    SubElement(svg, "title").text = plain(f"Confidence and ratings of {calibration.consortium}")
    square = {"x": str(MARGIN), "y": str(MARGIN), "width": str(SIZE), "height": str(SIZE)}
    SubElement(svg, "rect", {**square, "fill": "none", "stroke": "currentColor"})
    start, end = _place(0.0, 0.0), _place(1.0, 1.0)
    ends = {"x1": start[0], "y1": start[1], "x2": end[0], "y2": end[1]}
    SubElement(svg, "line", {**ends, "stroke": "currentColor", "stroke-dasharray": "4"})
    for low, high, true, runs in _points(calibration):
        x, y = _place((low + high) / 2, true)
        circle = SubElement(svg, "circle", {"cx": x, "cy": y, "r": f"{3 + min(runs, 100) ** 0.5:.1f}"})
        circle.set("fill", "#48c8")
        SubElement(circle, "title").text = f"confidence {low:.1f}-{high:.1f}: true {true:.2f} ({runs})"
    for value in (0.0, 0.5, 1.0):
        x, y = _place(value, value)
        _label(svg, x, str(SIZE + 2 * MARGIN - 10), f"{value:.1f}")
        _label(svg, str(MARGIN // 2), y, f"{value:.1f}")
    return Markup(tostring(svg, encoding="unicode", method="html"))  # noqa: S704 - the serializer escapes each text


def _points(calibration: Calibration) -> list[tuple[float, float, float, int]]:
    """Each band: its beginning, its end, its mean score, its number of ratings."""
    points = []
    for band in calibration.reliability:
        low, high = map(float, band.confidence.split("-"))
        points.append((low, high, band.true, band.runs))
    return points


def _place(confidence: float, true: float) -> tuple[str, str]:
    """The position of a point, in pixels from the left and from the top."""
    return f"{MARGIN + confidence * SIZE:.1f}", f"{MARGIN + (1 - true) * SIZE:.1f}"


def _label(svg: Element, x: str, y: str, text: str) -> None:
    SubElement(svg, "text", {"x": x, "y": y, "font-size": "11", "text-anchor": "middle"}).text = text
