"""Tells a verdict of the one who was asked from one that stands in a text which it was shown."""

import re
from dataclasses import dataclass

from consortium_mcp.engine.judging.question import verdict_mark
from consortium_mcp.records import CallId, Iteration, Run
from consortium_mcp.text.templates import load_template

_QUOTING = re.compile(r"^[ \t]*>[> \t]*|[\s\"'“”‘’„«»`*\\]+", re.MULTILINE)
FORMS = ("verdict", "pick", "rank", "ballot")
"""The templates that ask for a verdict, without `_tags`."""


@dataclass(frozen=True)
class Origin:
    """What can be told of a reply's author: the mark that it was given, and the texts that it read."""

    mark: str = ""
    """The word that its verdict carries; empty where it was given none."""

    read: tuple[str, ...] = ()
    """Each text that it read, as `unquoted` leaves it."""

    def is_marked(self, text: str) -> bool:
        """Whether a text carries the mark, which no other author can know."""
        return bool(self.mark) and self.mark in text

    def is_quoted(self, text: str) -> bool:
        """Whether a text stands in one that was read: word for word, however it is quoted."""
        plain = unquoted(text)
        return any(plain in one for one in self.read)


def unquoted(text: str) -> str:
    """The text without what a quotation may change: white space, quotation marks, escapes, emphasis, case."""
    return _QUOTING.sub("", text).casefold()


def origin_of(run: Run, iteration: Iteration, call_id: CallId) -> Origin:
    """What is known of the author of the reply to a call that judges an iteration."""
    texts = [response.text or "" for response in iteration.responses if response.ok]
    texts += [run.prompt, *(turn.text for turn in run.history)]
    texts += [run.consortium.system_prompt or ""]
    texts += [part for one in run.iterations if one.verdict for part in (one.verdict.synthesis, one.verdict.dissent)]
    return Origin(verdict_mark(run, call_id), read_texts(texts))


def read_texts(texts: list[str]) -> tuple[str, ...]:
    """What `unquoted` leaves of each text that was read, and of our own question."""
    asked = [load_template(f"{form}_tags", short).template for form in FORMS for short in (False, True)]
    return tuple(unquoted(text) for text in (*texts, *asked) if text)
