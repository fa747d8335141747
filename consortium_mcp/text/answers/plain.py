"""Converts a short text with LaTeX, Markdown and Unicode variants to plain characters in one spelling."""

import re
import unicodedata

_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n")
_SUPERSCRIPT = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ]+")
_VULGAR = re.compile("([¼½¾⅐-⅞])")
_STARS = re.compile(r"(?<=[\w)])\*\*(?=[\d(-])")
"""The power sign of programs, in contrast to emphasis: it is between two numbers or letters."""

_DASHES = re.compile("[‐‑‒–−﹣－⁻]")
_QUOTES = str.maketrans("‘’‚‛`", "'''''") | str.maketrans(dict.fromkeys("“”„‟«»「」『』", '"'))

_MATH = re.compile(r"\\[()\[\]]|\$\$")
_INLINE_MATH = re.compile(r"(?<![\\$\w])\$(?![\s$])([^$\n]{1,200}?)(?<!\s)\$(?!\d)")
_FRACTION = re.compile(r"(\d?)\\[dt]?frac\s*(?:\{([^{}]*)\}|(\d))\s*(?:\{([^{}]*)\}|(\d))")
_ROOT = re.compile(r"\\sqrt\s*(?:\[(\d+)\])?\s*(?:\{([^{}]*)\}|(\w))")
_WRAPPED = re.compile(
    r"\\(?:text|mathrm|mathbf|mathit|mathsf|textbf|textit|operatorname|mbox|boxed|fbox|bm|mathbb)\*?\s*\{([^{}]*)\}"
)
_POWER = re.compile(r"([\^_])\s*\{([^{}]*)\}")
_COMMAND = re.compile(r"\\([A-Za-z]+|[,;:!%$#&{} ])")
_MEANS = {
    **{
        "times": "*",
        "cdot": "*",
        "ast": "*",
        "div": "/",
        "pm": "±",
        "pi": " pi ",
        "degree": "°",
        "circ": "°",
        "quad": " ",
    },
    **{"le": "≤", "leq": "≤", "ge": "≥", "geq": "≥", "ne": "≠", "neq": "≠", "lt": "<", "gt": ">"},
    **{"approx": "≈", "sim": "≈", "simeq": "≈", "infty": "infinity", "to": "→", "rightarrow": "→"},
    **{"left": "", "right": "", "displaystyle": "", "qquad": " ", "ldots": "...", "dots": "...", "cup": "∪", "in": "∈"},
    **{"neg": "¬", "lnot": "¬", "land": "∧", "wedge": "∧", "lor": "∨", "vee": "∨", "emptyset": "∅", "varnothing": "∅"},
    **{",": " ", ";": " ", ":": " ", "!": "", " ": " ", "%": "%", "$": "$", "#": "#", "&": "&", "{": "{", "}": "}"},
}
_MATRIX = re.compile(r"\\begin\{[a-z]?matrix\}(.{1,400}?)\\end\{[a-z]?matrix\}", re.DOTALL)
_GREEK = {"α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "θ": "theta", "λ": "lambda"} | {
    **{"ρ": "rho", "σ": "sigma", "φ": "phi", "ψ": "psi", "ω": "omega"}
}
_DEEPEST = 12
"""The largest depth of nested braces."""


def plain(text: str) -> str:
    """The text in plain characters, with its lines, without emphasis.

    Args:
        text: an answer of a few lines; the time grows with its length.
    """
    text = powers_with_carets(text.replace("{,}", ","))
    if any(sign in text for sign in "\\${"):
        text = _without_latex(text)
    text = _SUPERSCRIPT.sub(lambda found: "^" + found[0].translate(_SUPERSCRIPTS), text)
    text = _VULGAR.sub(r" \1", text).replace("⁄", "/")
    text = (
        unicodedata.normalize("NFKC", text)
        .replace("⁄", "/")
        .replace("π", " pi ")
        .replace("√", "sqrt")
        .replace("∞", "infinity")
        .replace("+/-", "±")
    )
    text = "".join(_GREEK.get(one, one) for one in text)
    text = _DASHES.sub("-", text).translate(_QUOTES).replace("×", "*").replace("·", "*").replace("÷", "/")
    text = "".join(_ascii_digit(one) for one in text)
    return "\n".join(line for line in (" ".join(line.split()) for line in _unmarked(text).splitlines()) if line)


def powers_with_carets(text: str) -> str:
    """The text with `2^10` instead of `2**10`, so that two stars always mean emphasis."""
    return _STARS.sub("^", text)


def _without_latex(text: str) -> str:
    text = _MATRIX.sub(_row, text)
    text = _INLINE_MATH.sub(r"\1", _MATH.sub(" ", text))
    for _ in range(_DEEPEST):
        before = text
        text = _WRAPPED.sub(r"\1", text)
        text = _POWER.sub(lambda found: found[1] + _atom(found[2]), text)
        text = _ROOT.sub(_root, text)
        text = _FRACTION.sub(_fraction, text)
        if text == before:
            break
    text = _COMMAND.sub(lambda found: _MEANS.get(found[1], found[1] if len(found[1]) > 1 else " "), text)
    return text.replace("^°", "°").replace("^ °", "°")


def _row(found: re.Match[str]) -> str:
    """A vector or a matrix as a tuple, row by row."""
    return "(" + found[1].replace("\\\\", ", ").replace("&", ", ") + ")"


def _fraction(found: re.Match[str]) -> str:
    whole = f"{found[1]} " if found[1] else ""
    return f"{whole}{_atom(found[2] or found[3] or '')}/{_atom(found[4] or found[5] or '')}"


def _root(found: re.Match[str]) -> str:
    inside = found[2] or found[3] or ""
    return f"({inside})^(1/{found[1]})" if found[1] else f"sqrt({inside})"


def _atom(text: str) -> str:
    text = text.strip()
    return text if text.isdecimal() or len(text) == 1 or text == "\\circ" else f"({text})"


def _unmarked(text: str) -> str:
    """The text without the signs of emphasis and headings."""
    text = text.replace("**", "").replace("__", "")
    return "\n".join(line.strip().lstrip("#>").strip() for line in text.splitlines())


def _ascii_digit(one: str) -> str:
    if one < "\x80" or not one.isdecimal():
        return one
    return str(unicodedata.decimal(one))
