"""Formulas: evaluated if they have no variables, else compared by their values at a few fixed points.

Two formulas with the same values at random points are the same but for a vanishing chance (Schwartz-Zippel lemma).
"""

import ast
import cmath
import math
import re
import warnings
from collections.abc import Callable, Mapping
from fractions import Fraction

Value = Fraction | complex

_LONGEST = 200
_WORD = re.compile(r"[^\W\d_]+")
_ALLOWED = re.compile(r"[\w\s.+\-*/^()!=]+")
_IMPLICIT = re.compile(r"(?<=[\d)]) ?(?=[A-Za-z(])|(?<=\)) ?(?=\d)|(?<=\bpi) ?(?=[A-Za-z(])")
_APPLIED = re.compile(r"(?<![A-Za-z])(sqrt|sin|cos|tan|ln|log|exp) ?([A-Za-z]|\d+)(?![\w(])")
_FUNCTIONS: Mapping[str, Callable[[complex], complex]] = {
    "sqrt": cmath.sqrt,
    "sin": cmath.sin,
    "cos": cmath.cos,
    "tan": cmath.tan,
    "arctan": cmath.atan,
    "arcsin": cmath.asin,
    "arccos": cmath.acos,
    "exp": cmath.exp,
    "ln": cmath.log,
    "log": cmath.log,
    "abs": abs,
}
_CONSTANTS: Mapping[str, complex] = {"pi": math.pi, "e": math.e, "i": 1j}
_POINTS = (0.7390851332, 1.3247179572, 2.2360679775)
"""The points at which formulas are evaluated; each variable has a different multiple of them."""

_LARGEST_POWER = 300
_LARGEST = 10**60


def number_of(text: str) -> tuple[Fraction, bool] | None:
    """The value of a formula without variables, and whether it is irrational; None for any other text."""
    tree = _parsed(text)
    if tree is None or _variables(tree):
        return None
    value = _value(tree, {})
    if isinstance(value, Fraction):
        return value, False
    if value is None or abs(value.imag) > 1e-12 or not math.isfinite(value.real):
        return None
    return Fraction(f"{value.real:.12g}"), True


def formula_of(text: str) -> tuple[complex, ...] | None:
    """The values of a formula with variables at the fixed points; None if the text is no such formula.

    `y = 2x` is the formula `2x`. An equation with a longer left side is the difference of its sides.
    """
    sides = [side.strip() for side in text.split("=")]
    if len(sides) > 2 or not all(sides):
        return None
    if len(sides) == 2 and re.fullmatch(r"[A-Za-z](?:\([a-z]\))?'?", sides[0]):
        sides = sides[1:]
    trees = [_parsed(side) for side in sides]
    variables = sorted({name for tree in trees if tree is not None for name in _variables(tree)})
    if any(tree is None for tree in trees) or any(len(name) > 1 for name in variables):
        return None
    if not variables and not all(_is_complex(tree) for tree in trees if tree):
        return None
    values = []
    for point in _POINTS:
        at = {name: complex(point * (1 + ord(name) % 61 / 7)) for name in variables}
        computed = [_value(tree, at) for tree in trees if tree is not None]
        if any(value is None for value in computed):
            return None
        numbers = [complex(value) for value in computed if value is not None]
        values.append(numbers[0] if len(numbers) == 1 else numbers[0] - numbers[1])
    if len(trees) == 2 and values[0]:
        values = [value / values[0] for value in values]
    return tuple(map(_rounded, values))


def _is_complex(tree: ast.expr) -> bool:
    value = _value(tree, {})
    return isinstance(value, complex) and value.imag != 0


def _rounded(value: complex) -> complex:
    """The value rounded to 9 digits, so that the order of operations does not matter."""
    return complex(*(float(f"{part:.9g}") + 0.0 for part in (value.real, value.imag)))


