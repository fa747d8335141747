"""Extracts the statement of a sentence: about its subject, a place, an agent, or after `yes`, without its lead-in."""

import re

from consortium_mcp.text.answers.dates import date_in
from consortium_mcp.text.answers.wording import is_name

_LONGEST = 300
_COPULA = re.compile(
    r"(?:so |thus |therefore |hence |then )?,?\s?([^:;]{1,100}?) "
    r"(?:is|are|was|were|equals|would be|will be|comes to|amounts to|adds up to|"
    r"costs|weighs|takes|lasts|measures|gives|yields|makes|totals|ist|est|es|è|é) "
    r"(?:called |named |exactly |simply |just )?(.{1,120})"
)
_COUNTED = re.compile(
    r"[^:;,]{1,60}? (?:has|have|had|needs?|pays?|paid|earns?|earned|saves?|saved|spends?|spent|scores?|scored|owes?|"
    r"receives?|received|gets?|got|uses?|contains?|requires?|covers?|travels?|produces?|sells?|sold|"
    r"there (?:is|are|were)|takes?(?: (?:them|him|her|you|us|it|me))?|walks?|drives?|drove|runs?|ran|ate|eats?|"
    r"bought|buys?|arrives? (?:after|at|in)|leaves? (?:after|at|in)) "
    r"(?:exactly |only |a total of )?([$€£¥-]?\d.{0,60})",
    re.IGNORECASE,
)
_DONE = re.compile(
    r"(?:first |originally |officially |finally |probably )?(?:[a-z]{2,14}(?:ed|wn|en|lt|nt|ld)|made|held|found|"
    r"set|won|led|born|sung|run|built|situated) (?:on|in|by|at|from|during|around) (.{1,80})"
)
_MINE = re.compile(
    r"(?:[^.;:]{1,40}, )?(?:i(?:'d| would|'ll| will)? (?:personally )?(?:think|believe|guess|say|recommend|suggest|"
    r"propose|advise|bet on|go with|go for|settle on)|"
    r"(?:you (?:should|could|can|might) |it is best to )?(?:use|choose|pick|go with|prefer)|"
    r"my (?:guess|recommendation|suggestion|advice) is)"
    r"(?: that)?(?: you)?(?: it(?:'s| is| was))?(?: using| to use| use)? (.{1,80}?)"
    r"(?: for (?:this|that|it|you)(?: \w+)?)?",
    re.IGNORECASE,
)
_DECIDED = re.compile(r"(?:yes|no|true|false|correct|right|incorrect)(?:[,.:;!]| [-–—]) ?(.{12,200})", re.IGNORECASE)
_RIGHT = frozenset(("correct", "right", "true", "the best", "valid"))
_WRONG = frozenset(("incorrect", "wrong", "false", "not correct", "not true", "invalid"))
"""Words that reject an option or a statement, which is then the answer or is excluded."""

_BOTH = re.compile(r"(?:both|options?|choices?|only) ", re.IGNORECASE)
_PLACED = re.compile(r"(?:in|on|at|by) (?:an? |the )?(.{1,60})", re.IGNORECASE)


def said_in(sentence: str) -> tuple[str, ...]:
    """The statements of a sentence about its subject, without the lead-in.

    If the predicate begins with an article, a subject that is a name is included, as in `Paris is the capital`.

    Args:
        sentence: one sentence, in plain characters.
    """
    if len(sentence) >= _LONGEST:
        return ()
    sentence = sentence.rstrip(".")
    if (found := _DECIDED.fullmatch(sentence)) is not None:
        return (found[1], *said_in(found[1]))
    if (found := _COPULA.fullmatch(sentence)) is not None:
        if found[2].casefold() in _RIGHT:
            return (_BOTH.sub("", found[1], count=1),)
        if found[2].casefold() in _WRONG:
            return ()
        is_turned = found[2].startswith(("the ", "a ", "an ")) and is_name(found[1])
        said = (found[1], found[2]) if is_turned else (found[2],)
        done = _DONE.fullmatch(found[2])
        return (*said, done[1]) if done else said
    for pattern in (_COUNTED, _MINE):
        if (found := pattern.fullmatch(sentence)) is not None:
            return (found[1],)
    placed = _PLACED.fullmatch(sentence)
    return (placed[1],) if placed and is_name(placed[1]) else ()


def day_in(sentence: str) -> str:
    """The day, or else the year, of an event, if the sentence contains no other number."""
    front, _, day = sentence[:_LONGEST].rstrip(".!").rpartition(" on ")
    if day and not any(letter.isdecimal() for letter in front) and date_in(day) is not None:
        return day
    found = re.findall(r"\d+", sentence[:_LONGEST])
    behind = sentence.rstrip(".!").rpartition(" in ")[2]
    return behind if len(found) == 1 and len(behind) == 4 and behind.isdecimal() else ""
