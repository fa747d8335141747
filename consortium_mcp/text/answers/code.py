"""Code, compared by tokens: comments, names of local variables and insignificant layout do not count."""

import ast
import json
import re
import warnings
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from consortium_mcp.text.answers.verdicts import DIFFERENT, NOT_COMPARABLE, SAME, Comparison

_TOKEN = re.compile(
    r"\"(?:[^\"\\\n]|\\.){0,200}\"|'(?:[^'\\\n]|\\.){0,200}'|[^\W\d]\w*|\d[\w.]*|[=!<>]=|&&|\|\||->|=>|::|\*\*|[^\w\s]"
)
_HASH_COMMENT = re.compile(r"(?:^|(?<=\s))#[^\n]*", re.MULTILINE)
_SLASH_COMMENT = re.compile(r"(?<!:)//[^\n]*|/\*(?:[^*/]|\*(?!/)|/(?!\*))*\*/")
_DASH_COMMENT = re.compile(r"--[^\n]*")
_COMMENTS = {
    **dict.fromkeys(
        ("python", "py", "sh", "bash", "shell", "yaml", "yml", "ruby", "rb", "r", "toml", "perl"), _HASH_COMMENT
    ),
    **dict.fromkeys(("js", "javascript", "ts", "typescript", "java", "c", "cpp", "c++", "go", "rust"), _SLASH_COMMENT),
    **dict.fromkeys(("cs", "csharp", "kotlin", "swift", "scala", "php", "css", "jsx", "tsx"), _SLASH_COMMENT),
    **dict.fromkeys(("sql", "lua", "haskell", "ada", "elm"), _DASH_COMMENT),
}
_PYTHON = ("python", "py", "python3", "")
_INDENTED = frozenset("python py python3 yaml yml haskell hs fsharp nim coffee sass pug make makefile".split())
"""The languages with significant indentation."""

_SQL = re.compile(
    r"(?:select\b.{1,400}?\bfrom\b|select\s+[\d'*]|insert\s+into\b|update\b.{1,200}?\bset\b.{1,200}?=|delete\s+from\b|"
    r"create\s+(?:table|index|view)\b|alter\s+table\b|drop\s+table\b|with\s+\w+\s+as\s*\()",
    re.IGNORECASE | re.DOTALL,
)
_STATEMENT = re.compile(
    r"(?:def|class|function|func|fn|const|let|var|public|private|static|import|from|return|for|while|if|#include|"
    r"async|export|lambda|print|console\.log|System\.out|echo|git|npm|pip|docker|curl|sudo)\b"
)
_STATED = re.compile(
    r"\b(?:prints?|outputs?|returns?|result is|output is|output:|evaluates to)[:\s]+[\"'`]?([^\s\"'`]+)", re.I
)
_MOST_DIFFERENCES = 3
_LONGEST_PARSED = 20_000


@dataclass(frozen=True)
class Code:
    """The code of an answer."""

    tokens: tuple[str, ...]
    """The tokens in order, without comments."""

    shape: Hashable
    """The syntax tree with numbered local names, for Python; else the tokens, with significant layout."""

    output: str | None
    """The output, if the code only prints a constant or the text beside it states the output; None if unknown."""

    is_constant: bool = False
    """Whether the code only prints a constant."""

    layout: tuple[int, ...] = ()
    """The depth of each line, from 0."""

    is_laid_out: bool = False
    """Whether the depth of lines is significant."""

    is_parsed: bool = False
    """Whether the shape consists of syntax trees only."""


def code_of(blocks: Sequence[tuple[str, str]], beside: str) -> Code:
    """The code of fenced blocks, each with its language, and the output that the text beside them states."""
    tokens: list[str] = []
    shapes: list[Hashable] = []
    layout: list[int] = []
    constant: str | None = None
    for language, source in blocks:
        its_tokens, depths = _tokens(language, source), _depths(_without_comments(language, source))
        tree = _tree(language, source)
        constant = _printed(tree) if tree is not None and len(blocks) == 1 else None
        unparsed: Hashable = (its_tokens, depths) if language in _INDENTED else its_tokens
        shapes.append((_shape(tree) if tree is not None else None) or unparsed)
        tokens += its_tokens
        layout += depths
    stated = _STATED.findall(beside[-2_000:])
    output = constant if constant is not None else (stated[-1].rstrip(".,;") if stated else None)
    is_parsed = all(isinstance(shape, str) for shape in shapes)
    is_laid_out = is_parsed or any(language in _INDENTED for language, _ in blocks)
    return Code(tuple(tokens), tuple(shapes), output, constant is not None, tuple(layout), is_laid_out, is_parsed)


def is_code(text: str) -> bool:
    """Whether a text without a fence is code: an SQL statement, or a line with the words and signs of a program."""
    text = text.strip()
    if _SQL.match(text):
        return text.endswith(";") or any(sign in text for sign in "=<>*(,") or text[:6].isupper()
    signs = sum(text.count(sign) for sign in "(){}=;<>[]:")
    if _STATEMENT.match(text) is None or signs < 2 or "? " in text:
        return False
    return text[-1:] in ");}:]\"'" or (text.startswith(("def ", "class ")) and _tree("python", text) is not None)


