"""Counts in words: `1 run`, `2 runs`."""


def counted(number: int, noun: str) -> str:
    """A number with its noun, as in `1 run` and `2 runs`; the plural ends in s."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
