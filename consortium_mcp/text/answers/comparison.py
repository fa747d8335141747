"""Compares the answers of two responses: the same, different, or not comparable."""

from collections.abc import Hashable
from dataclasses import dataclass
from functools import lru_cache

from consortium_mcp.text.answers.choices import Option
from consortium_mcp.text.answers.code import Code, compare_code
from consortium_mcp.text.answers.dates import Date, compare_dates, compare_times
from consortium_mcp.text.answers.finding import ANSWER_CHARACTERS, SEARCHED_CHARACTERS, found_in, sentences_of
from consortium_mcp.text.answers.plain import plain
from consortium_mcp.text.answers.quantities import Quantity, compare_quantities
from consortium_mcp.text.answers.reading import Kind, Reading, Sequenced, code_reading, readings_of
from consortium_mcp.text.answers.reservations import (
    are_of_other_deeds,
    are_of_other_precision,
    are_of_other_signs,
    are_told_apart,
    condition_of,
    is_taken_back,
    turns,
)
from consortium_mcp.text.answers.signs import (
    are_in_other_brackets,
    are_other_releases,
    are_other_symbols,
    are_told_apart_by_signs,
)
from consortium_mcp.text.answers.verdicts import (
    DIFFERENT,
    NOT_COMPARABLE,
    SAME,
    Comparison,
    equal_or_different,
    together,
)
from consortium_mcp.text.answers.wording import (
    compare_wording,
    contradicts,
    hold_opposites,
    is_name,
    limits_of,
    names_agree,
    words_of,
)

LONGEST_BESIDE_CODE = 60
"""The most words beside code with which the code is still the answer."""

KEPT_ANSWERS = 32
"""The number of cached answers: one iteration compares each several times; answers of long texts are large."""

LONGEST_UNMARKED = 20
"""The most words of an unmarked text that is read as an answer."""


UNMARKED_CHARACTERS = 400
"""The most characters of such a text."""

_SHORTEST_REPHRASED = 12
"""The fewest characters with which an answer can be a rephrased one."""

_SHORTEST_SENTENCE = 3
"""The fewest words of a sentence that can be an answer followed by its reasons."""

_RELEASED = frozenset("version release upgrade semver".split())
"""Words of a response whose numbers are names of releases: 1.10 is not 1.1."""

_WITHOUT_RESERVATIONS = ("code", "data", "parts", "list", "formula")
"""The kinds of answers that have no reservations."""


@dataclass(frozen=True)
class Answer:
    """The answer of a response."""

    text: str
    """The answer as written, on one line, up to the length that is read."""

    kind: Kind
    """The kind of the answer."""

    value: Hashable
    """The answer in a form that is equal for equal answers in one spelling."""

    is_marked: bool
    """Whether the response marks it as its answer, as in `Answer: 7`."""

    readings: tuple[Reading, ...]
    """Every way to understand it; empty for prose."""

    words: tuple[str, ...]
    """The words of the whole response, code included, without thinking, confidence and pleasantries."""


@lru_cache(maxsize=KEPT_ANSWERS)
def final_answer(text: str) -> Answer:
    """The answer of a response.

    It is the last marked answer; else a short text as a whole, code, or a last line that is only a number, a letter, or
    emphasised. A longer text without a mark is `prose`.
    """
    found = found_in(text)
    words = words_of(found.beside) + tuple(f"{name}{source}" for name, source in found.blocks)
    if len(text) > SEARCHED_CHARACTERS:
        words = (" ".join(text.casefold().split()),)
    if found.blocks and (found.is_marked or _length(found.beside) <= LONGEST_BESIDE_CODE):
        readings = code_reading(found.blocks, found.beside)
        return _answer(found.blocks[0][1], found.is_marked, readings, words)
    if not found.is_marked and (_length(found.beside) > LONGEST_UNMARKED or found.blocks):
        return Answer(_on_one_line(found.beside), "prose", words, False, (), words)
    content = found.text
    if found.is_marked and is_taken_back(content, found.beside):
        return Answer(_on_one_line(content), "prose", words, True, (), words)
    if len(content) > (ANSWER_CHARACTERS if found.is_marked else UNMARKED_CHARACTERS):
        return Answer(_on_one_line(content), "prose", words, found.is_marked, (), words)
    if not content.strip():
        return Answer("", "none", None, False, (), words)
    return _answer(content, found.is_marked, readings_of(content, is_marked=found.is_marked), words)