def compare_code(one: Code, other: Code) -> Comparison:
    """Same if tokens or syntax trees are equal; different if a few tokens differ; else not comparable.

    Programs that are written differently can do the same, so they do not count as different. Equal tokens with other
    indentation are a different program if indentation is significant.
    """
    if one.shape == other.shape:
        return SAME
    if one.tokens == other.tokens:
        if one.layout == other.layout or not (one.is_laid_out or other.is_laid_out):
            return SAME
        return DIFFERENT if one.is_parsed and other.is_parsed else NOT_COMPARABLE
    if one.output is not None and other.output is not None and (one.is_constant or other.is_constant):
        return SAME if one.output == other.output else DIFFERENT
    start = _shared(one.tokens, other.tokens)
    end = _shared(one.tokens[start:][::-1], other.tokens[start:][::-1])
    changed = max(len(one.tokens), len(other.tokens)) - start - end
    if changed <= _MOST_DIFFERENCES and start + end > 0:
        return DIFFERENT
    if len(one.tokens) != len(other.tokens):
        return NOT_COMPARABLE
    differences = sum(first != second for first, second in zip(one.tokens, other.tokens, strict=True))
    return DIFFERENT if differences <= _MOST_DIFFERENCES else NOT_COMPARABLE


def _shared(tokens: Sequence[str], others: Sequence[str]) -> int:
    """The number of equal tokens at the beginning of both programs."""
    unequal = (at for at, (one, other) in enumerate(zip(tokens, others, strict=False)) if one != other)
    return next(unequal, min(len(tokens), len(others)))


def data_in(text: str) -> str | None:
    """JSON in one spelling, with sorted keys; None if the text is no JSON object or list."""
    text = text.strip()
    if text[:1] not in ("{", "[") or text[-1:] not in ("}", "]") or len(text) > _LONGEST_PARSED:
        return None
    try:
        return json.dumps(json.loads(text), sort_keys=True)
    except (ValueError, RecursionError):
        return None


def _without_comments(language: str, source: str) -> str:
    comment = _COMMENTS.get(language)
    return source if comment is None else comment.sub(" ", source)


def _depths(source: str) -> tuple[int, ...]:
    """The depth of each line that is not blank: the number of enclosing lines before it."""
    found: list[int] = []
    widths: list[int] = []
    for line in source.expandtabs().splitlines():
        if not line.strip():
            continue
        width = len(line) - len(line.lstrip())
        while widths and widths[-1] >= width:
            widths.pop()
        found.append(len(widths))
        widths.append(width)
    return tuple(found)


def _tokens(language: str, source: str) -> tuple[str, ...]:
    source = _without_comments(language, source)
    found = _TOKEN.findall(source)
    while found and found[-1] == ";":
        found.pop()
    found = _without_parentheses(found) if "=>" in found else found
    is_sql = language == "sql" or (not language and _SQL.match(source.strip()) is not None)
    if is_sql:
        found = [token if token[0] in "\"'" else token.casefold() for token in found]
    return tuple(found)


def _without_parentheses(tokens: list[str]) -> list[str]:
    """The tokens without the parentheses around the one argument of an arrow function."""
    kept: list[str] = []
    for token in tokens:
        if token == "=>" and len(kept) >= 3 and (kept[-3], kept[-1]) == ("(", ")"):
            kept[-3:] = [kept[-2]]
        kept.append(token)
    return kept


def _tree(language: str, source: str) -> ast.Module | None:
    """The syntax tree of Python code; None if it is not Python, or too long to parse."""
    if language not in _PYTHON or len(source) > _LONGEST_PARSED:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None


def _shape(tree: ast.Module) -> str | None:
    """The tree in one spelling, with functions, arguments and variables renamed `v1`, `v2` in order of appearance.

    None if the tree is too deep.
    """
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            node.body = [part for part in node.body if not _is_text(part)] or node.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names.setdefault(node.name, f"v{len(names) + 1}")
        if isinstance(node, ast.arg):
            names.setdefault(node.arg, f"v{len(names) + 1}")
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.setdefault(node.id, f"v{len(names) + 1}")
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.name, node.returns = names[node.name], None
        if isinstance(node, ast.arg):
            node.arg, node.annotation = names[node.arg], None
        elif isinstance(node, ast.Name) and node.id in names:
            node.id = names[node.id]
    try:
        return ast.dump(tree)
    except RecursionError:
        return None


def _is_text(statement: ast.stmt) -> bool:
    """Whether a statement is a docstring, or a string used as a comment."""
    is_constant = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return is_constant and isinstance(statement.value.value, str)  # type: ignore[attr-defined]


def _printed(tree: ast.Module) -> str | None:
    """The constant that a program prints, if it does nothing else; else None."""
    if len(tree.body) != 1 or not isinstance(statement := tree.body[0], ast.Expr):
        return None
    call = statement.value
    is_print = isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "print"
    if is_print and isinstance(call, ast.Call) and len(call.args) == 1 and isinstance(call.args[0], ast.Constant):
        return str(call.args[0].value)
    return None