def _parsed(text: str) -> ast.expr | None:
    """The syntax tree of the formula; None if the text is prose or no formula."""
    text = text.strip().rstrip(".")
    if not text or len(text) > _LONGEST or not _ALLOWED.fullmatch(text) or "=" in text or "_" in text:
        return None
    text = _APPLIED.sub(r"\1(\2)", text)
    has_operator = re.search(r"[\^*/+(]|\w ?- ?\w", text) is not None
    has_sign = re.search(r"[\^*/+(!]|\d ?[a-z]|\w ?- ?\w", text) is not None
    for word in _WORD.findall(text):
        known = word in _FUNCTIONS or word in _CONSTANTS
        if not known and (len(word) > 2 or (len(word) == 2 and not has_operator)):
            return None
    if not has_sign and not any(word in _CONSTANTS and word != "e" and word != "i" for word in _WORD.findall(text)):
        return None
    spaced = _WORD.sub(lambda found: _split(found[0]), text)
    written = _IMPLICIT.sub("*", spaced.replace("^", "**"))
    for name in _FUNCTIONS:
        written = written.replace(f"{name}*(", f"{name}(")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # here, `2(3)` is no call of a number
            return ast.parse(written.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None


def _split(word: str) -> str:
    """`xy` as the product of `x` and `y`."""
    return word if word in _FUNCTIONS or word in _CONSTANTS else "*".join(word)


def _variables(tree: ast.expr) -> set[str]:
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in called}
    return names - set(_CONSTANTS)


def _value(node: ast.expr, at: Mapping[str, complex], depth: int = 0) -> Value | None:
    """The value of a tree; None if it has none, is too large, or contains more than arithmetic."""
    if depth > 60:
        return None
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return Fraction(str(node.value)) if math.isfinite(node.value) else None
    if isinstance(node, ast.Name):
        return at.get(node.id, _CONSTANTS.get(node.id))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        value = _value(node.operand, at, depth + 1)
        return -value if value is not None and isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BinOp):
        left, right = _value(node.left, at, depth + 1), _value(node.right, at, depth + 1)
        return None if left is None or right is None else _calculated(node.op, left, right)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) == 1 and not node.keywords:
        argument = _value(node.args[0], at, depth + 1)
        return None if argument is None else _called(node.func.id, argument, at)
    return None


def _called(name: str, argument: Value, at: Mapping[str, complex]) -> Value | None:
    function = _FUNCTIONS.get(name)
    try:
        if function is None:  # `x(y+1)` is a product
            factor = at.get(name, _CONSTANTS.get(name))
            return None if factor is None else factor * complex(argument)
        if name == "sqrt" and isinstance(argument, Fraction) and argument >= 0:
            roots = [math.isqrt(part) for part in (argument.numerator, argument.denominator)]
            if roots[0] ** 2 == argument.numerator and roots[1] ** 2 == argument.denominator:
                return Fraction(*roots)
        return complex(function(complex(argument)))
    except (ArithmeticError, ValueError):
        return None


def _calculated(operator: ast.operator, left: Value, right: Value) -> Value | None:
    try:
        if isinstance(operator, ast.Pow):
            return _power(left, right)
        if not (isinstance(left, Fraction) and isinstance(right, Fraction)):
            left, right = complex(left), complex(right)
        result = _of_two(operator, left, right)
    except (ArithmeticError, ValueError):
        return None
    return None if result is None or abs(complex(result)) > _LARGEST else result


def _of_two(operator: ast.operator, left: Value, right: Value) -> Value | None:
    if isinstance(operator, ast.Add):
        return left + right
    if isinstance(operator, ast.Sub):
        return left - right
    if isinstance(operator, ast.Mult):
        return left * right
    return left / right if isinstance(operator, ast.Div) else None


def _power(left: Value, right: Value) -> Value | None:
    if abs(complex(right)) > _LARGEST_POWER:
        return None
    if isinstance(left, Fraction) and isinstance(right, Fraction) and right.denominator == 1:
        largest: int = max(abs(left.numerator), left.denominator) ** abs(right.numerator)
        return Fraction(left**right.numerator) if largest <= _LARGEST else None
    result = complex(left) ** complex(right)
    return result if abs(result) < _LARGEST else None
