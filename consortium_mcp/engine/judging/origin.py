"""Tells a verdict of the one who was asked from one that stands in a text which it was shown."""

import html
import re
from dataclasses import dataclass

from consortium_mcp.engine.judging.question import verdict_mark
from consortium_mcp.records import CallId, Iteration, Run
from consortium_mcp.text.templates import load_template

_QUOTING = re.compile(r"^[ \t]*>[> \t]*|\\[nrt]?|[\s\"'“”‘’„«»`*]+", re.MULTILINE)
SHORTEST_ECHO = 40
"""Characters from which on a text that stands in the question is an echo of it, and no answer."""

FORMS = ("verdict", "pick", "rank", "ballot", "review")
"""The templates that ask for a verdict, without `_tags`."""


@dataclass(frozen=True)
class Origin:
    """What can be told of a reply's author: the mark that it was given, and the texts that it read."""

    mark: str = ""
    """The word that its verdict carries; empty where it was given none."""

    asked: tuple[str, ...] = ()
    """Each text with which it was asked, as `unquoted` leaves it."""

    said: tuple[str, ...] = ()
    """Each response and earlier synthesis that it was shown, as `unquoted` leaves it."""

    def is_marked(self, text: str) -> bool:
        """Whether a text carries the mark, which no other author can know."""
        return bool(self.mark) and self.mark in text

    def is_quoted(self, text: str) -> bool:
        """Whether a text stands in one that was read: word for word, however it is quoted."""
        plain = unquoted(text)
        return any(plain in one for one in (*self.asked, *self.said))

    def lists_several(self, main: str) -> bool:
        """Whether one text that it read holds verdicts with several values of a main field."""
        value = re.compile(rf"{main}(?::|>)\[?([\d,]+)")
        return any(len(set(value.findall(text))) > 1 for text in (*self.asked, *self.said))

    def repeats_the_question(self, text: str) -> bool:
        """Whether a text is no answer but a part of the question, as models repeat one."""
        plain = unquoted(text)
        return len(plain) >= SHORTEST_ECHO and any(plain in one for one in self.asked)


def unquoted(text: str) -> str:
    """The text without what a quotation may change: white space, quotation marks, escapes, emphasis, case."""
    return _QUOTING.sub("", html.unescape(text)).casefold()


def origin_of(run: Run, iteration: Iteration, call_id: CallId) -> Origin:
    """What is known of the author of the reply to a call that judges an iteration."""
    said = [response.text or "" for response in iteration.responses if response.ok]
    said += [part for one in run.iterations if one.verdict for part in (one.verdict.synthesis, one.verdict.dissent)]
    asked = [run.prompt, *(turn.text for turn in run.history), run.consortium.system_prompt or ""]
    asked += [text for member in run.consortium.members for text in (member.system_prompt, member.role) if text]
    asked += [load_template(f"{form}_tags", short).template for form in FORMS for short in (False, True)]
    return Origin(verdict_mark(run, call_id), _all_unquoted(asked), _all_unquoted(said))


def _all_unquoted(texts: list[str]) -> tuple[str, ...]:
    return tuple(unquoted(text) for text in texts if text)
