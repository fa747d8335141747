"""Figures for display: with two decimals, or with as many as are needed to distinguish two figures."""

from typing import NamedTuple

_MOST_DECIMALS = 6


class Shown(NamedTuple):
    """Two figures as texts."""

    figure: str
    """The figure."""

    limit: str
    """The limit to which it is compared."""


def figure_text(figure: float | None) -> str:
    """A figure with two decimals; `unknown` for None."""
    return "unknown" if figure is None else f"{figure:.2f}"


def shown_beside(figure: float, limit: float) -> Shown:
    """A figure and its limit with two decimals; with more if they differ and would look equal."""
    decimals = 2
    while decimals < _MOST_DECIMALS and figure != limit and f"{figure:.{decimals}f}" == f"{limit:.{decimals}f}":
        decimals += 1
    texts = (f"{figure:.{decimals}f}", f"{limit:.{decimals}f}")
    return Shown(*texts) if texts[0] != texts[1] else Shown(f"{figure:.2f}", f"{limit:.2f}")
