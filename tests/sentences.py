"""Every sentence for users, agents and readers of schemas, extracted from the package's source."""

import ast
import re
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "consortium_mcp"

DOORS = ("cli", "server/tools", "server/resources")
"""Folders whose functions' docstrings are shown: by `--help`, in tools/list, in the lists of resources and prompts."""

_NEW_LINE = re.compile(r"(?<![:>\n-])\n(?=[A-Za-z`])(?!\w+:)")

WORD_LISTS = "text/answers/"
"""A folder without shown sentences: its strings are words to search for."""

_END = re.compile(r"(?<=[.!?])\s+|\n\s*\n")


def sentences() -> dict[str, list[str]]:
    """The sentences of each file that has any, in the order of the source."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if name.startswith(WORD_LISTS):
            continue
        if texts := [
            " ".join(one.split()) for text in _texts(name, ast.parse(path.read_text())) for one in _split(text)
        ]:
            found[name] = list(dict.fromkeys(texts))
    for path in sorted(PACKAGE.rglob("*.txt")):
        found[path.relative_to(PACKAGE).as_posix()] = _of_template(path.read_text())
    return found


def _of_template(text: str) -> list[str]:
    """The sentences of a template: a line goes on in the next one, unless that begins an item, a tag or a label."""
    joined = _NEW_LINE.sub(" ", text)
    return [" ".join(one.split()) for line in joined.splitlines() for one in _END.split(line) if one.strip()]


def words(sentence: str) -> int:
    """How many words a sentence has; what is quoted or filled in counts as one."""
    plain = re.sub(r"`[^`]*`|\{[^{}]*\}|'[^']*'|\([^()]*\)", "x", sentence)
    return len([word for word in plain.split() if re.search(r"\w", word)])


def _split(text: str) -> list[str]:
    return [one for one in _END.split(text.strip()) if len(one.split()) >= 3]


def _texts(name: str, tree: ast.Module) -> list[str]:
    docstrings = set()
    shown = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                docstrings.add(id(first.value))
                if (
                    isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
                    and name.startswith(DOORS)
                    and node.decorator_list
                ):
                    shown.append((node.lineno, str(first.value.value)))
        if isinstance(node, ast.Module):
            docstrings |= {id(one.value) for one in node.body if isinstance(one, ast.Expr)}
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    inside |= {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr == "split"}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            shown.append((node.lineno, _filled(node)))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if id(node) not in docstrings and id(node) not in inside and _is_prose(node.value):
                shown.append((node.lineno, node.value))
    return [text for _, text in sorted(shown, key=lambda one: one[0]) if _is_prose(text)]


def _filled(node: ast.JoinedStr) -> str:
    """An f-string whose values are replaced by their expressions."""
    parts = (str(one.value) if isinstance(one, ast.Constant) else _hole(one) for one in node.values)
    return "".join(parts)


def _hole(part: ast.expr) -> str:
    return "{" + ast.unparse(part.value)[:30] + "}" if isinstance(part, ast.FormattedValue) else "{}"


def _is_prose(text: str) -> bool:
    """Whether a text is prose, and no pattern, no SQL, no markup, no shell script."""
    if len(text.split()) < 3 or re.search(
        r"\(\?|\\[swd]|%\(\w+\)s|\b(SELECT|INSERT|UPDATE|DELETE|CREATE|ORDER BY|WHERE)\b", text
    ):
        return False
    return bool(re.search(r"[a-z]{2,} [a-z]{2,}", text))
