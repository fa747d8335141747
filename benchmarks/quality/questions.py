"""Questions with known answers: arithmetic, comparisons, multiple choice; a seed always gives the same ones."""

import random
import re
from collections.abc import Callable

from consortium_mcp._util.frozen_model import FrozenModel
from consortium_mcp.text.answers import SAME, compare, final_answer

WRONG_ANSWERS = 4
"""The number of wrong answers of every question."""

_LETTERS = "ABCDE"
_LETTER = re.compile(r"^(?:option |choice )?([a-e])(?=$|[).:,])")
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")  # the last one: `17 + 25 = 42` gives 42
_WORDS = (
    "amber anchor apple arrow autumn basket beacon branch breeze bridge candle canvas castle cedar cloud copper coral "
    "cradle dawn desert diamond eagle ember falcon feather fern field flint forest garden glacier granite harbor "
    "harvest hazel helmet hollow island ivory jasmine kettle lantern laurel ladder linen maple marble meadow mirror "
    "needle nutmeg oasis olive orchard otter oyster paddle pebble pepper pillow planet prairie puzzle quarry quartz "
    "rabbit raven ribbon river saddle saffron shadow silver spruce summit temple thistle timber tunnel valley velvet "
    "violet walnut willow winter yellow zebra"
).split()


class Question(FrozenModel):
    """One question, its right answer, and wrong ones."""

    prompt: str
    """The question's text."""

    answer: str
    """The right final answer."""

    wrong: tuple[str, ...]
    """Wrong final answers, `WRONG_ANSWERS` of them."""

    also: str | None = None
    """The text of the right option, which is also right; None without options."""

    def is_right(self, text: str) -> bool:
        """Whether a reply gives the right answer, a number or a letter; other text in its line is ignored."""
        if self._accepts(text):
            return True
        said = final_answer(text).text
        found = _LETTER.findall(said.casefold()) if self.answer in _LETTERS else _NUMBER.findall(said)
        return bool(found) and self._accepts(found[-1])

    def _accepts(self, said: str) -> bool:
        accepted = [answer for answer in (self.answer, self.also) if answer]
        return any(compare(said, f"Answer: {answer}") == SAME for answer in accepted)


def make_questions(count: int, seed: int = 1) -> list[Question]:
    """This number of different questions, the kinds in turn; a greater count only adds questions."""
    chance = random.Random(f"questions/{seed}")
    made: dict[str, Question] = {}
    while len(made) < count:
        question = _KINDS[len(made) % len(_KINDS)](chance)
        made.setdefault(question.prompt, question)
    return list(made.values())


def _arithmetic(chance: random.Random) -> Question:
    sign = chance.choice("+-×")
    one, other = chance.randint(21, 199), chance.randint(12, 99) if sign != "×" else chance.randint(3, 9)
    one, other = max(one, other), min(one, other)
    result = {"+": one + other, "-": one - other, "×": one * other}[sign]
    slips = [slip for slip in (-10, -2, -1, 1, 2, 10, 11) if result + slip >= 0]
    wrong = [str(result + slip) for slip in chance.sample(slips, WRONG_ANSWERS)]
    return _question(f"What is {one} {sign} {other}?", str(result), wrong)


def _comparison(chance: random.Random) -> Question:
    numbers: dict[float, str] = {}
    while len(numbers) <= WRONG_ANSWERS:
        text = f"{chance.randint(1, 9)}.{chance.choice(('', '0'))}{chance.randint(1, 99)}"
        numbers.setdefault(float(text), text)
    which = chance.choice(("largest", "smallest"))
    value = max(numbers) if which == "largest" else min(numbers)
    listed = list(numbers.values())
    wrong = [text for text in listed if text != numbers[value]]
    return _question(f"Which of these numbers is the {which}: {', '.join(listed)}?", numbers[value], wrong)


def _next_in_row(chance: random.Random) -> Question:
    start, step = chance.randint(1, 40), chance.randint(2, 12)
    row = [start + place * step for place in range(5)]
    wrong = [row[4] + slip for slip in chance.sample((-step, -2, -1, 1, 2, step + 1), WRONG_ANSWERS)]
    shown = ", ".join(map(str, row[:4]))
    return _choice(chance, f"Which number comes next: {shown}?", str(row[4]), list(map(str, wrong)))


def _divisible(chance: random.Random) -> Question:
    divisor = chance.choice((3, 4, 6, 7, 8, 9))
    right = divisor * chance.randint(4, 12)
    others = [number for number in range(20, 120) if number % divisor]
    wrong = list(map(str, chance.sample(others, WRONG_ANSWERS)))
    return _choice(chance, f"Which of these numbers can be divided by {divisor} without remainder?", str(right), wrong)


def _alphabet(chance: random.Random) -> Question:
    words = chance.sample(_WORDS, WRONG_ANSWERS + 1)
    first = min(words)
    wrong = [word for word in words if word != first]
    return _choice(chance, "Which of these words comes first in the alphabet?", first, wrong)


_KINDS: tuple[Callable[[random.Random], Question], ...] = (
    _arithmetic,
    _comparison,
    _next_in_row,
    _arithmetic,
    _comparison,
    _divisible,
    _arithmetic,
    _comparison,
    _alphabet,
)
"""A third each of arithmetic, comparisons and multiple choice."""


def _choice(chance: random.Random, text: str, right: str, wrong: list[str]) -> Question:
    """The question with lettered options; the answer is a letter."""
    options = [right, *wrong]
    chance.shuffle(options)
    lines = [f"{letter}) {option}" for letter, option in zip(_LETTERS, options, strict=True)]
    letter = _LETTERS[options.index(right)]
    others = [other for other in _LETTERS if other != letter]
    return _question("\n".join([f"{text} Answer with its letter.", *lines]), letter, others, right)


def _question(text: str, answer: str, wrong: list[str], also: str | None = None) -> Question:
    prompt = f"{text}\nGive the result on a line of its own that begins with `Answer:`."
    return Question(prompt=prompt, answer=answer, wrong=tuple(wrong), also=also)
