"""Limits of an answer: its condition, the qualifier of an ambiguous name, or a later correction."""

import re

from consortium_mcp.text.answers.finding import sentences_of
from consortium_mcp.text.answers.wording import is_name, words_of

_REASON = re.compile(
    r"\b(?:because|since|(?<!long )(?<!far )as (?!long\b|far\b)|which|who|although|even (?:if|when|though))\b"
    r"|[;:=]| [-–—] "
)
_ALWAYS_LIMITS = re.compile(
    r"\b(?:only (?:if|when)|unless|provided|assuming|as long as|so long as|under the (?:condition|assumption)|"
    r"on (?:the )?condition|depending on)\b",
    re.IGNORECASE,
)
_POLITE = r"you(?:'d| would)? (?:like|want|wish|need (?:help|more)|have (?:any |more |further )*questions)\b"
_AFTER_DECISION = re.compile(
    r"(?:yes|no|true|false|correct|ja|nein|oui|non|s[ií]|sì|não|sim)"
    r"(?:[,:]?(?: [-–—])?(?: (?:but|aber|mais|pero|ma|mas))?|\. but) [(]?(?P<limit>"
    rf"(?:only|(?:if|when)(?! {_POLITE})|whenever|unless|except|excluding|until|within|without|"
    r"sometimes|usually|often|mostly|partly|partially|generally)\b"
    r"|in (?:most|some|many|certain|general|theory|principle)\b"
    r"|for (?!example\b|instance\b|sure\b|every\b|all\b|any\b)|with (?:\w+ ){0,2}(?:exceptions?|caution|care|caveats?|"
    r"reservations?|limit(?:ation)?s|restrictions?|conditions?)\b|under (?:some|certain)\b|subject to\b|depending\b"
    r"|to (?:some|a certain|a limited) (?:extent|degree)\b|(?:at least|given|provided|as long as)\b"
    r"|(?:nur|wenn|falls|sofern|solange|außer|es sei denn|meist|teilweise)\b"
    r"|(?:si|seulement|sauf|sólo|solo|salvo|excepto|se|só)\b"
    r"|(?:at least )?not (?:yet|without|unless|until|always|in all|in every|for all)\b)",
    re.IGNORECASE,
)
_BESIDE_VALUE = re.compile(
    r"(?<!\bas)[ ,(](?:if|when|except|excluding|only (?:in|on|for|with|after|before)) "
    rf"(?!{_POLITE})",
    re.IGNORECASE,
)
_SUBJECT = re.compile(
    r"\b(?:is|are|was|were|equals|has|have|does|do|will|can|holds|gives|takes|costs)\b", re.IGNORECASE
)
_IN_BRACKETS = re.compile(r"(.{1,100}?) \(([^()]{1,100})\)[.!]?")
_SECOND_THOUGHT = re.compile(
    r"(?:^\s?|(?<=[.!?]) )(?:"
    r"(?:oh |hm+,? )?(?:no, )?wait\b|scratch that\b|correction\b|edit:|on second thoughts?\b"
    r"|or (?:maybe|perhaps|possibly)\b"
    r"|(?:no|actually|sorry),? (?:no\b|that(?:'s| is| was) (?:wrong|incorrect|not)\b|i was wrong\b))",
    re.IGNORECASE | re.MULTILINE,
)
_TURN = re.compile(
    r"(?:but|however|actually|wait|no\b|not\b|yet\b|still\b|although|though|nevertheless|on the other hand|unless|if\b|"
    r"only\b|instead|rather|otherwise|or\b|then\b|except|that said|sorry|oops|correction|edit)",
    re.IGNORECASE,
)
_SIGNED = re.compile(r"\|[^|]{1,40}\||\b[a-z]!+|\b[A-Za-z]'+(?=\(|$)")
_EXACT = re.compile(r"\b(?:exactly|precisely|genau|exactement|exactamente)\b", re.IGNORECASE)
_NEAR = re.compile(
    r"\b(?:nearly|almost|about|around|approximately|roughly|circa|fast|etwa|environ)\b|[≈~]", re.IGNORECASE
)
_DONE = re.compile(r"(.{1,60}?) (?:(?:was|were|is|are) )?(\w+) (?:in|on|at|by|from|during) ")
_LONGEST = 600
_SHORT_BRACKETS = 2
"""The most words in brackets that name a sense of a word, and do not explain it."""


def condition_of(text: str) -> tuple[str, ...]:
    """The words of an answer's condition; empty if it has none.

    A condition in a sentence with a subject, as `the sum is 4 if x = 2`, counts as part of the question. There only
    words that always limit count, as `unless`.

    Args:
        text: the answer in plain characters, on one line; only its first sentence is examined.
    """
    text = text[:_LONGEST]
    if (found := _AFTER_DECISION.match(text)) is not None:
        return words_of(_first_sentence(text[found.start("limit") :]))
    sentence = _REASON.split(_first_sentence(text), maxsplit=1)[0]
    limit = _ALWAYS_LIMITS.search(sentence)
    beside = _BESIDE_VALUE.search(sentence)
    if limit is None and beside is not None and not _SUBJECT.search(sentence[: beside.start()]):
        limit = beside
    return () if limit is None else words_of(sentence[limit.start() :])


def _first_sentence(text: str) -> str:
    return (sentences_of(text) or [""])[0]


def are_told_apart(one: str, other: str) -> bool:
    """Whether two names differ only in the brackets after them, as in `Georgia (the state)`.

    After other words, only short brackets without a common word count, as in `bass (fish)`.
    """
    found, others = _IN_BRACKETS.fullmatch(one), _IN_BRACKETS.fullmatch(other)
    if found is None or others is None:
        return False
    words, its_words = words_of(found[2]), words_of(others[2])
    if is_name(found[1]) or is_name(others[1]):
        return words != its_words
    return max(len(words), len(its_words)) <= _SHORT_BRACKETS and not set(words) & set(its_words)


def are_of_other_precision(one: str, other: str) -> bool:
    """Whether one text calls its figure exact, and the other calls its own approximate."""
    return any(_EXACT.search(text) and _NEAR.search(its) for text, its in ((one, other), (other, one)))


def are_of_other_signs(one: str, other: str) -> bool:
    """Whether only one of two texts has a factorial, a derivative or a currency amount, as in `n!` and `n`."""
    return _SIGNED.findall(one) != _SIGNED.findall(other)


def are_of_other_deeds(one: str, other: str) -> bool:
    """Whether two sentences have different verbs for one subject, as `was built` and `was sold`."""
    found, others = _DONE.match(one[:_LONGEST]), _DONE.match(other[:_LONGEST])
    if found is None or others is None or words_of(found[1]) != words_of(others[1]):
        return False
    return words_of(found[2]) != words_of(others[2])


def turns(sentence: str) -> bool:
    """Whether a sentence limits or retracts the one before it."""
    return _TURN.match(sentence) is not None


def is_taken_back(answer: str, response: str) -> bool:
    """Whether a response retracts its marked answer afterwards.

    Args:
        answer: the marked answer, as written.
        response: the text of the response.
    """
    line = answer.strip().partition("\n")[0]
    line = _first_sentence(line)
    place = response.rfind(line) if line else -1
    return place >= 0 and _SECOND_THOUGHT.search(response[place + len(line) :][:_LONGEST]) is not None
