"""Distinguishes the arbiter's own verdict from a verdict that is quoted from its question."""

import html
import re
from dataclasses import dataclass
from functools import cache, cached_property

from consortium_mcp.engine.judging.question import verdict_mark
from consortium_mcp.records import CallId, Iteration, Run
from consortium_mcp.text.templates import load_template

_QUOTING = re.compile(r"^[ \t]*>[> \t]*|\\[nrt]?|[\s\"'“”‘’„«»`*]+", re.MULTILINE)
_SEPARATORS = re.compile(r"[_:=|<>#•~+?!{}()-]+")
SHORTEST_ECHO = 40
"""The shortest text, in characters, that counts as an echo if it stands in the question."""

FEWEST_THREES = 3
"""The fewest groups of three words with which a text can be an echo of our instructions."""

ECHO_SHARE = 0.7
"""The share of these groups that must stand in our instructions for the text to count as an echo."""

ECHO_CHARACTERS = 2_000
"""The number of characters of a text whose groups of words are examined."""

SHORTEST_FENCE = 6
"""The number of characters of the fence token by which its echo is recognised."""

FORMS = ("verdict", "pick", "rank", "ballot", "review", "grouping")
"""The templates that ask for a verdict, without `_tags`."""


@dataclass(frozen=True)
class Origin:
    """The origin of a reply: the verdict mark and the texts of its question."""

    mark: str = ""
    """The verdict mark; empty if the question had none."""

    asked: tuple[str, ...] = ()
    """The texts of the question, as `unquoted` returns them."""

    said: tuple[str, ...] = ()
    """The responses and earlier syntheses in the question, as `unquoted` returns them."""

    fence: str = ""
    """The fence token of the question."""

    def is_marked(self, text: str) -> bool:
        """Whether a text carries the verdict mark, which no other author can know."""
        return bool(self.mark) and self.mark in text

    def is_quoted(self, text: str) -> bool:
        """Whether a text stands word for word in a text that the model was shown, in any style of quotation."""
        plain = unquoted(text)
        return any(plain in one for one in (*self.asked, *self.said))

    def has_field(self, name: str, value: str) -> bool:
        """Whether a text that the model was shown holds a field with this value, in any form; False if it is empty.

        Our own texts that ask for a verdict do not count: they hold the names only.
        """
        stated = _formless(unquoted(value)).rstrip(".,;")
        field = _formless(unquoted(name)) + stated
        return bool(stated) and any(field in text for text in self._formless)

    @cached_property
    def _formless(self) -> tuple[str, ...]:
        return tuple(_formless(text) for text in (*self.asked, *self.said) if text not in _forms())

    def lists_several(self, main: str) -> bool:
        """Whether one text that the model was shown holds verdicts with several values of a main field."""
        value = re.compile(rf"{main}(?::|>)\[?([\d,]+)")
        return any(len(set(value.findall(text))) > 1 for text in (*self.asked, *self.said))

    def repeats_the_question(self, text: str) -> bool:
        """Whether a text only repeats a part of the question, as models sometimes do."""
        plain = unquoted(text)
        return len(plain) >= SHORTEST_ECHO and any(plain in one for one in self.asked)

    def repeats_instructions(self, text: str) -> bool:
        """Whether a text repeats our instructions or a fence token, as very small models do."""
        word = unquoted(text)
        if self.fence and word.startswith(self.fence[:SHORTEST_FENCE]) and re.fullmatch(r"[0-9a-f]+", word):
            return True
        threes = _threes(text)
        if len(threes) < FEWEST_THREES or any(word in one for one in self.said):
            return False
        return len(threes & _threes_of_instructions()) >= ECHO_SHARE * len(threes)


def unquoted(text: str) -> str:
    """The text without differences that quoting can cause: white space, quotation marks, escapes, emphasis, case."""
    return _QUOTING.sub("", html.unescape(text)).casefold()


def _formless(text: str) -> str:
    """The text without the characters that separate the name and the value of a field in any form."""
    return _SEPARATORS.sub("", text)


def origin_of(run: Run, iteration: Iteration, call_id: CallId) -> Origin:
    """The origin of a reply to a call that judges an iteration."""
    said = [response.text or "" for response in iteration.responses if response.ok]
    said += [part for one in run.iterations if one.verdict for part in (one.verdict.synthesis, one.verdict.dissent)]
    asked = [run.prompt, *(turn.text for turn in run.history), run.consortium.system_prompt or ""]
    asked += [text for member in run.consortium.members for text in (member.system_prompt, member.role) if text]
    return Origin(verdict_mark(run, call_id), (*_all_unquoted(asked), *_forms()), _all_unquoted(said), run.fence_token)


@cache
def _forms() -> tuple[str, ...]:
    """The texts that ask for a verdict's form, normalised by `unquoted`."""
    return _all_unquoted([load_template(f"{form}_tags", short).template for form in FORMS for short in (False, True)])


@cache
def _threes_of_instructions() -> frozenset[tuple[str, ...]]:
    """Each group of three consecutive words in our instructions to arbiters."""
    names = ["arbiter", "grouping", *(f"{form}_{kind}" for form in FORMS for kind in ("tags", "json"))]
    return frozenset().union(
        *(_threes(load_template(name, short).template) for name in names for short in (False, True))
    )


def _threes(text: str) -> frozenset[tuple[str, ...]]:
    """Each group of three consecutive words."""
    words = re.findall(r"\w+", text[:ECHO_CHARACTERS].casefold())
    return frozenset(zip(words, words[1:], words[2:], strict=False))


def _all_unquoted(texts: list[str]) -> tuple[str, ...]:
    return tuple(unquoted(text) for text in texts if text)