def _length(text: str) -> int:
    """The number of words of a text; in scripts without blanks, half the number of letters."""
    return max(len(text.split()), sum("\u3040" <= letter <= "\u9fff" for letter in text) // 2)


def _answer(text: str, is_marked: bool, readings: tuple[Reading, ...], words: tuple[str, ...]) -> Answer:
    first = readings[0] if readings else Reading("text", text)
    value = words_of(first.value) if first.kind == "text" and isinstance(first.value, str) else first.value
    return Answer(_on_one_line(plain(text) or text), first.kind, value, is_marked, readings, words)


def _on_one_line(text: str) -> str:
    return " ".join(text[:ANSWER_CHARACTERS].split())


def compare(one: str, other: str) -> Comparison:
    """Whether two responses give the same answer; see `compare_answers`."""
    return compare_answers(final_answer(one), final_answer(other))


def compare_answers(one: Answer, other: Answer) -> Comparison:
    """Whether two answers are the same, different, or not comparable without understanding their meaning.

    Answers of one kind are compared by that kind: numbers by value and unit, dates by day, options by letter, lists by
    item, code by token, short texts by word. Prose is the same if its words are equal, and is never different.
    """
    if one.kind == "none" or other.kind == "none":
        return NOT_COMPARABLE
    if one == other:
        return SAME
    result: Comparison = NOT_COMPARABLE
    if "prose" not in (one.kind, other.kind):
        result = _compare_readings(one.readings, other.readings, are_marked=one.is_marked and other.is_marked)
    if result == SAME and _hold_differently(one, other):
        return NOT_COMPARABLE
    if result == NOT_COMPARABLE and (one.words == other.words or _adds_reasons(one, other)):
        return NOT_COMPARABLE if _have_other_signs(one, other) else SAME
    return result


def _adds_reasons(one: Answer, other: Answer) -> bool:
    """Whether one is a sentence, and the other begins with it and adds reasons."""
    short, long = sorted((one, other), key=lambda answer: len(answer.text))
    if long.kind in (*_WITHOUT_RESERVATIONS, "prose") or len(sentences := sentences_of(long.text)) < 2:
        return False
    words = words_of(sentences[0])
    return len(words) >= _SHORTEST_SENTENCE and words == words_of(short.text) and not turns(sentences[1])


def _hold_differently(one: Answer, other: Answer) -> bool:
    """Whether equal answers have different conditions, or are about different things with one name."""
    is_code = "code" in (one.kind, other.kind)
    if not is_code and (are_of_other_signs(one.text, other.text) or are_of_other_precision(one.text, other.text)):
        return True
    if not is_code and hold_opposites(one.text[:UNMARKED_CHARACTERS], other.text[:UNMARKED_CHARACTERS]):
        return True
    if one.kind == other.kind == "list" and _joins_otherwise(one.text, other.text):
        return True
    if _is_choice_beside_number(one, other) or _have_other_signs(one, other):
        return True
    if one.kind in _WITHOUT_RESERVATIONS and other.kind in _WITHOUT_RESERVATIONS:
        return False
    if condition_of(one.text) != condition_of(other.text):
        return True
    return are_of_other_deeds(one.text, other.text) or (
        one.kind == other.kind == "text" and are_told_apart(one.text, other.text)
    )


def _is_choice_beside_number(one: Answer, other: Answer) -> bool:
    """Whether one answer is a single number and the other leaves a choice, as `five or six`."""
    choice, number = (one, other) if one.kind == "list" else (other, one)
    return choice.kind == "list" and number.kind == "number" and "or" in choice.text.casefold().split()


def _have_other_signs(one: Answer, other: Answer) -> bool:
    """Whether signs or the case of symbols tell two answers apart; code and prose are not examined."""
    kinds = {one.kind, other.kind}
    if kinds & {"code", "data", "prose", "parts"} or kinds == {"yes or no"}:
        return False
    if are_in_other_brackets(one.text, other.text):
        return True
    if kinds == {"list"}:
        return False
    if one.text != other.text and not (words_of(one.text) or words_of(other.text)):
        return True
    if _RELEASED.intersection(one.words + other.words) and are_other_releases(one.text, other.text):
        return True
    return are_told_apart_by_signs(one.text, other.text) or (
        one.kind == other.kind and are_other_symbols(one.text, other.text)
    )


def _joins_otherwise(one: str, other: str) -> bool:
    """Whether one list requires all its items and the other any of them; for numbers, `or` and `and` count as equal."""
    if any(letter.isdecimal() for letter in one + other):
        return False
    joints = [{"and", "or"} & set(text.casefold().split()) for text in (one, other)]
    return joints in ([{"and"}, {"or"}], [{"or"}, {"and"}])


def may_mean_the_same(one: Answer, other: Answer) -> bool:
    """Whether one text can rephrase the other: they have the same numbers, negations and bounds."""
    if min(len(one.text), len(other.text)) < _SHORTEST_REPHRASED or not {one.kind, other.kind} <= {"text", "prose"}:
        return False
    return limits_of(one.text) == limits_of(other.text) and not contradicts(one.text, other.text)


def _compare_readings(one: tuple[Reading, ...], other: tuple[Reading, ...], *, are_marked: bool = True) -> Comparison:
    """The result over all readings: different if the texts contradict each other, the same if one kind agrees."""
    texts, other_texts = _texts(one), _texts(other)
    if any(contradicts(first, second) for first in texts[:3] for second in other_texts[:3]):
        return DIFFERENT
    result: Comparison | None = None
    for kind in dict.fromkeys(reading.kind for reading in one if reading.kind not in ("text", "complement")):
        pairs = [(first.value, second.value) for first in one for second in other if first.kind == second.kind == kind]
        results = [_compare_values(kind, *pair) for pair in pairs]
        if results and NOT_COMPARABLE not in results or SAME in results:
            return SAME if SAME in results else DIFFERENT
        result = NOT_COMPARABLE if results else result
    return result or _compare_texts(one, other, are_marked)


def _texts(readings: tuple[Reading, ...], kind: Kind = "text") -> list[str]:
    return [str(reading.value) for reading in readings if reading.kind == kind]


def _compare_values(kind: Kind, one: Hashable, other: Hashable) -> Comparison:
    if isinstance(one, Quantity) and isinstance(other, Quantity):
        return compare_quantities(one, other)
    if isinstance(one, Date) and isinstance(other, Date):
        return compare_dates(one, other)
    if isinstance(one, frozenset) and isinstance(other, frozenset):
        return compare_times(one, other)
    if isinstance(one, Option) and isinstance(other, Option):
        return _compare_options(one, other)
    if isinstance(one, Code) and isinstance(other, Code):
        return compare_code(one, other)
    if isinstance(one, Sequenced) and isinstance(other, Sequenced):
        return _compare_sequences(one, other)
    if kind == "range" and isinstance(one, tuple) and isinstance(other, tuple):
        return together(_compare_values("number", first, second) for first, second in zip(one, other, strict=True))
    return equal_or_different(one, other)


def _compare_options(one: Option, other: Option) -> Comparison:
    """Compares by letter; if both have texts and these differ, the letters belong to different lists."""
    texts = compare_wording(one.text, other.text, are_marked=True) if one.text and other.text else None
    if one.letter == other.letter:
        return SAME if texts in (None, SAME) else NOT_COMPARABLE
    return NOT_COMPARABLE if texts == SAME else DIFFERENT


def _compare_sequences(one: Sequenced, other: Sequenced) -> Comparison:
    if one.labels != other.labels:
        return NOT_COMPARABLE
    if len(one.items) != len(other.items):
        return DIFFERENT if not one.labels else NOT_COMPARABLE
    if one.brackets != other.brackets and one.brackets and other.brackets:
        intervals = {"[)", "(]"}
        return DIFFERENT if intervals & {one.brackets, other.brackets} else NOT_COMPARABLE
    in_place = together(_compare_readings(*pair) for pair in zip(one.items, other.items, strict=True))
    if in_place == SAME or one.labels:
        return in_place
    if not _is_permuted(one, other):
        return in_place
    if one.is_ordered and other.is_ordered:
        return DIFFERENT if one.brackets or other.brackets else NOT_COMPARABLE
    return SAME


def _is_permuted(one: Sequenced, other: Sequenced) -> bool:
    """Whether each item of one list has an equal item in the other."""
    left = list(other.items)
    for item in one.items:
        place = next((at for at, its in enumerate(left) if _is_same_item(item, its)), None)
        if place is None:
            return False
        left.pop(place)
    return True


def _is_same_item(one: tuple[Reading, ...], other: tuple[Reading, ...]) -> bool:
    """Whether two list items are the same, including a name before a colon, as in `x: 1`."""
    named = [text.partition(": ") for text in (*_texts(one)[:1], *_texts(other)[:1])]
    if len(named) == 2 and all(colon for _, colon, _ in named) and words_of(named[0][0]) != words_of(named[1][0]):
        return False
    return _compare_readings(one, other) == SAME


def _compare_texts(one: tuple[Reading, ...], other: tuple[Reading, ...], are_marked: bool) -> Comparison:
    """Compares answers without a common kind: by their words, an option by its text."""
    texts = [*_option_texts(one), *_texts(one)]
    others = [*_option_texts(other), *_texts(other)]
    complements, other_complements = _texts(one, "complement"), _texts(other, "complement")
    pairs = [(first, second) for first in (*texts, *complements) for second in others]
    pairs += [(first, second) for first in texts for second in other_complements]
    pairs += [
        (first, second) for first in complements for second in other_complements if is_name(first) and is_name(second)
    ]
    if _is_letter_alone(one) or _is_letter_alone(other):
        return NOT_COMPARABLE
    if any(_say_one_name(*pair) for pair in pairs):
        return SAME
    kinds = {reading.kind for reading in (*one, *other)} - {"text", "complement", "option"}
    if kinds or not texts or not others:
        return NOT_COMPARABLE
    ends = ([*texts, *complements][-1], [*others, *other_complements][-1])
    results = [compare_wording(*ends, are_marked=are_marked)]
    results.append(compare_wording(texts[0], others[0], are_marked=are_marked))
    return DIFFERENT if DIFFERENT in results else NOT_COMPARABLE


def _say_one_name(one: str, other: str) -> bool:
    return words_of(one) == words_of(other) != () or names_agree(one, other)


def _is_letter_alone(readings: tuple[Reading, ...]) -> bool:
    return any(reading.kind == "option" for reading in readings) and not _option_texts(readings)


def _option_texts(readings: tuple[Reading, ...]) -> list[str]:
    values = [reading.value for reading in readings if reading.kind == "option"]
    return [value.text for value in values if isinstance(value, Option) and value.text]
