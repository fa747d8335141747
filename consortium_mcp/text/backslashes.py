"""Backslashes that JSON took for escapes: in `\\frac` and `C:\\temp`, control characters become backslashes again."""

import re

_LETTERS = {"\b": "b", "\t": "t", "\n": "n", "\f": "f", "\r": "r"}

_NEVER_MEANT = re.compile(r"[\b\f]|\r(?=[a-z])")
"""Control characters that no model writes on purpose."""

_COMMANDS = (
    r"\t(?:imes|heta|herefore|ext(?:bf|it|rm|sf|tt|sc|style)?(?=\{)|extstyle|frac|binom|ilde|riangle\w{0,9}|riangleq|au(?=[\W_\d]|$))"
    r"|\n(?:abla|eq(?=[\W_\d]|$)|otin|leq|geq|rightarrow|subseteq|onumber|ewcommand)"
)
_CERTAIN = re.compile(rf"(?:{_COMMANDS})(?![a-z])")
_IN_FORMULAS = re.compile(
    rf"(?:{_COMMANDS}|\t(?:an|anh|o|op|ag)|\n(?:u|e|i|ot|atural|less|gtr|eg|exists|mid|parallel|olimits|warrow|earrow))(?![A-Za-z])"
)
_FORMULA = re.compile(
    r"\$\$[^$]{1,2000}\$\$|\$[^$\n]{0,200}(?:\n[^$\n]{1,200}){0,3}\$|\\\(.{1,500}?\\\)|\\\[.{1,600}?\\\]", re.DOTALL
)

_DRIVE = re.compile(r"(?<![A-Za-z])[A-Za-z]:(?=[\b\t\n\f\r\\])")
_NAMES = (
    r"emp|mp|est(?:s|ing)?|ools?|arget|emplates?|hemes?|asks?|ext|ransfers?|raining",
    r"ew|ode(?:_modules|js)?|ginx|otes?|et|etwork|uget|pm|ames|ews|ative",
)
_STEP = re.compile(
    rf"\\[\w .-]{{0,60}}?(?=[\b\t\n\f\r\\]|[^\w.-]|$)|[\b\f][\w.-]{{1,60}}|\r[\w.-]{{1,60}}"
    rf"|\t(?:{_NAMES[0]})(?![A-Za-z])[\w.-]{{0,40}}|\n(?:{_NAMES[1]})(?![A-Za-z])[\w.-]{{0,40}}"
    r"|[\t\n][\w-]{1,40}\.[A-Za-z0-9]{1,5}(?![\w])"
)

_SUSPECT = re.compile(r"[\b\f\r]|(?<=[A-Za-z]:)[\t\n\\]|[\t\n][A-Za-z]*\Z|\$|(?<=\\)[(\[]|" + f"(?:{_COMMANDS})")


def with_backslashes(text: str) -> str:
    """The text with a backslash for each control character that must have been one.

    A form feed, a backspace, and a carriage return before a letter always were one. A tab or line break was one before
    the rest of a LaTeX command, or, after a drive letter, before the rest of a folder's name.
    """
    if not any(control in text for control in _LETTERS):
        return text
    text = _NEVER_MEANT.sub(_restored, _in_paths(text))
    text = _CERTAIN.sub(_restored, text)
    return _FORMULA.sub(lambda formula: _IN_FORMULAS.sub(_restored, formula[0]), text)


def certain_beginning(text: str) -> str:
    """The beginning of a text that `with_backslashes` leaves unchanged."""
    found = _SUSPECT.search(text)
    return text[: found.start()] if found else text


def _restored(found: re.Match[str]) -> str:
    return f"\\{_LETTERS[found[0][0]]}{found[0][1:]}"


def _in_paths(text: str) -> str:
    """The text with the backslashes of its Windows paths."""
    parts: list[str] = []
    position = 0
    for drive in _DRIVE.finditer(text):
        at = drive.end()
        if at < position:
            continue
        parts.append(text[position:at])
        while step := _STEP.match(text, at):
            parts.append(_restored(step) if step[0][0] in _LETTERS else step[0])
            at = step.end()
        position = at
    return "".join((*parts, text[position:]))
