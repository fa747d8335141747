"""Simulated models in this process, with known accuracy, correlation and reliability.

Everything is drawn from the seed, the question and the model: every run gives the same replies, in any order.
"""

import json
import random
import re
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Literal

import llm
from llm.plugins import pm
from pydantic import Field

from benchmarks.quality.phrasing import PHRASES, REFUSALS, phrased
from benchmarks.quality.questions import WRONG_ANSWERS, Question
from consortium_mcp._util.frozen_model import FrozenModel
from consortium_mcp.text.answers import SAME, compare, final_answer

Judge = Literal["knows", "counts"]
"""The decision of a reliable judge: it recognises a right response, or chooses the most frequent answer."""

_FENCED = re.compile(
    r"^--- (?P<name>prompt|response \d+) (?P<mark>\w+) ---\n(?P<text>.*?)\n--- end of (?P=name) (?P=mark) ---$",
    re.DOTALL | re.MULTILINE,
)
_FORMS = ("synthesis", "best", "ranking")
_FORM_TAG = re.compile(rf"<({'|'.join(_FORMS)})>")


class Simulation(FrozenModel):
    """The parameters of the simulated models."""

    members: int = Field(default=5, ge=1)
    """The number of members."""

    accuracy: float = Field(default=0.7, ge=0, le=1)
    """The probability that a member's answer is right."""

    correlation: float = Field(default=0.0, ge=0, le=1)
    """The probability that one draw decides a question for all members; otherwise each has its own draw."""

    alternatives: int = Field(default=1, ge=1, le=WRONG_ANSWERS)
    """The number of wrong answers; 1 means that all wrong members give the same answer."""

    reliability: float = Field(default=0.8, ge=0, le=1)
    """The probability that an arbiter, or a member that ranks, judges reliably; otherwise it judges at random."""

    families: int = Field(default=1, ge=1)
    """The number of families whose members err together; a draw decides for one family."""

    refusals: float = Field(default=0.0, ge=0, le=1)
    """The share of errors that are refusals instead of wrong answers."""

    liars: float = Field(default=0.0, ge=0, le=1)
    """The probability that a member or an arbiter states a confidence of 0.99, whatever it knows."""

    supports_schema: bool = True
    """Whether the models support JSON schemas; otherwise they write tags."""

    seed: int = 1
    """The seed of all draws."""

    @property
    def member_names(self) -> list[str]:
        """The members' model ids."""
        return [f"simulated-{number}" for number in range(1, self.members + 1)]


ARBITERS: dict[Judge, str] = {"knows": "simulated-knows", "counts": "simulated-counts"}
"""The arbiters' model ids, by their kind of judgement."""


@contextmanager
def registered(simulation: Simulation, questions: Sequence[Question]) -> Iterator[None]:
    """Register the simulated models for these questions with llm, inside this context."""
    known = {question.prompt: question for question in questions}
    plugin = _Plugin(simulation, known)
    pm.register(plugin, name="consortium-simulated")
    try:
        yield
    finally:
        pm.unregister(plugin)


class _Plugin:
    """An llm plugin that is an object of this process."""

    def __init__(self, simulation: Simulation, known: Mapping[str, Question]) -> None:
        self._replies = {name: Simulated(name, "knows", simulation, known) for name in simulation.member_names}
        self._replies |= {name: Simulated(name, judge, simulation, known) for judge, name in ARBITERS.items()}

    @llm.hookimpl
    def register_models(self, register: Callable[..., None]) -> None:
        for model_id, simulated in self._replies.items():
            register(_Model(model_id, simulated), _AsyncModel(model_id, simulated))


