"""Every regular expression of the package on its worst texts: none takes quadratic time."""

import ast
import gc
import importlib
import pkgutil
import re
import signal
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

import consortium_mcp
from consortium_mcp.text.masking import masked
from consortium_mcp.text.templates import plain

CHARACTERS = 6_000
"""The characters of each text: a linear pattern takes some milliseconds, a quadratic one fifty and more."""

MOST_CPU_SECONDS = 0.03

UNITS = (
    *("a", " ", "0", "\n", ".", ",", '"', "(", "[", "{", "<", "`", "*", "\\", "_", "\x1b]", "\x1b[;", "é", "%"),
    *("a ", "1,", "1.", "$1", "a-", "\n ", "<a", "a: ", "1 s ", "a, ", "\r\n", "```\n", '"a\\', "<think>", "<b>"),
    *("not ", "answer: ", "confidence ", "the answer is ", "sk-", "Bearer ", "http://a@", "eyJ.", "a=", "a@b", "/*"),
)
"""The repeated parts: single characters, unclosed openings, and words of our patterns."""

END = "\n!x"
"""An end that prevents a match at the end of the text or line."""

METHODS = {name: name for name in ("match", "fullmatch", "search", "finditer")} | dict.fromkeys(
    ("sub", "split", "findall"), "finditer"
)
"""The methods that apply a pattern, by name."""


class TooLong(Exception):
    """The time limit was exceeded."""


def modules() -> Iterator[Any]:
    """Every module of the package but its command."""
    for found in pkgutil.walk_packages(consortium_mcp.__path__, "consortium_mcp."):
        if not found.name.endswith("__main__"):
            yield importlib.import_module(found.name)


def patterns() -> dict[tuple[str | bytes, int], set[str]]:
    """Each pattern by its flags, with the methods that the package uses; any position if that is open."""
    found: dict[tuple[str | bytes, int], set[str]] = defaultdict(set)
    for module in modules():
        tree = ast.parse(Path(module.__file__).read_text())
        called: dict[str, set[str]] = defaultdict(set)
        for call in ast.walk(tree):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in METHODS:
                called[ast.unparse(call.func.value)].add(METHODS[call.func.attr])
                first = call.args[0] if call.args else None
                if ast.unparse(call.func.value) == "re" and isinstance(first, ast.Constant):
                    assert isinstance(first.value, str | bytes)
                    found[first.value, 0].add(METHODS[call.func.attr])
        for loop in ast.walk(tree):
            if isinstance(loop, ast.For) and isinstance(loop.iter, ast.Tuple):
                for one in loop.iter.elts:
                    called[ast.unparse(one)] |= called[ast.unparse(loop.target)]
        for name, value in vars(module).items():
            for pattern in compiled_in(value):
                found[pattern.pattern, pattern.flags] |= called[name]
    return {pattern: methods or {"finditer"} for pattern, methods in found.items()}


def compiled_in(value: Any) -> Iterator[re.Pattern[Any]]:
    """The patterns in a module's constant."""
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, Mapping):
        yield from compiled_in([*value, *value.values()])
    elif isinstance(value, list | tuple | frozenset):
        for one in value:
            yield from compiled_in(one)


@contextmanager
def processor_time(seconds: float) -> Iterator[None]:
    """Raise TooLong if the block takes longer; other processes of the machine do not count."""

    def end(*_: object) -> None:
        raise TooLong

    before = signal.signal(signal.SIGVTALRM, end)
    gc.disable()  # what it calls must not be ended
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        gc.enable()
        signal.signal(signal.SIGVTALRM, before)


def is_quick(pattern: re.Pattern[Any], method: str, text: str) -> bool:
    """Whether the pattern stays within its processor time, at the second attempt at the latest."""
    given = text.encode() if isinstance(pattern.pattern, bytes) else text
    for _ in range(2):  # the first time may have been too long for another reason
        with suppress(TooLong), processor_time(MOST_CPU_SECONDS):
            found = getattr(pattern, method)(given)
            if method == "finditer":
                list(found)
            return True
    return False


needs_timer = pytest.mark.skipif(not hasattr(signal, "SIGVTALRM"), reason="no timer of processor time here")


@needs_timer
def test_no_pattern_of_the_package_reads_a_text_more_often_than_once() -> None:
    texts = [unit * (CHARACTERS // len(unit)) + end for unit in UNITS for end in ("", END)]
    slow = [
        (pattern, method, text[:12])
        for (pattern, flags), methods in patterns().items()
        for method in methods
        for text in texts
        if not is_quick(re.compile(pattern, flags), method, text)
    ]

    assert not slow


@needs_timer
@pytest.mark.parametrize("clean", [plain, masked])
def test_what_cleans_texts_reads_a_megabyte_in_a_moment(clean: Callable[[str], str]) -> None:
    slow = []
    for unit in UNITS:
        try:
            with processor_time(100 * MOST_CPU_SECONDS):
                clean(unit * (500_000 // len(unit)) + END)
        except TooLong:
            slow.append(unit)

    assert not slow