class Simulated:
    """The replies of one simulated model."""

    def __init__(self, name: str, judge: Judge, simulation: Simulation, known: Mapping[str, Question]) -> None:
        self.simulation = simulation
        self._name, self._judge, self._known = name, judge, known

    def reply(self, text: str, schema: Mapping[str, Any] | None) -> str:
        """The reply to a question, or to several responses to one."""
        fenced = {found["name"]: found["text"] for found in _FENCED.finditer(text)}
        if "prompt" not in fenced:
            return self._answer(self._question(text.split("\n\n---\n")[0]))  # later parts are from an earlier iteration
        responses = [fenced[name] for name in fenced if name != "prompt"]
        form = _form_of(text, schema)
        return _written(self._verdict(self._question(fenced["prompt"]), responses, form), schema is not None)

    def _question(self, prompt: str) -> Question:
        if prompt not in self._known:
            raise llm.ModelError(f"{self._name} knows only the questions that it was registered with.")
        return self._known[prompt]

    def _answer(self, question: Question) -> str:
        """A member's response; it contains the member's name, so that equal answers are different texts."""
        simulation = self.simulation
        family = simulation.member_names.index(self._name) % simulation.families or ""
        together = self._chance(question, f"together{family}").random() < simulation.correlation
        chance = self._chance(question, f"all{family}" if together else self._name)
        right = chance.random() < simulation.accuracy
        wrong = chance.choice(question.wrong[: simulation.alternatives])
        if not right and chance.random() < simulation.refusals:
            return chance.choice(REFUSALS)
        answer, other = (question.answer, wrong) if right else (wrong, question.answer)
        manner = self._chance(question, f"{self._name} speaks").randrange(len(PHRASES))
        stated = 0.99 if self._lies(question) else simulation.accuracy
        return f"From the notes of {self._name}.\n{phrased(manner, answer, other)}\nConfidence: {stated:.0%}"

    def _lies(self, question: Question) -> bool:
        """Whether it overstates its confidence in this question."""
        return self._chance(question, f"{self._name} lies").random() < self.simulation.liars

    def _verdict(self, question: Question, responses: Sequence[str], form: str) -> dict[str, Any]:
        """Its verdict on responses; its confidence is the share of those that agree with its first choice."""
        answers = [_said(question, response) for response in responses]
        ordered = self._ordered(question, responses, answers)
        best = answers[ordered[0]]
        numbers = [place + 1 for place in ordered]
        main = {"synthesis": f"Answer: {best}", "best": numbers[0], "ranking": numbers}[form]
        stated = 0.99 if self._lies(question) else round(answers.count(best) / len(answers), 2)
        return {form: main, "confidence": stated}

    def _ordered(self, question: Question, responses: Sequence[str], answers: Sequence[str]) -> list[int]:
        """The indexes of the responses, the best first; equal ones in a random order."""
        chance = self._chance(question, f"{self._name} judges")
        places = sorted(range(len(responses)), key=lambda place: responses[place])
        chance.shuffle(places)
        if chance.random() >= self.simulation.reliability:
            return places
        if self._judge == "knows":
            return sorted(places, key=lambda place: answers[place] != question.answer)
        counts = Counter(answers)
        return sorted(places, key=lambda place: -counts[answers[place]])

    def _chance(self, question: Question, what: str) -> random.Random:
        return random.Random(f"{self.simulation.seed}/{question.prompt}/{what}")


@lru_cache(maxsize=100_000)
def _said(question: Question, response: str) -> str:
    """The answer of the question that a response gives; its own words if it gives none of them."""
    known = (question.answer, *question.wrong)
    return next((one for one in known if compare(response, f"Answer: {one}") == SAME), final_answer(response).text)


def _form_of(text: str, schema: Mapping[str, Any] | None) -> str:
    """The requested main field; in tags, it is the last one."""
    if schema is not None:
        return next(form for form in _FORMS if form in schema["properties"])
    form: str = _FORM_TAG.findall(text)[-1]
    return form


def _written(verdict: dict[str, Any], as_json: bool) -> str:
    fields = {**verdict, "analysis": "Drawn.", "dissent": "", "needs_iteration": False, "refinement_areas": []}
    if as_json:
        return json.dumps(fields)
    lines = "\n".join(f"<{name}>{'' if value == [] else value}</{name}>" for name, value in fields.items())
    return f"<synthesis_output>\n{lines}\n</synthesis_output>"


class _Shared:
    """The common part of both model classes; a token is a word."""

    can_stream = False

    def __init__(self, model_id: str, simulated: Simulated) -> None:
        self.model_id = model_id
        self.supports_schema = simulated.simulation.supports_schema
        self._simulated = simulated

    def _reply(self, prompt: llm.Prompt, response: llm.Response | llm.AsyncResponse) -> str:
        schema = prompt.schema if isinstance(prompt.schema, dict) else None
        reply = self._simulated.reply(prompt.prompt or "", schema)
        response.set_usage(input=len((prompt.prompt or "").split()), output=len(reply.split()))
        return reply


class _Model(_Shared, llm.Model):
    def execute(
        self,
        prompt: llm.Prompt,
        stream: bool,
        response: llm.Response,
        conversation: llm.Conversation | None = None,
    ) -> Iterator[str]:
        yield self._reply(prompt, response)


class _AsyncModel(_Shared, llm.AsyncModel):
    async def execute(
        self,
        prompt: llm.Prompt,
        stream: bool,
        response: llm.AsyncResponse,
        conversation: llm.AsyncConversation | None = None,
    ) -> AsyncGenerator[str, None]:
        yield self._reply(prompt, response)
